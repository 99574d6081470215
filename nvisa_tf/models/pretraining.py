"""Stages that models train before, or in place of, their own: an autoencoder and a contrastive network.

Shapes: n examples, B of a batch, D latent dimensions, P dimensions of a contrastive code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.data import Dataset
from nvisa_tf.layers.augmentation import Augmentation, augment
from nvisa_tf.layers.graphs import graph_of
from nvisa_tf.layers.networks import Decoder, LayerFactory
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.keras_model import encode_all, weights_of
from nvisa_tf.models.stage import AdamStage

PROJECTION_UNITS, PROJECTION_DIM = 500, 64  # of the contrastive network's head
TEMPERATURE = 0.5  # of its similarities
HELD_OUT = 1_000  # examples on which a stage is measured, at most
MEASURING = 0xC4EC  # sets the seeds of the images that it is measured on apart


def held_out_part(data: TrainingData, most: int = HELD_OUT) -> np.ndarray:
    """A fixed, evenly spread part of what is held out, or of all data where nothing is: raw examples, `most` of them at most."""
    return np.asarray(data.test.x[:: math.ceil(len(data.test) / most)])


class Autoencodable(Protocol):
    """A model that an autoencoder can be made of."""

    config: Any
    encoder: Any
    decoder: Decoder

    def preprocess(self, x: tf.Tensor) -> tf.Tensor:
        """Raw examples on the model's scale, [B, d]."""
        ...


class AutoencoderStage(AdamStage):
    """The model's trunk, a linear code head and the model's decoder, trained to give examples back.

    It minimizes the squared error of the decoder's mean on the model's scale, halved and summed over an example's values; for a
    Bernoulli likelihood, minus the log-likelihood.

    Args:
      model: whose trunk and decoder are trained.
      head: the linear code head; None: one is made, its weights drawn by the seed.
      data: what is learned from.
      seed: of a new code head's weights and of how images are changed.
      augmentation: how the images that it sees, and is to give, are changed; None: not.
      bernoulli: whether the decoder gives logits of values in [0, 1].
      held_out: raw examples [n, *input_shape] on whose loss, unchanged, it ends where that has stopped falling; None: `epochs` are its end.
      **stage: batch_size, epochs, least_steps, shuffle_seed and learning_rate, as for `AdamStage`.
    """

    def __init__(
        self,
        model: Autoencodable,
        data: Dataset,
        *,
        seed: int,
        head: Any = None,
        augmentation: Augmentation | None = None,
        bernoulli: bool = False,
        held_out: np.ndarray | None = None,
        **stage: Any,
    ) -> None:
        # An image too bright would be asked for, which a Bernoulli likelihood cannot give.
        self.model, self._augmentation, self._bernoulli = model, augmentation and augmentation._replace(brightness=0.0), bernoulli
        self.head = head or code_head(model, seed)
        self._held_out = held_out
        weights = weights_of(model.encoder, self.head, model.decoder.trunk, model.decoder.loc)
        super().__init__("autoencoder", data.x, weights, seed=seed, stop_early=held_out is not None, **stage)
        self._loss_of = graph_of(self.reconstruction_loss, reduce_retracing=True, autograph=False)

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Codes [B, D] of raw examples [B, *input_shape]."""
        return self.head(self.model.encoder(self.model.preprocess(x)))

    def codes(self, data: Dataset) -> np.ndarray:
        """Codes of a whole data set, float32 [n, D]."""
        return encode_all(self.encode, data)

    def train_step(self, batch: tf.Tensor) -> None:
        """One step of Adam on raw examples [B, *input_shape]."""
        if self._augmentation is not None:
            batch = augment(batch, self.step_seed(), self._augmentation, fused=self.fused)
        with tf.GradientTape() as tape:
            loss = self.reconstruction_loss(batch)
        self.learn(tape, loss)

    def reconstruction_loss(self, batch: tf.Tensor) -> tf.Tensor:
        """The mean over raw examples [B, *input_shape], a scalar."""
        target = self.model.preprocess(batch)
        mean = self.model.decoder(self.encode(batch))[0]
        each = tf.nn.sigmoid_cross_entropy_with_logits(target, mean) if self._bernoulli else 0.5 * tf.square(target - mean)
        return tf.reduce_mean(tf.reduce_sum(each, 1))

    def measure(self) -> float:
        """The loss on what is held out."""
        return mean_over_pieces(lambda piece, _: self._loss_of(piece), self._held_out, self.batch_size)

    def checkpointables(self) -> dict[str, Any]:
        """The model and the code head beside what trains them."""
        return {**super().checkpointables(), "model": self.model, "head": self.head}


def mean_over_pieces(loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], x: np.ndarray | None, size: int) -> float:
    """The mean over examples [n, ...] of a loss of pieces of them, about equal in size and of `size` at most, and of their number."""
    if x is None:
        raise ValueError("Nothing is held out that a stage could be measured on; give held_out.")
    pieces = np.array_split(x, math.ceil(len(x) / size))
    losses = [float(loss(tf.constant(piece), tf.constant(number))) for number, piece in enumerate(pieces)]
    return float(np.average(losses, weights=[len(piece) for piece in pieces]))


def code_head(model: Autoencodable, seed: int) -> keras.layers.Dense:
    """A linear layer from the model's trunk to codes, its weights drawn by the seed."""
    head = LayerFactory(seed, 0.0).dense(model.config.latent_dim, "code")
    head.build((None, model.encoder.output_shape[-1]))
    return head


