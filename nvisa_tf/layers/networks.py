"""The Keras layers: encoder trunk, heads of the posteriors, decoder.

They give numbers (logits, means, raw scales); distributions.py says what these mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Whatever Keras is set to.
LAST = "channels_last"
DTYPE = "float32"


class LayerFactory:
    """Makes layers whose initial weights all derive from one seed."""

    def __init__(self, seed: int, l2: float) -> None:
        self._seeds: Iterator[int] = iter(np.random.SeedSequence(seed).generate_state(64).tolist())
        self._l2 = l2

    def seed(self) -> int:
        """The next layer's own seed."""
        return next(self._seeds)

    def _kernel(self) -> dict[str, Any]:
        """Glorot weights and, if asked for, an L2 penalty on the kernel."""
        return {
            "dtype": DTYPE,
            "kernel_initializer": keras.initializers.GlorotUniform(self.seed()),
            "kernel_regularizer": keras.regularizers.L2(self._l2) if self._l2 else None,
        }

    def dense(self, units: int, name: str, **kwargs: Any) -> keras.layers.Dense:
        """A dense layer."""
        return keras.layers.Dense(units, name=name, **self._kernel(), **kwargs)

    def convolution(self, filters: int, name: str, activation: str | None = "relu") -> keras.layers.Conv2D:
        """A convolution that halves an image's sides."""
        return keras.layers.Conv2D(filters, 3, 2, "same", data_format=LAST, activation=activation, name=name, **self._kernel())

    def transposed_convolution(self, filters: int, name: str, activation: str | None = "relu") -> keras.layers.Conv2DTranspose:
        """A convolution that doubles an image's sides."""
        return keras.layers.Conv2DTranspose(filters, 3, 2, "same", data_format=LAST, activation=activation, name=name, **self._kernel())

    def mlp(self, input_dim: int, units: tuple[int, ...], name: str) -> keras.Sequential:
        """Dense layers with leaky ReLU (slope 0.2), built for [..., input_dim]."""
        layers = [self.dense(n, f"{name}_{i}", activation="leaky_relu") for i, n in enumerate(units)] or [
            keras.layers.Identity(dtype=DTYPE)
        ]
        return stack(input_dim, layers, name)

    def trunk(self, shape: tuple[int, ...], filters: tuple[int, ...], units: tuple[int, ...], name: str) -> keras.Sequential:
        """An MLP after convolutions, [B, d] to [B, the last of `units`]; d: of a flattened image of `shape`. Without filters: `mlp`."""
        if not filters:
            return self.mlp(math.prod(shape), units, name)
        convolutions = [self.convolution(n, f"{name}_convolution_{i}") for i, n in enumerate(filters)]
        layers = [keras.layers.Reshape(with_channels(shape), dtype=DTYPE), *convolutions, keras.layers.Flatten(LAST, dtype=DTYPE)]
        layers += self.mlp(math.prod(_halved(shape, len(filters))) * filters[-1], units, name).layers
        return stack(math.prod(shape), layers, name)

    def image(self, width: int, filters: tuple[int, ...], shape: tuple[int, ...], name: str) -> keras.Sequential:
        """Flattened images [B, d] of `shape` from features [B, width].

        A dense layer gives the small image that a trunk of as many filters would end at, of filters[0] channels, and as many
        transposed convolutions bring it to its size: to filters[1], ... channels and in the end the image's.
        """
        height, breadth, channels = with_channels(shape)
        small = (*_halved(shape, len(filters)), filters[0])
        more = [n * 2 ** len(filters) - side for n, side in zip(small, (height, breadth), strict=False)]  # where a side is no multiple
        layers = [self.dense(math.prod(small), f"{name}_small", activation="leaky_relu"), keras.layers.Reshape(small, dtype=DTYPE)]
        layers += [self.transposed_convolution(n, f"{name}_convolution_{i}") for i, n in enumerate(filters[1:])]
        layers += [self.transposed_convolution(channels, f"{name}_out", None)]
        layers += [keras.layers.Cropping2D(((0, more[0]), (0, more[1])), LAST, dtype=DTYPE), keras.layers.Flatten(LAST, dtype=DTYPE)]
        return stack(width, layers, name)

    def scalar_trunk(self, shape: tuple[int, ...], filters: tuple[int, ...], units: tuple[int, ...], name: str) -> keras.Sequential:
        """A trunk with one linear output, [B, d] to [B, 1]; arguments as of `trunk`."""
        layers = self.trunk(shape, filters, units, name).layers
        return stack(math.prod(shape), [*layers, self.dense(1, f"{name}_out")], name)


def stack(input_dim: int, layers: list[Any], name: str) -> keras.Sequential:
    """Layers one after another, built for [..., input_dim]."""
    return keras.Sequential([keras.Input((input_dim,), dtype=DTYPE), *layers], name=name)


