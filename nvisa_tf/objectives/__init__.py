"""Objectives: pure functions of log-weights and log-probabilities, one file a method."""

from nvisa_tf.objectives.vimco import VimcoTerms, importance_weighted_bound, vimco

__all__ = ["VimcoTerms", "importance_weighted_bound", "vimco"]
