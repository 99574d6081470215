"""VIMCO: the gradient of the importance-weighted bound without reparameterization.

Pure functions of log-weights. Nothing here knows a network or a distribution.
Sources: Mnih & Rezende, "Variational inference for Monte Carlo objectives", ICML 2016, equations
5 to 10; Li et al., IJCNN 2020, section "VIMCO".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from nvisa_tf.models.nvisa.objectives.terms import Control, Estimate, LogProbs

BASELINES = ("geometric", "arithmetic")


class VimcoTerms(NamedTuple):
    """What one set of M samples says about the bound and its gradient; none carries a gradient.

    Attributes:
      bound: [...], nats: log 1/M sum_m w_m, the sample of L_M.
      learning_signal: [M, ...], nats: L - L_-m, the bound less its leave-one-out baseline.
      weights: [M, ...]: w_m / sum_j w_j, the normalised importance weights.
    """

    bound: tf.Tensor
    learning_signal: tf.Tensor
    weights: tf.Tensor

    def surrogate(self, log_q: tf.Tensor, log_p: tf.Tensor) -> tf.Tensor:
        """[...], nats: a function whose gradient is the estimate of E[L_M]'s; its value means nothing.

        grad log_weights_m = grad log_p_m - grad log_q_m turns the gradient in `vimco` into
        sum_m (learning_signal_m - weights_m) grad log_q_m + weights_m grad log_p_m.

        Args:
          log_q: [M, ...], log q(y_m, z_m|x) at fixed samples.
          log_p: [M, ...], log p(x, y_m, z_m), or those of its terms that are wanted.
        """
        return tf.reduce_sum((self.learning_signal - self.weights) * log_q + self.weights * log_p, axis=0)


def importance_weighted_bound(log_weights: tf.Tensor) -> tf.Tensor:
    """log 1/M sum_m exp(log_weights[m]) over the first axis, in nats.

    Args:
      log_weights: [M, ...], log p(x, y_m, z_m) - log q(y_m, z_m|x).
    """
    return tf.reduce_logsumexp(log_weights, axis=0) - _log(tf.shape(log_weights)[0], log_weights.dtype)


def vimco(log_weights: tf.Tensor, baseline: str = "geometric") -> VimcoTerms:
    """The VIMCO bound, per-sample learning signals and normalised importance weights.

    With g_m = grad log q(y_m, z_m|x) and the result's fields, the unbiased gradient of E[L_M] is

      sum_m learning_signal_m g_m + sum_m weights_m grad log_weights_m.

    Time and memory are O(M), and a common offset of the log-weights changes nothing but the bound:
    they are shifted by their maximum before any other arithmetic.

    Args:
      log_weights: [M, ...], nats, M >= 2. Treated as constant.
      baseline: what replaces the left-out w_m: the "geometric" mean of the others (equation 9) or
        the "arithmetic" one (equation 8).

    Raises:
      ValueError: M < 2, or an unknown baseline.
    """
    if baseline not in BASELINES:
        raise ValueError(f"baseline is {baseline!r}; it must be {' or '.join(BASELINES)}.")
    n_samples = log_weights.shape[0]
    if n_samples is None or n_samples < 2:
        raise ValueError(
            f"VIMCO got {n_samples} sample(s); it needs a static number of at least 2, "
            "because a sample's baseline is the mean of the others."
        )
    log_weights = tf.stop_gradient(log_weights)
    dtype = log_weights.dtype
    top = tf.reduce_max(log_weights, axis=0)
    shifted = log_weights - top  # at most 0, and 0 at the largest
    log_m, log_rest = math.log(n_samples), math.log(n_samples - 1)
    log_sum = tf.reduce_logsumexp(shifted, axis=0)  # in [0, log M]

    others = _log_sum_others(shifted)  # log sum_{j != m} w_j
    if baseline == "geometric":
        # log w^_m = 1/(M-1) sum_{j != m} log w_j, and L_-m = log 1/M (sum_{j != m} w_j + w^_m).
        substitute = (tf.reduce_sum(shifted, axis=0) - shifted) / tf.cast(n_samples - 1, dtype)
        leave_one_out = _logaddexp(others, substitute) - log_m
    else:
        # The arithmetic mean put in slot m makes L_-m the mean of the others.
        leave_one_out = others - log_rest
    return VimcoTerms(
        bound=log_sum - log_m + top,
        learning_signal=(log_sum - log_m) - leave_one_out,
        weights=tf.exp(shifted - log_sum),
    )


def estimate(log_probs: LogProbs, control: Control) -> Estimate:
    """`vimco` as a training objective, from M samples of (y, z); log_probs are [M, B]."""
    terms = vimco(log_probs.log_p - log_probs.log_q, control.baseline)
    return Estimate(terms.bound, terms.surrogate(log_probs.log_q, log_probs.log_p), terms.weights)


def _log_sum_others(shifted: tf.Tensor) -> tf.Tensor:
    """log sum_{j != m} exp(shifted[j]) for every m; [M, ...], the largest entry being 0.

    For all m but the largest, S - w_m >= 1 loses nothing to cancellation. For the largest it may
    lose everything, so there the others are summed anew, shifted by the second largest.
    """
    n_samples = shifted.shape[0]
    largest = tf.one_hot(tf.argmax(shifted, axis=0), n_samples, axis=0, on_value=True, off_value=False, dtype=tf.bool)
    weights = tf.exp(shifted)
    minus_infinity = tf.constant(-math.inf, shifted.dtype)
    without_largest = tf.where(largest, minus_infinity, shifted)
    # Clamped for the entry that is replaced below, which may be 0 there and would give -inf.
    rest = tf.maximum(tf.reduce_sum(weights, axis=0) - weights, tf.ones([], shifted.dtype) * 0.5)
    return tf.where(largest, tf.reduce_logsumexp(without_largest, axis=0), tf.math.log(rest))


def _logaddexp(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.maximum(a, b) + tf.math.log1p(tf.exp(-tf.abs(a - b)))


def _log(n: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tf.math.log(tf.cast(n, dtype))