def with_channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an image with its channels, [h, w, c]: one where it has none of its own."""
    return shape if len(shape) == 3 else (*shape, 1)


def _halved(shape: tuple[int, ...], times: int) -> tuple[int, int]:
    return -(-shape[0] // 2**times), -(-shape[1] // 2**times)


class LatentHead(keras.layers.Layer):
    """Mean and raw scale of q(z|y, x) = N(mu_z(x, y), diag sigma_z(x, y)^2).

    The hidden layer is leaky_relu(W_h h + W_y[y] + b): W_h h is computed once per example and
    W_y[y] added per sample, so h is never copied M times. Without clusters it is q(z|x).

    Args:
      factory: where layers come from.
      units: width of the hidden layer.
      latent_dim: D.
      n_clusters: K, or None for the mean-field posterior.
    """

    def __init__(self, factory: LayerFactory, units: int, latent_dim: int, n_clusters: int | None) -> None:
        super().__init__(name="latent_head", dtype=DTYPE)
        self.hidden = factory.dense(units, "hidden")
        # An embedding is what W_y[y] is, but a product with one-hot rows has a dense gradient.
        self.cluster = None if n_clusters is None else factory.dense(units, "cluster", use_bias=False)
        self.loc = factory.dense(latent_dim, "loc")
        self.raw_scale = factory.dense(latent_dim, "raw_scale")
        self._sizes = (units, n_clusters)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """input_shape: of h, [B, H]."""
        units, n_clusters = self._sizes
        self.hidden.build(input_shape)
        if self.cluster is not None:
            self.cluster.build((None, n_clusters))
        self.loc.build((None, units))
        self.raw_scale.build((None, units))

    def call(self, h: tf.Tensor, y_one_hot: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """h: [B, H]; y_one_hot: [..., B, K]. Both results are [..., B, D]."""
        hidden = self.hidden(h)
        # More samples than clusters: what each cluster gives is computed once and chosen from.
        all_clusters = y_one_hot.shape.rank == 3 and (y_one_hot.shape[0] or 0) > y_one_hot.shape[-1] and self.cluster is not None
        if self.cluster is not None:
            hidden = hidden + (tf.convert_to_tensor(self.cluster.kernel)[:, None] if all_clusters else self.cluster(y_one_hot))
        hidden = tf.nn.leaky_relu(hidden, 0.2)
        # One product for both, as each is narrow.
        kernel = tf.concat([tf.convert_to_tensor(self.loc.kernel), tf.convert_to_tensor(self.raw_scale.kernel)], 1)
        bias = tf.concat([tf.convert_to_tensor(self.loc.bias), tf.convert_to_tensor(self.raw_scale.bias)], 0)
        rows = tf.reshape(hidden, [-1, hidden.shape[-1]]) @ kernel + bias
        both = tf.reshape(rows, tf.concat([tf.shape(hidden)[:-1], tf.shape(rows)[-1:]], 0))
        if all_clusters:
            both = tf.einsum("mbk,kbd->mbd", y_one_hot, both)
        elif self.cluster is None:
            both = tf.broadcast_to(both, tf.concat([tf.shape(y_one_hot)[:-1], tf.shape(both)[-1:]], 0))
        loc, raw_scale = tf.split(both, 2, -1)
        return loc, raw_scale


class Decoder(keras.layers.Layer):
    """Mean (or logits) and raw scale of p(x|z).

    Args:
      factory: where layers come from.
      latent_dim: D.
      units: hidden widths.
      shape: of one example, of d values in all.
      scale: "network", a function of z; "per_dimension", one learned value a dimension; "none".
      filters: of transposed convolutions that give the mean; empty: a dense layer does.
    """

    def __init__(
        self,
        factory: LayerFactory,
        latent_dim: int,
        units: tuple[int, ...],
        shape: tuple[int, ...],
        scale: str,
        filters: tuple[int, ...] = (),
    ) -> None:
        super().__init__(name="decoder", dtype=DTYPE)
        self.trunk = factory.mlp(latent_dim, units, "decoder_trunk")
        output_dim = math.prod(shape)
        self.loc = factory.image(self.trunk.output_shape[-1], filters, shape, "loc") if filters else factory.dense(output_dim, "loc")
        self.scale_net = factory.dense(output_dim, "raw_scale") if scale == "network" else None
        self._scale, self._output_dim = scale, output_dim

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """input_shape: of z, [..., D]."""
        if not self.loc.built:
            self.loc.build(self.trunk.output_shape)
        if self.scale_net is not None:
            self.scale_net.build(self.trunk.output_shape)
        self.raw_scale = None
        if self._scale == "per_dimension":
            self.raw_scale = self.add_weight(shape=(self._output_dim,), initializer="zeros", name="raw_scale")

    def call(self, z: tf.Tensor, precision: str = "float32") -> tuple[tf.Tensor, tf.Tensor | None]:
        """z: [..., D]. Mean [..., d]; raw scale [..., d], [d] or None; float32, the matrix products in `precision`."""
        leading = tf.shape(z)[:-1]
        hidden = tf.reshape(z, [-1, z.shape[-1]])
        hidden = _in_precision(self.trunk, hidden, precision)

        def restore(rows: tf.Tensor) -> tf.Tensor:
            return tf.reshape(rows, tf.concat([leading, [self._output_dim]], 0))

        loc = restore(_in_precision(self.loc, hidden, precision))
        if self.scale_net is not None:
            return loc, restore(_in_precision(self.scale_net, hidden, precision))
        return loc, None if self.raw_scale is None else tf.convert_to_tensor(self.raw_scale)


def _in_precision(layer: Any, rows: tf.Tensor, precision: str) -> tf.Tensor:
    """A layer's output, float32; the matrix products of dense ones, also in a stack, in `precision`."""
    if isinstance(layer, keras.Sequential):
        for one in layer.layers:
            rows = _in_precision(one, rows, precision)
        return rows
    if precision == "float32" or not isinstance(layer, keras.layers.Dense):
        return layer(rows)
    product = tf.cast(rows, precision) @ tf.cast(tf.convert_to_tensor(layer.kernel), precision)
    return layer.activation(tf.cast(product, tf.float32) + tf.convert_to_tensor(layer.bias))
