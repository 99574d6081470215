"""A prior whose clusters are made from noise by a network: the prior of GMVAE (Dilokthanakul et al., 2016, arXiv 1611.02648, section 3).

It has what the shared code asks of a `nvisa_tf.layers.priors.Prior`, `sample` and `from_noise`. p(z|y), a mixture over all w, has no closed
form, so densities are given w.

Shapes: K clusters, D latent dimensions, W dimensions of the noise w; z [..., D]; w [..., W]; y integers [...].
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.layers import distributions as dist
from nvisa_tf.layers.networks import DTYPE, LayerFactory
from nvisa_tf.layers.priors import SOFTPLUS_OF_ONE, inverse_softplus
from nvisa_tf.layers.random import categories

LEAST_SD = 1e-3  # of p(z|w, y)


class ConditionalMixture(keras.layers.Layer):
    """p(w) = N(0, I), p(y) uniform, p(z|w, y) = N(mu_y(w), diag sigma_y(w)^2); one tanh layer from w, then a linear head for each y.

    At the start the biases of mu_y are standard normal draws and those of sigma_y are 1, so that clusters differ whatever w is.

    Args:
      factory: where layers come from.
      n_clusters: K.
      latent_dim: D.
      noise_dim: W.
      units: width of the tanh layer.
    """

    def __init__(self, factory: LayerFactory, n_clusters: int, latent_dim: int, noise_dim: int, units: int) -> None:
        super().__init__(name="prior", dtype=DTYPE)
        self.noise_dim = noise_dim
        self._shape, self._units = (n_clusters, latent_dim), units
        self.hidden = factory.dense(units, "hidden", activation="tanh")
        size = n_clusters * latent_dim
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=factory.seed())
        self.loc = factory.dense(size, "loc", bias_initializer=normal)
        self.raw_scale = factory.dense(size, "raw_scale", bias_initializer=keras.initializers.Constant(SOFTPLUS_OF_ONE))

    def build(self, input_shape: Any = None) -> None:
        """Make the weights of the three layers."""
        self.hidden.build((None, self.noise_dim))
        for head in (self.loc, self.raw_scale):
            head.build((None, self._units))
        self.built = True

    def p_y(self) -> dist.Distribution:
        """p(y)."""
        return dist.prior_y(tf.zeros(self._shape[:1]))

    def p_z_given_w(self, w: tf.Tensor) -> dist.Distribution:
        """p(z|w, y) for every y, batch shape [..., K], event [D]; of operators that LiteRT has."""
        hidden = self.hidden(w)
        shape = tf.concat([tf.shape(w)[:-1], self._shape], 0)
        loc, raw_scale = (tf.reshape(head(hidden), shape) for head in (self.loc, self.raw_scale))
        return dist.prior_z_given_w(loc, raw_scale, LEAST_SD)

    def joint_log_prob(self, z: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """log p(y) + log p(z|w, y) for every y, nats, [..., K]; of operators that LiteRT has."""
        return self.p_z_given_w(w).log_prob(z[..., None, :]) - float(np.log(self._shape[0]))

    def log_posterior(self, z: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """log p(y|z, w) by Bayes' rule, nats, [..., K]; of operators that LiteRT has."""
        return tf.nn.log_softmax(self.joint_log_prob(z, w))

    def log_prob(self, z: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """log p(z|w) = log sum_y p(y) p(z|w, y), nats, [...]."""
        return tf.reduce_logsumexp(self.joint_log_prob(z, w), -1)

    def sample(self, n: int, seed: tf.Tensor, cluster: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """n draws of (y, z), int32 [n] and float32 [n, D]; y is `cluster` where one is given. seed: a stateless seed, integers [2]."""
        seeds = tf.random.split(seed, 2)
        n_clusters, latent_dim = self._shape
        y = categories(tf.zeros([n_clusters]), n, seeds[0]) if cluster is None else tf.fill([n], cluster)
        return y, self.from_noise(y, tf.random.stateless_normal([n, latent_dim + self.noise_dim], seeds[1]))

    def from_noise(self, y: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """w ~ p(w) and z ~ p(z|w, y) from standard normal noise [..., D + W], that of z first; of operators that LiteRT has."""
        n_clusters, latent_dim = self._shape
        of_z, w = noise[..., :latent_dim], noise[..., latent_dim:]
        every = dist.location_scale_sample(self.p_z_given_w(w), of_z[..., None, :])
        return tf.reduce_sum(every * tf.one_hot(y, n_clusters)[..., None], -2)

    def parameters(self) -> dict[str, tf.Tensor]:
        """Kernels and biases of the three layers, by layer."""
        layers = {"hidden": self.hidden, "loc": self.loc, "raw_scale": self.raw_scale}
        return {
            f"{name}_{part}": tf.convert_to_tensor(getattr(layer, part)) for name, layer in layers.items() for part in ("kernel", "bias")
        }

    def set_mixture(self, means: np.ndarray, variances: np.ndarray) -> None:
        """Make p(z|w, y) these components, [K, D] each, whatever w is."""
        for head, values in ((self.loc, means), (self.raw_scale, inverse_softplus(np.maximum(np.sqrt(variances) - LEAST_SD, LEAST_SD)))):
            head.kernel.assign(tf.zeros_like(head.kernel))
            head.bias.assign(np.reshape(values, -1))