class ContrastiveStage(AdamStage):
    """A network of its own whose codes, of length 1, are alike for one image however it is changed, and unlike for different images.

    Its trunk is of the model's filters and widths, with a head of one hidden layer. The loss is NT-Xent (Chen et al., ICML 2020,
    equation 1): each of the 2 B changed images of a batch is to find the other one of the same image by cosine similarity over
    `TEMPERATURE`.

    Args:
      model: whose input, its scaling, filters and widths are taken; it is not changed.
      keep: what later stages need of earlier ones, trackable objects by name; it is checkpointed too.
      data: what is learned from.
      seed: of the weights, and of how the images are changed.
      augmentation: how far they are.
      held_out: raw images [n, *input_shape] on whose loss, always changed alike, it ends where that has stopped falling; None: `epochs` are
        its end.
      **stage: batch_size, epochs, least_steps, shuffle_seed and learning_rate, as for `AdamStage`.
    """

    def __init__(
        self,
        model: Autoencodable,
        data: Dataset,
        *,
        seed: int,
        augmentation: Augmentation,
        keep: dict[str, Any],
        held_out: np.ndarray | None = None,
        **stage: Any,
    ) -> None:
        self.model, self._augmentation, self._keep, self._held_out = model, augmentation, keep, held_out
        factory, config = LayerFactory(seed, 0.0), model.config
        self._trunk = factory.trunk(config.input_shape, config.encoder_filters, (*config.encoder_units, PROJECTION_UNITS), "contrastive")
        self._head = factory.dense(PROJECTION_DIM, "projection")
        self._head.build((None, PROJECTION_UNITS))
        weights = weights_of(self._trunk, self._head)
        super().__init__("contrastive", data.x, weights, seed=seed, stop_early=held_out is not None, **stage)
        self._loss_of = graph_of(self.nt_xent_of, reduce_retracing=True, autograph=False)

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Codes [B, P] of raw examples [B, *input_shape]."""
        return tf.math.l2_normalize(self._head(self._trunk(self.model.preprocess(x))), 1)

    def codes(self, data: Dataset) -> np.ndarray:
        """Codes of a whole data set, float32 [n, P].

        Raises:
          ValueError: they are not finite.
        """
        found = encode_all(self.encode, data)
        if not np.isfinite(found).all():
            raise ValueError("The contrastive network's codes are not finite; choose another init, or rescale the data.")
        return found

    def train_step(self, batch: tf.Tensor) -> None:
        """One step of Adam on raw images [B, *input_shape]."""
        views = self._views(batch, self.step_seed())
        with tf.GradientTape() as tape:
            loss = self.nt_xent(views)
        self.learn(tape, loss)

    def _views(self, batch: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Two changed images of each, [2 B, *input_shape]; seed: a stateless seed, integers [2]."""
        return tf.concat([augment(batch, part, self._augmentation, fused=self.fused) for part in tf.unstack(tf.random.split(seed, 2))], 0)

    def nt_xent(self, views: tf.Tensor) -> tf.Tensor:
        """The loss of the first changed images of each, and then the second ones, [2 B, *input_shape]; a scalar."""
        rows = tf.range(tf.shape(views)[0])
        codes = self.encode(views)
        similarities = tf.linalg.set_diag(codes @ tf.transpose(codes) / TEMPERATURE, tf.fill([tf.size(rows)], -1e9))
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.roll(rows, tf.size(rows) // 2, 0), similarities))

    def nt_xent_of(self, batch: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """The loss of a piece of what is held out, changed as its number says."""
        return self.nt_xent(self._views(batch, tf.random.fold_in(tf.constant([self._seed, MEASURING], tf.int32), number)))

    def measure(self) -> float:
        """The loss on what is held out."""
        return mean_over_pieces(self._loss_of, self._held_out, self.batch_size)

    def checkpointables(self) -> dict[str, Any]:
        """The network beside what trains it, and what is kept of earlier stages."""
        return {**super().checkpointables(), **self._keep, **self.parts()}

    def parts(self) -> dict[str, Any]:
        """The network, trackable objects by name."""
        return {"trunk": self._trunk, "projection": self._head}


def layers_of_z(decoder: Decoder) -> list[Any]:
    """The decoder's dense layers that take z."""
    dense = [layer for layer in decoder.trunk.layers if isinstance(layer, keras.layers.Dense)]
    mean = decoder.loc.layers[0] if isinstance(decoder.loc, keras.Sequential) else decoder.loc
    return dense[:1] or [layer for layer in (mean, decoder.scale_net) if layer is not None]


def rescale(decoder: Decoder, head: Any, codes: np.ndarray) -> np.ndarray:
    """Bring the codes [n, D] to mean 0 and a standard deviation of 1 over all dimensions together, and the weights with them.

    The code head gives the new codes and the decoder's first layer takes them, so that nothing changes behind it.

    Raises:
      ValueError: the codes are not finite, or all the same.
    """
    shift = codes.mean(0, dtype=np.float64)
    scale = math.sqrt(np.mean((codes - shift) ** 2, dtype=np.float64))
    if not np.isfinite(scale) or scale == 0:
        raise ValueError(f"The autoencoder's codes have a standard deviation of {scale:g}; choose init random, or rescale the data.")
    head.kernel.assign(head.kernel / scale)
    head.bias.assign((head.bias - shift) / scale)
    for layer in layers_of_z(decoder):
        layer.bias.assign(layer.bias + tf.linalg.matvec(layer.kernel, tf.cast(shift, tf.float32), transpose_a=True))
        layer.kernel.assign(layer.kernel * scale)
    return ((codes - shift) / scale).astype(np.float32)


def augmentation_of(options: Any) -> Augmentation | None:
    """How images are changed by options that are an `AugmentationConfig`; None: not."""
    return Augmentation.from_config(options) if options.augment else None
