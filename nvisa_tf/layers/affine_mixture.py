"""A Gaussian mixture that is drawn from by an affine map of noise, fixed or learned: GM-GAN's prior.

Shapes: K clusters, D latent dimensions; z [..., D]; y integers [...].
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.layers import distributions as dist
from nvisa_tf.layers.networks import DTYPE, LayerFactory
from nvisa_tf.layers.priors import Mixture
from nvisa_tf.layers.random import categories


class AffineMixturePrior(Mixture):
    """p(y) = 1 / K, z = mu_y + A_y noise (Ben-Yosef & Weinshall, 2018, arXiv 1808.10356).

    Weights: logits [K], which stay 0; loc [K, D], the means, drawn uniformly from [-reach, reach]; factor [K, D, D], of which A is the
    lower triangle, and begins as sd times the identity. Every covariance A A^T has a triangular A, so nothing is lost by that.

    Args:
      factory: where seeds come from.
      n_clusters: K.
      latent_dim: D.
      reach: c of the paper.
      sd: sigma of the paper.
      learn: whether means and factors are learned, the paper's dynamic mixture; else they are fixed, its static one.
      dtype: of the weights.
    """

    def __init__(
        self, factory: LayerFactory, n_clusters: int, latent_dim: int, reach: float, sd: float, learn: bool, dtype: str = DTYPE
    ) -> None:
        super().__init__(name="prior", dtype=dtype)
        self._shape, self._reach, self._sd, self._learn, self._seed = (n_clusters, latent_dim), reach, sd, learn, factory.seed()
        self._triangle = np.tril(np.ones((latent_dim, latent_dim), dtype))

    def build(self, input_shape: Any = None) -> None:
        """Make the three weights."""
        n_clusters, dim = self._shape
        uniform = keras.initializers.RandomUniform(-self._reach, self._reach, seed=self._seed)
        self.logits = self.add_weight(shape=(n_clusters,), initializer="zeros", trainable=False, name="logits")
        self.loc = self.add_weight(shape=self._shape, initializer=uniform, trainable=self._learn, name="loc")
        self.factor = self.add_weight(shape=(n_clusters, dim, dim), initializer="zeros", trainable=self._learn, name="factor")
        self.factor.assign(np.broadcast_to(self._sd * np.eye(dim), self.factor.shape))

    def scale_tril(self) -> tf.Tensor:
        """A, [K, D, D]."""
        return tf.convert_to_tensor(self.factor) * self._triangle

    def p_z_given_y(self, y: tf.Tensor | None = None) -> dist.Distribution:
        """p(z|y)."""
        loc, scale_tril = tf.convert_to_tensor(self.loc), self.scale_tril()
        return dist.full_normal(loc, scale_tril) if y is None else dist.full_normal(tf.gather(loc, y), tf.gather(scale_tril, y))

    def joint_log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log p(y) + log p(z|y) for every y; A is solved for row by row, as a triangular solve is no operator of LiteRT."""
        scale_tril, dim = self.scale_tril(), self._shape[1]
        difference = z[..., None, :] - tf.convert_to_tensor(self.loc)  # [..., K, D]
        noise: list[tf.Tensor] = []
        for i in range(dim):
            known = tf.add_n([scale_tril[:, i, j] * noise[j] for j in range(i)]) if i else 0.0
            noise.append((difference[..., i] - known) / scale_tril[:, i, i])
        squares = tf.add_n([tf.square(value) for value in noise])
        log_det = tf.reduce_sum(tf.math.log(tf.abs(tf.linalg.diag_part(scale_tril))), -1)
        return tf.nn.log_softmax(tf.convert_to_tensor(self.logits)) - log_det - 0.5 * dim * math.log(2 * math.pi) - 0.5 * squares

    def sample(self, n: int, seed: tf.Tensor, cluster: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """n draws of (y, z); their gradient is that of the affine map."""
        seeds = tf.random.split(seed, 2)
        y = categories(tf.convert_to_tensor(self.logits), n, seeds[0]) if cluster is None else tf.fill([n], cluster)
        return y, self.from_noise(y, tf.random.stateless_normal([n, self._shape[1]], seeds[1], dtype=self._triangle.dtype))

    def from_noise(self, y: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """z ~ p(z|y) from standard normal noise."""
        return tf.gather(tf.convert_to_tensor(self.loc), y) + tf.reduce_sum(tf.gather(self.scale_tril(), y) * noise[..., None, :], -1)

    def parameters(self) -> dict[str, tf.Tensor]:
        """logits, loc and scale_tril."""
        return {"logits": tf.convert_to_tensor(self.logits), "loc": tf.convert_to_tensor(self.loc), "scale_tril": self.scale_tril()}
