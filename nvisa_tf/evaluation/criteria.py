"""What tells a good clustering from a bad one without labels: criteria for choosing among restarts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score, silhouette_score

SILHOUETTE_EXAMPLES = 2000  # its cost grows with the square of their number


def mean_pairwise_nmi(clusters: Sequence[np.ndarray]) -> list[float]:
    """Each clustering's mean NMI with the others, in [0, 1]; a clustering alone, or of one cluster, agrees with nothing, 0.

    Args:
      clusters: R clusterings of the same examples, integers [n] each.
    """
    n = len(clusters)
    nmi = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            if np.ptp(clusters[i]) and np.ptp(clusters[j]):  # of two that found one cluster each, NMI is 1
                nmi[i, j] = nmi[j, i] = normalized_mutual_info_score(clusters[i], clusters[j])
    return (nmi.sum(1) / max(1, n - 1)).tolist()


def kmeans_agreement(train: np.ndarray, x: np.ndarray, n_clusters: int, seeds: Sequence[int]) -> float:
    """The mean NMI of pairs of k-means clusterings of x, one from each seed, in [0, 1]: what other clusters' agreement is held against.

    Args:
      train: what k-means learns from, [n, d], on the scale that models see.
      x: what is clustered, [m, d], on the same scale.
      n_clusters: K, at most n.
      seeds: at least two.
    """
    clusters = [KMeans(n_clusters, n_init=1, random_state=seed).fit(train).predict(x) for seed in seeds]
    return float(np.mean(mean_pairwise_nmi(clusters)))


def silhouette(embedding: np.ndarray, clusters: np.ndarray) -> float:
    """The mean silhouette of the clusters among the posterior means, in [-1, 1]; -1 where there is one cluster.

    Of an evenly spread part of the examples.

    Args:
      embedding: [n, latent_dim].
      clusters: integers [n].
    """
    every = -(-len(clusters) // SILHOUETTE_EXAMPLES)
    embedding, clusters = embedding[::every], clusters[::every]
    if not 2 <= len(np.unique(clusters)) < len(clusters):
        return -1.0
    return float(silhouette_score(embedding, clusters))
