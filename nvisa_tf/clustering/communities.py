"""Communities of the graph of nearest neighbours: groups of examples with many neighbours among each other and few elsewhere.

They may be of any size and shape, where k-means cuts groups of about equal size. Modularity (Newman and Girvan, 2004) says how much
more edges lie within communities than by chance, and the Louvain method (Blondel et al., 2008) looks for those that have the most of it.

Shapes: n examples, d values of one, D dimensions of a code, K clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sknetwork.clustering import Louvain, get_modularity

from nvisa_tf.clustering.neighbors import nearest_neighbors, principal_components
from nvisa_tf.clustering.separation import merge_nearest

LARGEST_PART = 10_000  # examples in a graph
COMPONENTS = 64
NEIGHBORS = 30
RESOLUTIONS = (0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
FINE = 2  # times as many communities as clusters that are asked for are merged; with fewer, one may hold two small clusters
FINER = 1.5  # the factor from one resolution to the next, where all of them give too few communities


class Partition(NamedTuple):
    """Communities and how good they are.

    Attributes:
      clusters: integers [n], from 0 on.
      modularity: below 1.
    """

    clusters: np.ndarray
    modularity: float

    @property
    def n_clusters(self) -> int:
        """How many there are."""
        return int(self.clusters.max()) + 1


def components(x: np.ndarray, seed: int) -> np.ndarray:
    """Principal components of examples [n, ...], float32 [n, at most COMPONENTS].

    Raises:
      ValueError: all are the same, or their values are too large to be squared.
    """
    flat = np.asarray(x, np.float32).reshape(len(x), -1)
    with np.errstate(over="ignore", invalid="ignore"):
        kernel, bias = principal_components(flat, min(COMPONENTS, flat.shape[1]), seed)
        codes = flat @ kernel + bias
    if not np.isfinite(codes).all():
        raise ValueError("The values of the examples are too large to be compared; divide them first.")
    return codes


def neighbor_graph(codes: np.ndarray) -> sparse.csr_matrix:
    """The graph in which two codes [n, D] are joined where one is among the nearest neighbours of the other, [n, n]."""
    n = len(codes)
    count = max(1, min(NEIGHBORS, n // 4))
    near = nearest_neighbors(codes, count)
    directed = sparse.csr_matrix((np.ones(n * count), (np.repeat(np.arange(n), count), near.ravel())), (n, n))
    return directed.maximum(directed.T).tocsr()


def communities(graph: sparse.csr_matrix, resolution: float, rng: np.random.Generator) -> Partition:
    """The communities of a graph [n, n]; a higher resolution gives more of them."""
    # Not Leiden, which scikit-network draws for by the C library's global generator, so that it does not repeat.
    louvain = Louvain(resolution=resolution, shuffle_nodes=True, random_state=int(rng.integers(2**31)))
    clusters = louvain.fit_predict(graph)
    return Partition(clusters, float(get_modularity(graph, clusters)))


def best_partition(
    graph: sparse.csr_matrix, partitions: Sequence[Partition], fewest: int, most: int, rng: np.random.Generator
) -> Partition:
    """The partition of largest modularity with `fewest` to `most` communities; else with more, for which finer ones are made."""
    candidates = list(partitions)
    resolution = RESOLUTIONS[-1]
    while not any(partition.n_clusters >= fewest for partition in candidates):
        resolution *= FINER
        candidates.append(communities(graph, resolution, rng))
    fitting = [partition for partition in candidates if fewest <= partition.n_clusters <= most]
    return max(fitting or [p for p in candidates if p.n_clusters >= fewest], key=lambda partition: partition.modularity)


def clusters_of_any_size(codes: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    """K clusters: communities, of which those that are the least apart are merged (`nvisa_tf.clustering.separation`), integers [n].

    Args:
      codes: float [n, D], not all the same; time grows with n squared.
      n_clusters: K, at most n.
      seed: of the search and of what is drawn to compare communities.
    """
    rng = np.random.default_rng(seed)
    z = components(codes, seed)
    graph = neighbor_graph(z)
    partitions = [communities(graph, resolution, rng) for resolution in RESOLUTIONS]
    best = best_partition(graph, partitions, min(FINE * n_clusters, len(codes)), len(codes), rng)
    return merge_nearest(z, best.clusters, rng, fewest=n_clusters, most=n_clusters)[0]
