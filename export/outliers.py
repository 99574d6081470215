"""Encoders that say, with the cluster of an example, how unlike the training data it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from nvisa_tf.data import Dataset
from nvisa_tf.evaluation.detector import CONTRAST, FARTHEST, OutlierDetector
from nvisa_tf.models.base import ClusteringModel, ExportSignature

OUTPUT = "novelty"  # of the signature "cluster": above 1 an example is an outlier


class WithNovelty:
    """Answers for raw examples [n, *input_shape] as a model does, and `novelty` with them.

    Args:
      model: any clustering model.
      detector: the run's.
      rate: of false alarms.

    Raises:
      ValueError: the rate cannot be told.
    """

    def __init__(self, model: ClusteringModel, detector: OutlierDetector, rate: float) -> None:
        self.config, self._model, self._detector, self.rate = model.config, model, detector, rate
        self._limits = detector.limits(rate)

    def signatures(self) -> dict[str, ExportSignature]:
        """The model's, "cluster" with the output "novelty", float32 [n]."""
        found = self._model.signatures()
        cluster = found["cluster"]

        def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
            return {**cluster.function(image), OUTPUT: novelty_in_graph(self._detector, self._limits, self._model.on_scale(image))}

        return {**found, "cluster": cluster._replace(function=answer)}

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """q(y|x), float32 [n, K]."""
        return self._model.predict_proba(x)

    def embed(self, x: np.ndarray) -> np.ndarray:
        """Where examples lie in the latent space, float32 [n, D]."""
        return self._model.embed(x)

    def novelty(self, x: np.ndarray) -> np.ndarray:
        """As the file should say it, float32 [n]."""
        return self._detector.novelty(self._model, Dataset("x", x, None, None), self.rate)

    def save(self, path: Any) -> None:
        """The model alone: a .keras file has no outliers."""
        self._model.save(path)


def novelty_in_graph(detector: OutlierDetector, limits: np.ndarray, x: tf.Tensor) -> tf.Tensor:
    """`OutlierDetector.novelty` by operators that LiteRT has.

    Args:
      detector: whose.
      limits: of its distances, [S].
      x: on the model's scale, [B, d].
    """
    distances = detector.distances
    middle = distances.means.mean(0)  # about which the numbers are small
    means = distances.means - middle
    x = tf.clip_by_value(x, -FARTHEST, FARTHEST) - middle
    inside, middles = x @ distances.components, means @ distances.components
    scales = np.sqrt(distances.variances)
    squares = _squared_distances(inside / scales, middles / scales) / distances.spreads[0]
    found = [tf.reduce_min(squares, -1)]
    if distances.has_rest:
        rest = (_squared_distances(x, means) - _squared_distances(inside, middles)) / distances.spreads[1]
        nearest = tf.one_hot(tf.argmin(squares, -1, output_type=tf.int32), len(means))
        found.append(tf.reduce_sum(rest * nearest, -1))
    if distances.is_image:
        contrast = tf.sqrt(tf.reduce_mean(tf.square(x + middle - tf.reduce_mean(x + middle, -1, keepdims=True)), -1))
        found.append(1 / tf.maximum(contrast, CONTRAST))
    return tf.nn.relu(tf.reduce_max(tf.stack(found, -1) / tf.constant(limits, tf.float32), -1))


def _squared_distances(a: tf.Tensor, b: np.ndarray) -> tf.Tensor:
    """[B, K] of a, [B, C], and b, [K, C]."""
    return tf.reduce_sum(tf.square(a), -1, keepdims=True) - 2 * (a @ b.T) + np.square(b).sum(-1)
