"""What the networks' outputs mean: the model's distributions, each built here and nowhere else.

Generative side (Li et al., IJCNN 2020, "Model"): p(y) = Cat(pi), p(z|y) = N(mu_y, diag sigma_y^2),
p(z) = sum_y p(y) p(z|y), p(x|z). Variational side: q(y|x), q(z|y, x). Scales are softplus(raw),
plus eps where std annealing acts. All event shapes are vectors; B is the batch, D = latent_dim,
K = n_clusters, d = input_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions
Distribution = Any  # TFP carries no types that mypy can see


def prior_y(logits: tf.Tensor) -> Distribution:
    """p(y). logits: [K]."""
    return tfd.Categorical(logits=logits, name="p_y")


def prior_z_given_y(loc: tf.Tensor, raw_scale: tf.Tensor, y: tf.Tensor | None = None) -> Distribution:
    """p(z|y). loc, raw_scale: [K, D]; y: integers [...]; batch shape [...], or [K] when y is None."""
    if y is not None:
        loc, raw_scale = tf.gather(loc, y), tf.gather(raw_scale, y)
    return _diagonal_normal(loc, tf.nn.softplus(raw_scale), "p_z_given_y")


def prior_z(logits: tf.Tensor, loc: tf.Tensor, raw_scale: tf.Tensor) -> Distribution:
    """p(z), the marginal mixture; scalar batch, event [D]."""
    return tfd.MixtureSameFamily(prior_y(logits), prior_z_given_y(loc, raw_scale), name="p_z")


def prior_z_given_w(loc: tf.Tensor, raw_scale: tf.Tensor, least_sd: float) -> Distribution:
    """p(z|w, y), its standard deviations above `least_sd`. loc, raw_scale: [..., D]."""
    return _diagonal_normal(loc, tf.nn.softplus(raw_scale) + least_sd, "p_z_given_w_y")


def full_normal(loc: tf.Tensor, scale_tril: tf.Tensor) -> Distribution:
    """N(loc, scale_tril scale_tril^T). loc: [..., D]; scale_tril: [..., D, D], lower triangular."""
    return tfd.MultivariateNormalTriL(loc, scale_tril, name="p_z_given_y")


def posterior_y(logits: tf.Tensor) -> Distribution:
    """q(y|x). logits: [B, K]."""
    return tfd.Categorical(logits=logits, name="q_y_given_x")


def posterior_z(loc: tf.Tensor, raw_scale: tf.Tensor, eps: tf.Tensor) -> Distribution:
    """q(z|y, x), its scale annealed by eps_z. loc, raw_scale: [..., B, D]."""
    return _diagonal_normal(loc, tf.nn.softplus(raw_scale) + eps, "q_z_given_y_x")


def gaussian_x(loc: tf.Tensor, raw_scale: tf.Tensor, eps: tf.Tensor) -> Distribution:
    """p(x|z), Gaussian, its scale annealed by eps_x. loc: [..., d]; raw_scale: the same or [d]."""
    return _diagonal_normal(loc, tf.nn.softplus(raw_scale) + eps, "p_x_given_z")


def bernoulli_x(logits: tf.Tensor) -> Distribution:
    """p(x|z), Bernoulli, which also scores values between 0 and 1. logits: [..., d]."""
    return tfd.Independent(tfd.Bernoulli(logits=logits, dtype=logits.dtype), 1, name="p_x_given_z")


def divergences(q_z: Distribution, p_z_given_y: Distribution) -> tf.Tensor:
    """KL(q(z|x) || p(z|y)) for every y, nats, [B, K]; batch shapes [B] and [K] or [B, K], both with diagonal covariances."""
    return _diagonal_normal(q_z.mean()[:, None], q_z.stddev()[:, None], "q_z").kl_divergence(p_z_given_y)


def divergence_from_standard_normal(q_z: Distribution) -> tf.Tensor:
    """KL(q(z|x) || N(0, I)), nats, [B]; batch shape [B], with a diagonal covariance."""
    return q_z.kl_divergence(standard_normal(q_z.mean()))


def standard_normal(like: tf.Tensor) -> Distribution:
    """N(0, I) of the batch and event shape of `like`, [..., D]."""
    return _diagonal_normal(tf.zeros_like(like), tf.ones_like(like), "p_z")


def location_scale_sample(normal: Distribution, noise: tf.Tensor) -> tf.Tensor:
    """mean + stddev * noise: samples of a diagonal normal, with the gradient of both; noise: standard normal."""
    return normal.mean() + normal.stddev() * noise


def fused(log_density: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """`log_density(x)`, in a graph compiled by XLA into one pass over its arrays, where the plain operations make seven or more."""
    if tf.executing_eagerly():  # compiling would cost more than it brings
        return log_density(x)
    return tf.function(log_density, jit_compile=True, autograph=False)(x)


@tf.custom_gradient
def hold_negligible(raw_scale: tf.Tensor, eps: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """raw_scale itself, but a loss cannot push it lower once softplus(raw_scale) < eps / 10.

    While eps is larger than the best standard deviation, every gradient points down, and under
    Adam, whose steps do not shrink with the gradient, raw_scale drifts to -15 and below. When eps
    has fallen and the way back would be wanted, it takes tens of epochs, in which sigma is stuck at
    eps and the likelihood collapses. A scale that is held changes sigma by less than a tenth.

    Args:
      raw_scale: [...].
      eps: scalar.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        held = (tf.nn.softplus(raw_scale) < 0.1 * eps) & (upstream > 0)
        return tf.where(held, tf.zeros_like(upstream), upstream), tf.zeros_like(eps)

    return tf.identity(raw_scale), gradient


def _diagonal_normal(loc: tf.Tensor, scale: tf.Tensor, name: str) -> Distribution:
    return tfd.Independent(tfd.Normal(loc, scale), 1, name=name)
