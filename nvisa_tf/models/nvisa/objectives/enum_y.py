"""EnumY: the ELBO with y summed exactly and z reparameterized (Li et al., IJCNN 2020, "EnumY").

L = sum_y q(y|x) E_{q(z|y,x)}[log p(x, y, z) - log q(y|x) - log q(z|y, x)]

Unbiased; its cost is K S rows of the decoder, back through z.
"""

from __future__ import annotations

import tensorflow as tf

from nvisa_tf.models.nvisa.objectives.terms import Control, Estimate, LogProbs


def estimate(log_probs: LogProbs, control: Control) -> Estimate:
    """The ELBO's mean over S draws of z in each cluster; log_probs are [K, S, B], z with its gradient."""
    del control
    q_y = tf.exp(log_probs.log_q_y)
    bound = tf.reduce_mean(tf.reduce_sum(q_y * (log_probs.log_p - log_probs.log_q), 0), 0)
    return Estimate(tf.stop_gradient(bound), bound, posterior_weights(log_probs))


def posterior_weights(log_probs: LogProbs) -> tf.Tensor:
    """p(y, z_s|x) among the K S pairs, as importance sampling from q(z|y, x) has it; [K, S, B]."""
    log_weights = tf.stop_gradient(log_probs.log_p - log_probs.log_q_z)
    return tf.exp(log_weights - tf.reduce_logsumexp(log_weights, [0, 1]))
