"""The mean bound on held-out data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a page is renamed without TensorFlow
    from nvisa_tf.models.base import ClusteringModel


def evaluate_bound(model: ClusteringModel, x: Any, n_samples: int | None = None, seed: int = 0) -> float:
    """The mean over raw examples [n, *input_shape] of `ClusteringModel.score_samples`, nats; arguments and errors are the same."""
    return float(model.score_samples(x, n_samples, seed).mean())
