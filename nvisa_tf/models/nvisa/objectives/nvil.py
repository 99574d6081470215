"""NVIL: the ELBO's gradient by score function for y and z, with learned baselines.

f = log p(x, y, z) - log q(y, z|x); the signal (f - C_psi(x) - c) / max(1, sqrt(v)) multiplies grad log q and
trains C_psi by its squared error (Mnih & Gregor, "Neural variational inference and learning in belief
networks", ICML 2014, sections 2.3 and 2.4, algorithm 1; Li et al., IJCNN 2020, "NVIL").

c and v are running moments of f - C_psi(x). They are those from before the batch, so that the
estimate is exactly unbiased, up to the common scale 1 / max(1, sqrt(v)) of the gradient for q;
algorithm 1 updates them with the batch first. Before the first batch the signal is 0, since a
baseline is not yet known.
"""

from __future__ import annotations

import tensorflow as tf

from nvisa_tf.models.nvisa.objectives.terms import Control, Estimate, LogProbs

DECAY = 0.8  # of the running moments, as Mnih & Gregor have it


def estimate(log_probs: LogProbs, control: Control) -> Estimate:
    """From the mean over M samples of (y, z); log_probs are [M, B].

    Raises:
      ValueError: `control` has no prediction, mean or variance.
    """
    if control.prediction is None or control.mean is None or control.variance is None:
        raise ValueError("nvil needs a baseline network; set NVISAConfig.baseline_units, such as (100,).")
    f = tf.stop_gradient(log_probs.log_p - log_probs.log_q)
    centred = f - tf.stop_gradient(control.prediction)
    seen = tf.math.is_finite(control.mean)
    signal = (centred - control.mean) / tf.maximum(tf.ones_like(control.variance), tf.sqrt(control.variance))
    signal = tf.where(seen, signal, tf.zeros_like(signal))
    surrogate = tf.reduce_mean(log_probs.log_p + signal * (log_probs.log_q + control.prediction), 0)
    mean, variance = tf.nn.moments(centred, [0, 1])
    return Estimate(
        tf.reduce_mean(f, 0),
        surrogate,
        tf.ones_like(f) / tf.cast(tf.shape(f)[0], f.dtype),
        tf.where(seen, DECAY * control.mean + (1 - DECAY) * mean, mean),
        tf.where(seen, DECAY * control.variance + (1 - DECAY) * variance, variance),
    )
