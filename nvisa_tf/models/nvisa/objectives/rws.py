"""Reweighted wake-sleep, the wake-phi update: q(y, z|x) is drawn towards the posterior.

sum_m weights_m grad (log p(x, y_m, z_m) + log q(y_m, z_m|x)), weights the normalised importance weights
(Bornschein & Bengio, ICLR 2015, equations 8 and 9).

For p it is the unbiased gradient of E[L_M]. For q it estimates -grad KL(p(y, z|x) || q(y, z|x)), not
the bound's gradient, with a bias of O(1/M), as the weights are normalised by their own sum; so it wants
a larger M. Its q covers the posterior rather than a mode of it. M rows of the decoder.
"""

from __future__ import annotations

import tensorflow as tf

from nvisa_tf.models.nvisa.objectives.terms import Control, Estimate, LogProbs
from nvisa_tf.models.nvisa.objectives.vimco import vimco


def estimate(log_probs: LogProbs, control: Control) -> Estimate:
    """From M samples of (y, z); log_probs are [M, B]."""
    terms = vimco(log_probs.log_p - log_probs.log_q, control.baseline)
    return Estimate(terms.bound, tf.reduce_sum(terms.weights * (log_probs.log_p + log_probs.log_q), 0), terms.weights)
