"""What a training step is told, what it gives, and what is reported of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from nvisa_tf.annealing import StdAnnealing
from nvisa_tf.augmentation import Augmentation
from nvisa_tf.config import ModelConfig
from nvisa_tf.methods import METHODS, Method
from nvisa_tf.objectives import BASELINES, Estimate, LogProbs, estimator

METRICS = ("loss", "bound", "log_p_x", "kl_y", "kl_z", "l2", "consistency", "grad_norm", "ess", "entropy_y", "entropy_usage")


class RunningMean(keras.metrics.Mean):
    """The mean since the last reset; NaN, not 0, where every step since was skipped."""

    def result(self) -> tf.Tensor:
        """The mean, a scalar."""
        return tf.math.divide(self.total, self.count)


class StepOptions(NamedTuple):
    """What `compile` was given beside the optimizer."""

    objective: str
    n_samples: int
    baseline: str
    decoder_gradient: str
    forward_precision: str
    max_rows: int
    annealing_x: StdAnnealing
    annealing_z: StdAnnealing
    consistency: float
    augmentation: Augmentation

    @property
    def method(self) -> Method:
        """What is known of the objective beforehand."""
        return METHODS[self.objective]

    def check(self, config: ModelConfig) -> None:
        """Raise ValueError where an option is unknown, out of range, or does not go with another or with the model."""
        estimator(self.objective)
        method = self.method
        if self.n_samples < method.min_samples:
            raise ValueError(f"n_samples is {self.n_samples}; {self.objective} needs at least {method.min_samples}.")
        if self.decoder_gradient not in ("all", "resampled"):
            raise ValueError(f"decoder_gradient is {self.decoder_gradient!r}; it must be all or resampled.")
        if self.decoder_gradient == "resampled" and method.reparameterizes_z:
            raise ValueError(f"{self.objective} takes its gradient through z of every sample; use decoder_gradient all.")
        if self.forward_precision not in ("float32", "bfloat16"):
            raise ValueError(f"forward_precision is {self.forward_precision!r}; it must be float32 or bfloat16.")
        if self.forward_precision == "bfloat16" and self.decoder_gradient == "all":
            raise ValueError("forward_precision bfloat16 is for passes that only go forward; use decoder_gradient resampled.")
        if self.baseline not in BASELINES:
            raise ValueError(f"baseline is {self.baseline!r}; it must be {' or '.join(BASELINES)}.")
        if not all(0 <= most < float("inf") for most in self.augmentation):
            raise ValueError(f"augmentation is {self.augmentation}; each of its numbers must be finite and at least 0.")
        if self.max_rows < 1:
            raise ValueError(f"max_rows is {self.max_rows}; it must be at least 1.")
        if self.objective == "nvil" and not config.baseline_units:
            raise ValueError("nvil needs a baseline network; set ModelConfig.baseline_units, such as (100,).")
        if self.consistency < 0 or (self.consistency and len(config.input_shape) < 2):
            raise ValueError(
                f"consistency is {self.consistency} for inputs {list(config.input_shape)}; it is at least 0, and for images only."
            )


class StepResult(NamedTuple):
    """The loss's gradient by trainable variable (the loss is minus the objective), the estimate, and what it came from."""

    gradients: list[tf.Tensor]
    estimate: Estimate
    log_probs: LogProbs
    q_y: Any
    consistency: tf.Tensor
