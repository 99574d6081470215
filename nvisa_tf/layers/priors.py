"""Priors over (y, z): each is a Keras layer behind one small interface, `Prior`.

Shapes: K clusters, D latent dimensions; z [..., D]; y integers [...].
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.layers import distributions as dist
from nvisa_tf.layers.networks import DTYPE, LayerFactory
from nvisa_tf.layers.random import categories

SOFTPLUS_OF_ONE = float(np.log(np.expm1(1.0)))  # softplus of this is 1


def inverse_softplus(scale: Any) -> Any:
    """What softplus makes `scale` of, elementwise; scale > 0."""
    return np.log(np.expm1(scale))


class Prior(Protocol):
    """p(y), p(z|y) and their marginal p(z). A model asks for nothing else, so that another prior is another file."""

    def p_y(self) -> dist.Distribution:
        """p(y), over 0 to K - 1; scalar batch."""
        ...

    def p_z_given_y(self, y: tf.Tensor | None = None) -> dist.Distribution:
        """p(z|y), event [D]; batch shape [...] of y, or [K] for every y where it is None."""
        ...

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log p(z) = log sum_y p(y) p(z|y), nats, [...]."""
        ...

    def joint_log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log p(y) + log p(z|y) for every y, nats, [..., K]; of operators that LiteRT has."""
        ...

    def sample(self, n: int, seed: tf.Tensor, cluster: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """n draws of (y, z), int32 [n] and float32 [n, D]; y is `cluster` where one is given. seed: a stateless seed, integers [2]."""
        ...

    def from_noise(self, y: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """z ~ p(z|y) from standard normal noise [..., D]; of operators that LiteRT has."""
        ...

    def parameters(self) -> dict[str, tf.Tensor]:
        """All parameters by name."""
        ...


class Mixture(keras.layers.Layer):
    """What mixtures with weights `logits` [K] share."""

    logits: Any

    def p_y(self) -> dist.Distribution:
        """p(y)."""
        return dist.prior_y(tf.convert_to_tensor(self.logits))

    def p_z_given_y(self, y: tf.Tensor | None = None) -> dist.Distribution:
        """p(z|y)."""
        raise NotImplementedError

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log p(z)."""
        return tf.reduce_logsumexp(self.joint_log_prob(z), -1)

    def joint_log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log p(y) + log p(z|y) for every y."""
        return tf.nn.log_softmax(tf.convert_to_tensor(self.logits)) + self.p_z_given_y().log_prob(z[..., None, :])

    def sample(self, n: int, seed: tf.Tensor, cluster: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """n draws of (y, z)."""
        seeds = tf.random.split(seed, 2)
        y = categories(tf.convert_to_tensor(self.logits), n, seeds[0]) if cluster is None else tf.fill([n], cluster)
        return y, self.p_z_given_y(y).sample(seed=seeds[1])


class MixturePrior(Mixture):
    """p(y) = Cat(pi), p(z|y) = N(mu_y, diag sigma_y^2) (Li et al., IJCNN 2020, section "Model").

    Weights: logits [K], loc [K, D], raw_scale [K, D]; sigma is softplus(raw_scale). Means start as standard normal draws and scales at 1;
    pi starts uniform.

    Args:
      factory: where seeds come from.
      n_clusters: K.
      latent_dim: D.
      learn_weights: whether pi is learned.
      dtype: of the weights.
    """

    def __init__(self, factory: LayerFactory, n_clusters: int, latent_dim: int, learn_weights: bool, dtype: str = DTYPE) -> None:
        super().__init__(name="prior", dtype=dtype)
        self._shape, self._learn, self._seed = (n_clusters, latent_dim), learn_weights, factory.seed()

    def build(self, input_shape: Any = None) -> None:
        """Make the three weights."""
        self.logits = self.add_weight(shape=self._shape[:1], initializer="zeros", trainable=self._learn, name="logits")
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=self._seed)
        self.loc = self.add_weight(shape=self._shape, initializer=normal, name="loc")
        one = keras.initializers.Constant(SOFTPLUS_OF_ONE)
        self.raw_scale = self.add_weight(shape=self._shape, initializer=one, name="raw_scale")

    def p_z_given_y(self, y: tf.Tensor | None = None) -> dist.Distribution:
        """p(z|y)."""
        return dist.prior_z_given_y(tf.convert_to_tensor(self.loc), tf.convert_to_tensor(self.raw_scale), y)

    def from_noise(self, y: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """z ~ p(z|y) from standard normal noise."""
        return dist.location_scale_sample(self.p_z_given_y(y), noise)

    def parameters(self) -> dict[str, tf.Tensor]:
        """logits, loc and raw_scale."""
        return {name: tf.convert_to_tensor(getattr(self, name)) for name in ("logits", "loc", "raw_scale")}

    def set_mixture(self, weights: np.ndarray | None, means: np.ndarray, variances: np.ndarray) -> None:
        """Make p(z|y) these components, [K, D] each, and p(y) these weights, [K]; None: p(y) stays as it is."""
        self.loc.assign(means)
        self.raw_scale.assign(inverse_softplus(np.sqrt(variances)))
        if weights is not None:
            self.logits.assign(np.log(np.maximum(weights, 1e-6)))


class GaussianMixturePrior(Mixture):
    """p(y) = Cat(pi), p(z|y) = N(mu_y, Sigma_y) with any covariances; it is fitted, not trained by gradient.

    Weights: logits [K], loc [K, D], scale_tril [K, D, D], the Cholesky factors of Sigma, and whitening [K, D, D], their inverses, as a
    triangular solve is no operator of LiteRT. It starts as K standard normals.

    Args:
      n_clusters: K.
      latent_dim: D.
      dtype: of the weights.
    """

    def __init__(self, n_clusters: int, latent_dim: int, dtype: str = DTYPE) -> None:
        super().__init__(name="prior", dtype=dtype)
        self._shape = (n_clusters, latent_dim)

    def build(self, input_shape: Any = None) -> None:
        """Make the four weights."""
        n_clusters, dim = self._shape

        def weight(name: str, shape: tuple[int, ...], value: np.ndarray) -> Any:
            made = self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name)
            made.assign(value)
            return made

        unit = np.broadcast_to(np.eye(dim), (n_clusters, dim, dim))
        self.logits = weight("logits", (n_clusters,), np.zeros(n_clusters))
        self.loc = weight("loc", self._shape, np.zeros(self._shape))
        self.scale_tril = weight("scale_tril", unit.shape, unit)
        self.whitening = weight("whitening", unit.shape, unit)

    def p_z_given_y(self, y: tf.Tensor | None = None) -> dist.Distribution:
        """p(z|y)."""
        loc, scale_tril = tf.convert_to_tensor(self.loc), tf.convert_to_tensor(self.scale_tril)
        return dist.full_normal(loc, scale_tril) if y is None else dist.full_normal(tf.gather(loc, y), tf.gather(scale_tril, y))

    def joint_log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log p(y) + log p(z|y) for every y."""
        whitening = tf.convert_to_tensor(self.whitening)
        n_clusters, dim = self._shape
        # One product for all clusters: [n, D] @ [D, K D].
        flat = tf.reshape(tf.transpose(whitening, [2, 0, 1]), [dim, n_clusters * dim])
        rows = tf.reshape(z, [-1, dim]) @ flat - tf.reshape(tf.linalg.matvec(whitening, tf.convert_to_tensor(self.loc)), [-1])
        squares = tf.reduce_sum(tf.square(tf.reshape(rows, [-1, n_clusters, dim])), -1)
        log_det = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(whitening)), -1)
        log_p_y = tf.nn.log_softmax(tf.convert_to_tensor(self.logits))
        each = log_p_y + log_det - 0.5 * dim * math.log(2 * math.pi) - 0.5 * squares
        return tf.reshape(each, tf.concat([tf.shape(z)[:-1], [n_clusters]], 0))

    def from_noise(self, y: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """z ~ p(z|y) from standard normal noise."""
        scale_tril = tf.gather(tf.convert_to_tensor(self.scale_tril), y)
        return tf.gather(tf.convert_to_tensor(self.loc), y) + tf.reduce_sum(scale_tril * noise[..., None, :], -1)

    def parameters(self) -> dict[str, tf.Tensor]:
        """logits, loc, scale_tril and whitening."""
        return {name: tf.convert_to_tensor(getattr(self, name)) for name in ("logits", "loc", "scale_tril", "whitening")}

    def set_mixture(self, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> None:
        """Make p(y) these weights [K] and p(z|y) these components, means [K, D] and covariances [K, D, D]."""
        scale_tril = np.linalg.cholesky(np.asarray(covariances, np.float64))
        self.logits.assign(np.log(np.maximum(weights, 1e-6)))
        self.loc.assign(means)
        self.scale_tril.assign(scale_tril)
        self.whitening.assign(np.linalg.inv(scale_tril))
