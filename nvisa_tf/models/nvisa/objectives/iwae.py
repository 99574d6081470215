"""IWAE with y summed exactly: importance weighting of z within each cluster, z reparameterized.

L = sum_y q(y|x) (E[log 1/S sum_s p(x, y, z_s) / q(z_s|y, x)] - log q(y|x)),  z_s ~ q(z|y, x)

After Burda et al., "Importance weighted autoencoders", ICLR 2016, applied to each y. Between the ELBO
(S = 1, where it is EnumY) and log p(x). Were y inside the logarithm too, q(y|x) would drop out and
nothing would train the clusters. Unbiased; K S rows of the decoder.
"""

from __future__ import annotations

import tensorflow as tf

from nvisa_tf.models.nvisa.objectives.enum_y import posterior_weights
from nvisa_tf.models.nvisa.objectives.terms import Control, Estimate, LogProbs
from nvisa_tf.models.nvisa.objectives.vimco import importance_weighted_bound


def estimate(log_probs: LogProbs, control: Control) -> Estimate:
    """The bound of S draws of z in each cluster; log_probs are [K, S, B], z with its gradient."""
    del control
    log_q_y = log_probs.log_q_y[:, 0]
    log_weights = tf.transpose(log_probs.log_p - log_probs.log_q_z, [1, 0, 2])
    bound = tf.reduce_sum(tf.exp(log_q_y) * (importance_weighted_bound(log_weights) - log_q_y), 0)
    return Estimate(tf.stop_gradient(bound), bound, posterior_weights(log_probs))
