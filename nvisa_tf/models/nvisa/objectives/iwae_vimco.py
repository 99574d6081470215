"""The multi-sample bound with VIMCO for y alone and z reparameterized.

L_M = E[log 1/M sum_m w_m], w_m = p(x, y_m, z_m) / q(y_m, z_m|x): grad L_M is the mean of
sum_m learning_signal_m grad log q(y_m|x) + sum_m weights_m grad log w_m, the last through z_m too.

Unbiased; M rows of the decoder, back through z, whatever K is.
"""

from __future__ import annotations

import tensorflow as tf

from nvisa_tf.models.nvisa.objectives.terms import Control, Estimate, LogProbs
from nvisa_tf.models.nvisa.objectives.vimco import vimco


def estimate(log_probs: LogProbs, control: Control) -> Estimate:
    """From M samples of (y, z); log_probs are [M, B], z with its gradient, y without."""
    log_weights = log_probs.log_p - log_probs.log_q
    terms = vimco(log_weights, control.baseline)
    surrogate = tf.reduce_sum(terms.learning_signal * log_probs.log_q_y + terms.weights * log_weights, 0)
    return Estimate(terms.bound, surrogate, terms.weights)
