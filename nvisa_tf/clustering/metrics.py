"""Clustering scores. Labels are for scoring only."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix


class ClusteringScores(NamedTuple):
    """accuracy in [0, 1] under the best one-to-one mapping; NMI (arithmetic mean) in [0, 1]; ARI in [-0.5, 1]."""

    accuracy: float
    nmi: float
    ari: float


def clustering_accuracy(labels: Any, clusters: Any) -> float:
    """Unsupervised clustering accuracy, in [0, 1]: the best one-to-one mapping of clusters to classes.

    The mapping is found by the Kuhn-Munkres algorithm (`scipy.optimize.linear_sum_assignment`) on
    the contingency table. Where clusters outnumber classes, or the reverse, the surplus stays
    unmatched and its examples count as wrong.

    Args:
      labels: integers [n].
      clusters: integers [n].

    Raises:
      ValueError: other shapes, or nothing to score.
    """
    counts = confusion_matrix(labels, clusters)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return float(counts[rows, columns].sum() / counts.sum())


def confusion_matrix(labels: Any, clusters: Any) -> np.ndarray:
    """Counts, int64 [classes that occur, clusters that occur], both in ascending order.

    Raises:
      ValueError: the arguments are not two vectors of one length, or are empty.
    """
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    if labels.ndim != 1 or labels.shape != clusters.shape or not len(labels):
        raise ValueError(f"labels {list(labels.shape)} and clusters {list(clusters.shape)} must be two vectors of one length, at least 1.")
    return contingency_matrix(labels, clusters)


def clustering_scores(labels: Any, clusters: Any) -> ClusteringScores:
    """Accuracy, NMI and ARI of a clustering against labels, each integers [n]."""
    return ClusteringScores(
        clustering_accuracy(labels, clusters),
        float(normalized_mutual_info_score(labels, clusters)),
        float(adjusted_rand_score(labels, clusters)),
    )


def cluster_sizes(clusters: Any, n_clusters: int) -> np.ndarray:
    """Examples in each cluster, int64 [n_clusters]."""
    return np.bincount(np.asarray(clusters), minlength=n_clusters)


def cluster_size_entropy(clusters: Any, n_clusters: int) -> float:
    """The entropy of the clusters' shares of the examples, nats, in [0, log n_clusters]."""
    return float(entropy(cluster_sizes(clusters, n_clusters)))
