"""What the Keras models here share: input scaling inside the graph, and answers for any number of examples.

Shapes: n examples, B of a batch, K clusters, D latent dimensions, d = input_dim values an example.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.config.networks import ModelConfig
from nvisa_tf.config.options import as_text
from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Dataset, RowView
from nvisa_tf.data.dataset import LEAST_SQUARE, scaled
from nvisa_tf.layers.graphs import graph_of
from nvisa_tf.layers.networks import DTYPE, Decoder
from nvisa_tf.layers.priors import Prior
from nvisa_tf.models.base import ExportSignature, check_n_clusters


class GraphFunctions:
    """Runs functions of raw examples in graphs that are traced once, on any number of examples, piece by piece.

    Args:
      input_shape: of one example.
    """

    def __init__(self, input_shape: Sequence[int]) -> None:
        self._input_shape = tuple(input_shape)
        self._traced: dict[str, Any] = {}

    def traced(self, function: Callable[..., Any]) -> Any:
        """The `tf.function` of a method of one model, made once for its name."""
        if function.__name__ not in self._traced:
            self._traced[function.__name__] = graph_of(function, reduce_retracing=True, autograph=False)
        return self._traced[function.__name__]

    def __call__(self, function: Callable[[tf.Tensor], tf.Tensor], x: Any, batch_size: int = 1000) -> np.ndarray:
        """`function` of raw examples [n, *input_shape], in batches, put together along the first axis; errors as `batches`."""
        traced = self.traced(function)
        return np.concatenate([traced(tf.constant(part)).numpy() for part in self.batches(x, batch_size)])

    def batches(self, x: Any, batch_size: int) -> Iterator[np.ndarray]:
        """Raw examples [n, *input_shape] piece by piece, float32 [at most batch_size, *input_shape].

        Raises:
          ValueError: another shape, no numbers, none at all, or a value that is not finite.
        """
        x = x if isinstance(x, RowView) else np.asarray(x)
        if x.ndim != len(self._input_shape) + 1 or x.shape[1:] != self._input_shape:
            raise ValueError(f"The input has the shape {list(x.shape)}; this model takes [n, {', '.join(map(str, self._input_shape))}].")
        if x.dtype.kind not in "uif":
            raise ValueError(f"The input has the type {x.dtype}; it must be integers or floats.")
        if not len(x):
            raise ValueError("The input has no examples.")
        for start in range(0, len(x), batch_size):
            with np.errstate(over="ignore"):  # too large for float32 is Inf, which is refused next
                chunk = x[start : start + batch_size].astype(np.float32)
            bad = ~np.isfinite(chunk).reshape(len(chunk), -1).all(1)
            if bad.any():
                raise ValueError(f"The input has values that are NaN or Inf, the first in example {start + int(np.argmax(bad))}.")
            yield chunk


class ClusteringNetwork(keras.Model):
    """An encoder, a prior over (y, z) and a decoder, with the input's scaling among the weights; see `nvisa_tf.models.base`.

    A subclass makes `decoder` and `prior`, says in `build` when the scaling's weights are made (their order is that of files), and gives
    `call` and `embedding`.

    Args:
      config: with `input_shape` set.

    Raises:
      ValueError: `input_shape` is empty.
    """

    capabilities = frozenset({"embed", "reconstruct", "generate"})
    options_class: ClassVar[type[ModelConfig]]
    config: ModelConfig
    seed: int
    decoder: Decoder
    prior: Prior
    input_scale: Any
    input_shift: Any

    def __init__(self, config: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": DTYPE})
        if not config.input_shape:
            raise ValueError("input_shape is empty; set it to the shape of one example, such as (28, 28).")
        self.graph_functions = GraphFunctions(config.input_shape)

    @property
    def n_facets(self) -> int:
        """How many partitions of the data there are."""
        return 1

    @property
    def n_normals(self) -> int:
        """How many standard normals a draw of z takes, in `signatures` and in `nvisa_tf.models.density`."""
        return self.config.latent_dim

    def add_input_scaling(self) -> None:
        """Make the weights `input_scale` and `input_shift`, [d] each."""
        shape = (self.config.input_dim,)
        self.input_scale = self.add_weight(shape=shape, initializer="ones", trainable=False, name="input_scale")
        self.input_shift = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="input_shift")

    def set_preprocessing(self, scale: Any, shift: Any = 0.0) -> None:
        """Make the model see x * scale + shift. Both broadcast to [input_dim], x flattened.

        Raises:
          ValueError: a scale or shift that is NaN or Inf (as those of data with such values are), or a scale of 0.
        """
        if not np.isfinite(scale).all() or not np.isfinite(shift).all() or not np.all(scale):
            raise ValueError("The scale and shift of the input must be finite, and no scale 0; look for NaN or Inf in the data.")
        self.input_scale.assign(np.broadcast_to(np.asarray(scale, np.float32), self.input_scale.shape))
        self.input_shift.assign(np.broadcast_to(np.asarray(shift, np.float32), self.input_shift.shape))

    def preprocess(self, x: tf.Tensor) -> tf.Tensor:
        """[B, *input_shape] raw -> [B, d] float32 as the networks see them: on the model's scale."""
        return self.on_scale(x)

    def on_scale(self, x: tf.Tensor) -> tf.Tensor:
        """[B, *input_shape] raw -> [B, d] float32 on the model's scale: `scaled` in a graph."""
        flat = tf.reshape(tf.cast(x, tf.float32), [-1, self.config.input_dim])
        if self.config.unit_length:
            flat *= tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(flat), 1, keepdims=True), LEAST_SQUARE))
        return flat * self.input_scale + self.input_shift

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Raw examples [n, *input_shape] on the model's scale, of the same shape; binarized inputs stay grey."""
        return scaled(x, np.asarray(self.input_scale), np.asarray(self.input_shift), self.config.unit_length)

    def check_data(self, train: Dataset, options: Any) -> None:
        """Raise ValueError where there are too few examples, or images would be changed and these are vectors."""
        check_n_clusters(self.config, train)
        check_images(options, train)

    def embedding(self, x: tf.Tensor) -> tf.Tensor:
        """Where raw examples [B, *input_shape] lie in the latent space, [B, D]."""
        raise NotImplementedError

    def decoded_mean(self, z: tf.Tensor) -> tf.Tensor:
        """The mean of p(x|z) on the model's scale, [n, d]; z: [n, D]."""
        return self.decoder(z)[0]

    def decode_mean(self, z: tf.Tensor) -> tf.Tensor:
        """The mean of p(x|z) in the data's own units, or of length 1 with `unit_length`, [n, *input_shape]; z: [n, D]."""
        raw = (self.decoded_mean(z) - self.input_shift) / self.input_scale
        return tf.reshape(raw, [-1, *self.config.input_shape])

    def reconstruction(self, x: tf.Tensor) -> tf.Tensor:
        """The mean of p(x|z) at the embedding of raw examples, in their own units, [B, *input_shape]."""
        return self.decode_mean(self.embedding(x))

    def probabilities(self, x: tf.Tensor) -> tf.Tensor:
        """q(y|x) of raw examples, [B, K]."""
        return self.call(x)

    # NumPy in, NumPy out, in batches.

    def predict_proba(self, x: Any, facet: int = 0, batch_size: int = 1000) -> np.ndarray:
        """q(y|x), float32 [n, K]; raises ValueError where the shape is another one, a value is not finite, or there is no such facet."""
        if facet:
            raise ValueError(f"facet is {facet}, and this model has one partition of the data, 0.")
        return self.graph_functions(self.probabilities, x, batch_size)

    def predict_clusters(self, x: Any, facet: int = 0, batch_size: int = 1000) -> np.ndarray:
        """The cluster of each example, argmax_y q(y|x), int64 [n]; errors as `predict_proba`."""
        return self.predict_proba(x, facet, batch_size).argmax(1)

    def embed(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """`embedding` of any number of examples, float32 [n, D]; errors as `predict_proba`."""
        return self.graph_functions(self.embedding, x, batch_size)

    def reconstruct(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """The mean of p(x|z) at the embedding, in the data's own units, float32 [n, *input_shape]; errors as `predict_proba`."""
        return self.graph_functions(self.reconstruction, x, batch_size)

    def generate(self, n: int, cluster: int | None = None, seed: int = 0) -> np.ndarray:
        """Examples from the model: y ~ p(y), z ~ p(z|y), and the mean of p(x|z).

        Args:
          n: how many.
          cluster: take y from this cluster only; None: from p(y).
          seed: the same seed gives the same examples.

        Returns:
          float32 [n, *input_shape], in the data's own units.

        Raises:
          ValueError: n < 1, or no such cluster.
        """
        z = self.sample_prior(n, cluster, seed)[1]
        return np.concatenate([self.decode_mean(z[i : i + 1000]).numpy() for i in range(0, n, 1000)])

    def sample_prior(self, n: int, cluster: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """y ~ p(y) and z ~ p(z|y): int32 [n] and float32 [n, D]; arguments and errors as `generate`."""
        if n < 1:
            raise ValueError(f"n is {n}; it must be at least 1.")
        if cluster is not None and not 0 <= cluster < self.config.n_clusters:
            raise ValueError(f"cluster is {cluster}; the clusters are 0 to {self.config.n_clusters - 1}.")
        y, z = self.prior.sample(n, tf.constant([seed, 0]), cluster)
        return y.numpy(), z.numpy()

    def score_samples(self, x: Any, n_samples: int | None = None, seed: int = 0, *, return_std: bool = False) -> Any:
        """Only where "density" is among the capabilities.

        Raises:
          ValueError: it is not.
        """
        raise ValueError(f"{type(self).__name__} has no density of examples, so it cannot score them.")

    def signatures(self) -> dict[str, ExportSignature]:
        """cluster and embed, and generate where the model can."""
        shape = self.config.input_shape

        def cluster(image: tf.Tensor) -> dict[str, tf.Tensor]:
            probabilities = self.probabilities(image)
            return {"cluster": tf.argmax(probabilities, -1, output_type=tf.int32), "probabilities": probabilities}

        def embed(image: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"embedding": self.exported_embedding(image)}

        def generate(cluster: tf.Tensor, noise: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"image": self.decode_mean(self.prior.from_noise(cluster, noise))}

        drawn = {"cluster": ((), "int32"), "noise": ((self.n_normals,), "float32")}
        found = {
            "cluster": ExportSignature(cluster, {"image": (shape, "example")}),
            "embed": ExportSignature(embed, {"image": (shape, "example")}),
        }
        return {**found, "generate": ExportSignature(generate, drawn, generates=True)} if "generate" in self.capabilities else found

    def exported_embedding(self, image: tf.Tensor) -> tf.Tensor:
        """`embedding`, without anything that a file cannot hold."""
        return self.embedding(image)

    def networks(self) -> list[Any]:
        """The layers whose weights `take_weights` takes; the prior is taken apart."""
        raise NotImplementedError

    def take_prior(self, other: Any) -> None:
        """Take the prior's weights from another model."""
        raise NotImplementedError

    def take_weights(self, other: Any, source: str) -> None:
        """Take the networks, the prior and the input scaling of `other`; step, schedules and seed stay its own.

        Args:
          other: what it learns on from.
          source: where `other` is from, the begin of a sentence, such as "init_from: runs/a".

        Raises:
          ValueError: another method's model, or one that differs in an option that the weights depend on; nothing is changed.
        """
        if type(other) is not type(self):
            raise ValueError(f"{source} is a run of another method, {type(other).__name__}; give one of {type(self).__name__}.")
        for name, here in self.shapes_of_weights().items():
            if (there := other.shapes_of_weights()[name]) != here:
                raise ValueError(f"{source} has {name} {as_text(there)} and this run {as_text(here)}; they must be the same.")
        for mine, its in zip(self.networks(), other.networks(), strict=True):
            mine.set_weights(its.get_weights())
        self.take_prior(other)
        self.input_scale.assign(other.input_scale)
        self.input_shift.assign(other.input_shift)

    def take_autoencoder(self, other: Any, source: str) -> None:
        """Only of methods that train an autoencoder first.

        Raises:
          ValueError: this is none of them.
        """
        raise ValueError(f"{source} cannot be used, as {type(self).__name__} does not begin with an autoencoder.")

    def shapes_of_weights(self) -> dict[str, Any]:
        """The options that the weights' number, shapes and meaning depend on."""
        raise NotImplementedError

    def options_of(self, config: RunConfig) -> Any:
        """The method's own options in a run's configuration; ValueError where these are another method's."""
        if not isinstance(config.model, self.options_class):
            name = type(self).__name__
            raise ValueError(f"{name} is trained by {self.options_class.__name__}, and the configuration is of {config.method}.")
        return config.model

    def answering_state(self, options: Any) -> tuple[dict[str, Any], Callable[[], None]]:
        """The model."""
        return {"model": self}, lambda: None

    def report_metrics(self) -> dict[str, float | int]:
        """Nothing beside its scores."""
        return {}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "config": dataclasses.asdict(self.config), "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The inverse of `get_config`."""
        return cls(**config)


def check_images(options: Any, train: Dataset) -> None:
    """Raise ValueError where images would be changed and these examples are vectors."""
    if options.image_changers and not train.is_image:
        what = " and ".join(options.image_changers)
        raise ValueError(f"These examples are vectors, and images are what {what} would change; use another preset or init.")


def encode_all(encode: Callable[[tf.Tensor], tf.Tensor], data: Dataset, at_once: int | None = None) -> np.ndarray:
    """`encode` of a whole data set of raw examples, float32 [n, ...]; `at_once`: how many examples it takes at most."""
    function = graph_of(encode, reduce_retracing=True, autograph=False)
    found = []
    for _, x in data.chunks():
        step = at_once or len(x)
        found += [function(tf.constant(x[start : start + step])).numpy() for start in range(0, len(x), step)]
    return np.concatenate(found)


def weights_of(*layers: Any) -> list[Any]:
    """Their trainable weights."""
    return [weight for layer in layers for weight in layer.trainable_weights]
