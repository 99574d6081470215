"""One clustering from several, which may number their clusters differently and be wrong about different examples.

Either the clusters of each are matched with those of the first, one to one (`matching`; bagged clustering: Dudoit & Fridlyand,
Bioinformatics 19:9, 2003). Or each has more clusters than are wanted, and those are linked whose examples come together in many
clusterings (`link`; evidence accumulation: Fred & Jain, IEEE TPAMI 27:6, 2005), so that the clusters that result may be of any size.
Both ways give a matrix for each clustering, from its clusters to the common ones, and the probabilities are averaged.

Shapes: n examples, K common clusters, J clusters of one clustering.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform

LEAST_SHARE = 0.1  # of the mean size: what is smaller is no cluster, but examples that are unlike all others
MOST_CUTS = 8  # times K parts into which examples are cut until K of them are large enough


def matching(first: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which cluster of the first is each of the other, a permutation matrix [K, K]; both as probabilities, [n, K]."""
    shared = np.asarray(other, np.float64).T @ np.asarray(first, np.float64)
    return np.eye(len(shared))[linear_sum_assignment(shared, maximize=True)[1]]


def link(clusterings: Sequence[np.ndarray], n_clusters: int) -> np.ndarray | None:
    """The common cluster of each example, integers [n], -1 of those in none, by average linkage; None: there are fewer than K.

    Two examples are the closer, the more probable it is, on average over clusterings, that they are in one cluster. Memory grows with n
    squared.

    Args:
      clusterings: probabilities, [n, J] of each.
      n_clusters: K. A part with fewer than `LEAST_SHARE` n / K examples, or with one, is no cluster.
    """
    n = len(clusterings[0])
    apart = np.ones([n, n], np.float32)
    for one in clusterings:  # one after another, for the sake of memory
        p = np.asarray(one, np.float32)
        apart -= (p / len(clusterings)) @ p.T
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform(np.clip(apart, 0.0, 1.0, out=apart), checks=False), "average")
    for n_parts in range(n_clusters, min(MOST_CUTS * n_clusters, n) + 1):
        part = fcluster(tree, n_parts, "maxclust") - 1
        sizes = np.bincount(part)
        large = np.argsort(-sizes, kind="stable")[:n_clusters]
        if len(large) == n_clusters and sizes[large[-1]] >= max(2, LEAST_SHARE * n / n_clusters):
            cluster = np.full(len(sizes), -1)
            cluster[large] = np.arange(n_clusters)
            return cluster[part]
    return None


def shares(clustering: np.ndarray, clusters: np.ndarray, n_clusters: int) -> np.ndarray:
    """How the examples of each cluster of a clustering spread over the common ones, [J, K], whose rows sum to 1.

    Args:
      clustering: probabilities, [n, J].
      clusters: the common cluster of each example, integers [n]; those of -1 do not count.
      n_clusters: K.
    """
    known = clusters >= 0
    counts = np.asarray(clustering[known], np.float64).T @ np.eye(n_clusters)[clusters[known]]
    of_cluster = counts.sum(1, keepdims=True)
    return np.divide(counts, of_cluster, out=np.full_like(counts, 1 / n_clusters), where=of_cluster > 0)


def average(clusterings: Iterable[np.ndarray], matrices: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of probabilities, [n, J] of each, as probabilities of the common clusters, float64 [n, K]; matrices: [J, K] of each.

    The clusterings are taken one at a time, so that they need not be in memory together.
    """
    total: Any = 0.0
    for p, matrix in zip(clusterings, matrices, strict=True):
        total += np.asarray(p, np.float64) @ matrix
    return np.asarray(total / len(matrices))
