"""Evaluation: the held-out bound, criteria for choosing among runs, plots, TensorBoard."""

from nvisa_tf.evaluation.bound import evaluate_bound

__all__ = ["evaluate_bound"]
