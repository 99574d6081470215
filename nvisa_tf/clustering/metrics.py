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


def majority_accuracy(labels: Any, clusters: Any) -> float:
    """The share of examples of their cluster's commonest class, in [0, 1]: many clusters may stand for one class.

    Also called purity. It is never below `clustering_accuracy`, and rises with the number of clusters. LTVAE's authors (Li et al., ICLR
    2019) report it, on training data, for the facet that has most of it.

    Args:
      labels: integers [n].
      clusters: integers [n].

    Raises:
      ValueError: other shapes, or nothing to score.
    """
    counts = confusion_matrix(labels, clusters)
    return float(counts.max(0).sum() / counts.sum())


def exemplar_accuracy(labels: Any, probabilities: Any) -> float:
    """The share of examples of the class of their cluster's surest example, in [0, 1]: many clusters may stand for one class.

    A cluster's surest example is the one with the largest q(y|x), the first of several. Adversarial autoencoders (Makhzani et al., 2016,
    arXiv 1511.05644) and after them GMVAE (Dilokthanakul et al., 2016, arXiv 1611.02648) are scored so.

    Args:
      labels: integers [n].
      probabilities: of the clusters, [n, K]; an example's cluster is the likeliest.

    Raises:
      ValueError: other shapes, or nothing to score.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if labels.ndim != 1 or probabilities.ndim != 2 or len(labels) != len(probabilities) or not len(labels):
        shapes = f"labels {list(labels.shape)} and probabilities {list(probabilities.shape)}"
        raise ValueError(f"{shapes} must be a vector and a matrix of one length, at least 1.")
    return float(np.mean(labels[probabilities.argmax(0)][probabilities.argmax(1)] == labels))


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


def measures(labels: Any, probabilities: Any) -> dict[str, float]:
    """Every measure against labels by its name in reports: the three accuracies, "nmi" and "ari".

    Args:
      labels: integers [n].
      probabilities: of the clusters, [n, K]; an example's cluster is the likeliest.

    Raises:
      ValueError: other shapes, or nothing to score.
    """
    exemplar = exemplar_accuracy(labels, probabilities)
    clusters = np.asarray(probabilities).argmax(1)
    others = {"majority_accuracy": majority_accuracy(labels, clusters), "exemplar_accuracy": exemplar}
    return {**clustering_scores(labels, clusters)._asdict(), **others}


def cluster_sizes(clusters: Any, n_clusters: int) -> np.ndarray:
    """Examples in each cluster, int64 [n_clusters]."""
    return np.bincount(np.asarray(clusters), minlength=n_clusters)


def cluster_size_entropy(clusters: Any, n_clusters: int) -> float:
    """The entropy of the clusters' shares of the examples, nats, in [0, log n_clusters]."""
    return float(entropy(cluster_sizes(clusters, n_clusters)))
