"""Running means of what training reports."""

from __future__ import annotations

import keras
import tensorflow as tf


class RunningMean(keras.metrics.Mean):
    """The mean since the last reset; NaN, not 0, where every step since was skipped."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, dtype="float32")

    def result(self) -> tf.Tensor:
        """The mean, a scalar."""
        return tf.math.divide(self.total, self.count)
