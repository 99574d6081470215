"""What an objective is given and what it gives: arrays of log-probabilities, no network, no distribution."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from nvisa_tf.layers.random import pick


class LogProbs(NamedTuple):
    """log-probabilities of samples, nats, with their gradients.

    Drawn methods: each [M, B], of M samples of (y, z) an example. Methods that enumerate y: each
    [K, S, B] or, where z does not matter, [K, 1, B], of S samples of z for each of the K clusters.
    """

    log_p_y: tf.Tensor
    log_p_z: tf.Tensor
    log_p_x: tf.Tensor
    log_q_y: tf.Tensor
    log_q_z: tf.Tensor

    @property
    def log_p(self) -> tf.Tensor:
        """log p(x, y, z)."""
        return self.log_p_y + self.log_p_z + self.log_p_x

    @property
    def log_q(self) -> tf.Tensor:
        """log q(y, z|x)."""
        return self.log_q_y + self.log_q_z


class Control(NamedTuple):
    """What a score-function method subtracts from its learning signal.

    Attributes:
      baseline: VIMCO's mean, "geometric" or "arithmetic".
      prediction: NVIL's C_psi(x), [B], with its gradient, nats; None for the other methods.
      mean: NVIL's running mean of the signal, scalar, nats; NaN before the first step.
      variance: NVIL's running variance, scalar.
    """

    baseline: str = "geometric"
    prediction: tf.Tensor | None = None
    mean: tf.Tensor | None = None
    variance: tf.Tensor | None = None


class Estimate(NamedTuple):
    """An objective's value and the function whose gradient estimates its own.

    Attributes:
      bound: [B], nats, no gradient: the sample of the objective, a lower bound of log p(x).
      surrogate: [B]: its gradient is the estimate; its value means nothing.
      weights: [M, B] or [K, S, B], no gradient, summing to 1 over all axes but the last: importance
        weights; for drawn methods also the factors of grad log p(x|z_m) in the estimate.
      mean, variance: NVIL's next running moments; None for the other methods.
    """

    bound: tf.Tensor
    surrogate: tf.Tensor
    weights: tf.Tensor
    mean: tf.Tensor | None = None
    variance: tf.Tensor | None = None


def resample(weights: tf.Tensor, gumbel: tf.Tensor) -> tf.Tensor:
    """One sample an example, drawn by its weight: indices in [0, M), int32 [B]; weights are [M, B], standard Gumbel noise [B, M].

    E over m ~ weights of grad log p(x|z_m) is sum_m weights_m grad log p(x|z_m), so its
    gradient alone is an unbiased stand-in for the weighted sum.
    """
    return pick(tf.math.log(tf.transpose(weights)), gumbel)
