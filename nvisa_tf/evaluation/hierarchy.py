"""Which clusters are near each other: a hierarchy of clusters, by how much they overlap in the latent space.

Each cluster's examples are taken as Gaussian there, and the distance of two clusters is that of Bhattacharyya (1943): it is small where the
two overlap, and it grows with the distance of their means in units of their spread. Clusters join by average linkage.

Shapes: n examples, K clusters, D dimensions of the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA

LEAST_VARIANCE = 1e-6  # of the embedding's variance on average, which a covariance has in every direction at least
COMPONENTS = 32  # of the embedding, which are looked at where it has more dimensions
FITTED = 2_000  # examples of a cluster at most, evenly spread


class Hierarchy(NamedTuple):
    """What `of` found of the clusters that have examples.

    Attributes:
      clusters: their numbers, ascending, [C].
      joins: as SciPy's `linkage` gives them, float64 [C - 1, 4]: what joins what, at which distance, and how many clusters that makes.
    """

    clusters: list[int]
    joins: np.ndarray

    @classmethod
    def of(cls, embedding: np.ndarray, clusters: np.ndarray) -> Hierarchy:
        """The hierarchy of the clusters of examples.

        Args:
          embedding: where examples lie, float [n, D].
          clusters: of each, integers [n].
        """
        there = np.unique(clusters)
        z = np.asarray(embedding, np.float64)
        if z.shape[1] > COMPONENTS:
            z = PCA(COMPONENTS, svd_solver="covariance_eigh").fit_transform(z) if len(z) > COMPONENTS else z
        least = LEAST_VARIANCE * float(z.var(0).mean()) or LEAST_VARIANCE
        gaussians = [_gaussian(z[clusters == k], least) for k in there]
        count = len(there)
        distances = np.zeros((count, count))
        for i in range(count):
            for j in range(i):
                distances[i, j] = distances[j, i] = bhattacharyya(*gaussians[i], *gaussians[j])
        joins = linkage(squareform(distances, checks=False), "average") if count > 1 else np.empty((0, 4))
        return cls(there.tolist(), joins)

    def groups(self, count: int, n_clusters: int) -> list[list[int]]:
        """The clusters in so many groups, by their first cluster; those without examples go to the largest group.

        Args:
          count: of groups, at least 1 and at most as many as there are clusters with examples.
          n_clusters: K.

        Raises:
          ValueError: another count.
        """
        if not 1 <= count <= len(self.clusters):
            raise ValueError(
                f"The {len(self.clusters)} clusters that have examples cannot be {count}; give a number from 2 on that is less."
            )
        nodes = [[k] for k in self.clusters]
        for first, second, *_ in self.joins[: len(self.clusters) - count]:  # not by a distance, which several joins may have
            nodes.append(nodes[int(first)] + nodes[int(second)])
            nodes[int(first)] = nodes[int(second)] = []
        found = [node for node in nodes if node]
        max(found, key=len).extend(set(range(n_clusters)) - set(self.clusters))
        return sorted(sorted(group) for group in found)


def _gaussian(z: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and shrunk covariance [D, D] of one cluster's examples."""
    z = z[:: -(-len(z) // FITTED)]
    covariance = ledoit_wolf(z)[0] if len(z) > 1 else np.zeros((z.shape[1],) * 2)
    return z.mean(0), covariance + least * np.eye(z.shape[1])


def bhattacharyya(mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray) -> float:
    """The Bhattacharyya distance of two Gaussians, nats: minus the log of the integral of the root of their densities' product."""
    covariance = (covariance_a + covariance_b) / 2
    difference = mean_b - mean_a
    log_dets: Sequence[float] = [np.linalg.slogdet(matrix)[1] for matrix in (covariance, covariance_a, covariance_b)]
    return float(difference @ np.linalg.solve(covariance, difference) / 8 + (log_dets[0] - (log_dets[1] + log_dets[2]) / 2) / 2)
