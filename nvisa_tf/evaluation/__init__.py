"""Evaluation: clustering scores, the held-out bound, pictures."""

from nvisa_tf.evaluation.bound import evaluate_bound, score_samples
from nvisa_tf.evaluation.metrics import (
    ClusteringScores,
    cluster_sizes,
    clustering_accuracy,
    clustering_scores,
    confusion_matrix,
)

__all__ = [
    "ClusteringScores",
    "cluster_sizes",
    "clustering_accuracy",
    "clustering_scores",
    "confusion_matrix",
    "evaluate_bound",
    "score_samples",
]
