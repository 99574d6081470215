"""Clusters by mutual information: a network that answers alike for an image however it is changed, surely, and with every cluster in use.

Its objective is that of `nvisa_tf.models.cluster_objective`, for several heads on one trunk as in IIC (Ji et al., ICCV 2019, arXiv
1807.06653). Where it ends depends on the weights that it begins with. So several networks, convolutional and dense, are tried beside each
other, some of them first taught clusters that were found elsewhere. What changed images tell about the clusters of held-out images says
which networks to trust, and several heads of these answer together (`nvisa_tf.models.agreement`).

The objective asks for clusters of equal size. A network from random weights has further heads, with `FINE` times as many clusters, too
small to hold more than a part of a group each. Where these networks clearly do better than those that were taught, the parts are linked to
clusters of any size.

Shapes: n examples, B of a batch, d values of one, K clusters, H heads, F of fine clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.balanced_kmeans import TEMPERATURE
from nvisa_tf.clustering.mixtures import best_balanced, spread_part
from nvisa_tf.data import Dataset
from nvisa_tf.layers.augmentation import Augmentation, augment
from nvisa_tf.layers.networks import DTYPE, LAST, LayerFactory, stack, with_channels
from nvisa_tf.models.agreement import Answer, choose_answer, of_best_heads
from nvisa_tf.models.cluster_objective import CLUSTER_INFORMATION, VALUES_AT_ONCE, held_out_answers, held_out_information, objective
from nvisa_tf.models.keras_model import encode_all, weights_of
from nvisa_tf.models.pretraining import PROJECTION_DIM, Autoencodable, ContrastiveStage
from nvisa_tf.models.stage import AdamStage

FILTERS, MOST_FILTERS, SMALL_SIDE = 16, 64, 8  # of a convolutional network: of its first layer, of any, and the side that it ends at
CONVOLUTIONAL_UNITS = (256,)  # widths of its dense layers
HEADS = 5  # of each network, and as many of fine clusters; they share what it sees, and end in clusters of their own
FINE = 3  # clusters of a head of fine ones for each that is wanted
FINE_WEIGHT = 0.3  # of the objective of fine clusters, so that what the network sees is learned for the others in the first place
TAUGHT_STEPS = 300  # that a network is taught clusters for
CLUSTERED = 10_000  # examples among whose contrastive codes these are looked for, at most


def convolutions_for(shape: Sequence[int]) -> tuple[int, ...]:
    """Filters of a network for images of `shape`, [h, w(, c)]: as many as halve the longer side to 8 or less, two at least."""
    times = max(2, math.ceil(math.log2(max(shape[:2]) / SMALL_SIDE)))
    return tuple(min(FILTERS * 2**i, MOST_FILTERS) for i in range(times))


class Candidate(NamedTuple):
    """A network that is tried, and whether it is taught clusters first; else it has heads of fine clusters too."""

    name: str
    network: keras.Sequential
    is_taught: bool

    @classmethod
    def made(cls, model: Autoencodable, seed: int, name: str, is_convolutional: bool, is_taught: bool) -> Candidate:
        """With a new network, from scaled images [B, d] to the logits of all heads, [B, H K] or [B, H (K + F)].

        It has batch normalization; a dense one is of the model's widths.
        """
        factory, config = LayerFactory(seed, 0.0), model.config
        filters, widths = (convolutions_for(config.input_shape), CONVOLUTIONAL_UNITS) if is_convolutional else ((), config.encoder_units)
        layers: list[Any] = []
        if filters:
            layers.append(keras.layers.Reshape(with_channels(config.input_shape), dtype=DTYPE))
            for i, n in enumerate(filters):
                layers += _normalized(factory.convolution(n, f"{name}_convolution_{i}", None))
            layers.append(keras.layers.Flatten(LAST, dtype=DTYPE))
        for i, units in enumerate(widths):
            layers += _normalized(factory.dense(units, f"{name}_{i}"))
        heads = factory.dense(HEADS * config.n_clusters * (1 if is_taught else 1 + FINE), f"{name}_heads")
        return cls(name, stack(config.input_dim, [*layers, heads], name), is_taught)


class LogProbabilities(NamedTuple):
    """log p(y|x) by the heads of a network, [B, H, K], and by those of fine clusters, if it has some, [B, H, F]."""

    heads: tf.Tensor
    fine: tf.Tensor | None


def _normalized(layer: Any) -> list[Any]:
    """A layer with batch normalization and leaky ReLU."""
    normalization = keras.layers.BatchNormalization(dtype=DTYPE, name=f"{layer.name}_normalization")
    return [layer, normalization, keras.layers.LeakyReLU(0.2, dtype=DTYPE)]


class MutualInformationStage(AdamStage):
    """Trains several networks beside each other, whose heads are probabilities of the clusters; `choose_answer` says which answer.

    The networks see the same batches and changes, and none depends on another.

    Args:
      model: whose input and its scaling are taken; it is not changed.
      data: what is learned from.
      candidates: the networks.
      seed: of how the images are changed.
      augmentation: how far they are.
      held_out: raw images [n, *input_shape] on which the heads are compared.
      keep: what later stages need of earlier ones, trackable objects by name; it is checkpointed too.
      taught_by: a contrastive network, whose codes' clusters of equal size some candidates are taught for the first `TAUGHT_STEPS`.
      cluster_seed: of the search for these.
      **stage: batch_size, epochs, least_steps, shuffle_seed, stop_early and learning_rate, as for `AdamStage`.
    """

    measured = CLUSTER_INFORMATION.replace("_", " ").replace("held out", "held-out")

    def __init__(
        self,
        model: Autoencodable,
        data: Dataset,
        *,
        candidates: Sequence[Candidate],
        seed: int,
        augmentation: Augmentation,
        held_out: np.ndarray,
        keep: dict[str, Any],
        taught_by: ContrastiveStage | None = None,
        cluster_seed: int = 0,
        **stage: Any,
    ) -> None:
        self.model, self._data, self._augmentation, self._held_out = model, data, augmentation, held_out
        self.candidates, self._taught_by, self.cluster_seed = tuple(candidates), taught_by, cluster_seed
        self._keep = {**keep, **(taught_by.parts() if taught_by else {})}
        n_clusters = model.config.n_clusters
        self._centres = tf.Variable(tf.zeros([PROJECTION_DIM, n_clusters]), trainable=False)  # over the temperature
        self._biases = tf.Variable(tf.zeros([n_clusters]), trainable=False)
        super().__init__("mutual_information", data.x, weights_of(*(one.network for one in candidates)), seed=seed, **stage)

    def begin(self) -> None:
        """Look for the clusters that are to be taught, if any are."""
        if self._taught_by is None:
            return
        part = spread_part(self._data, CLUSTERED, self.cluster_seed)
        found = best_balanced(self._taught_by.codes(part), self.model.config.n_clusters, self.cluster_seed)
        self._centres.assign(found.centres.T / TEMPERATURE)
        self._biases.assign(found.biases)

    def log_probabilities(self, candidate: Candidate, scaled: tf.Tensor, training: bool = False) -> LogProbabilities:
        """What a network says of images on the model's scale, [B, d]."""
        k = self.model.config.n_clusters
        logits = candidate.network(scaled, training=training)
        heads = tf.nn.log_softmax(tf.reshape(logits[:, : HEADS * k], [-1, HEADS, k]))
        if candidate.is_taught:
            return LogProbabilities(heads, None)
        return LogProbabilities(heads, tf.nn.log_softmax(tf.reshape(logits[:, HEADS * k :], [-1, HEADS, FINE * k])))

    def train_step(self, batch: tf.Tensor) -> None:
        """One step of Adam on raw images [B, *input_shape]."""
        images = self.model.preprocess(batch)
        changed = self.model.preprocess(augment(batch, self.step_seed(), self._augmentation, fused=self.fused))
        is_taught_now = tf.convert_to_tensor(self.step) < TAUGHT_STEPS
        target = self._target(batch, is_taught_now)
        with tf.GradientTape() as tape:
            loss = tf.add_n([self._loss(one, images, changed, target, is_taught_now) for one in self.candidates])
        self.learn(tape, loss)

    def _loss(
        self, candidate: Candidate, images: tf.Tensor, changed: tf.Tensor, target: tf.Tensor | None, is_taught_now: tf.Tensor
    ) -> tf.Tensor:
        """Of all heads together, nats; images and changed images on the model's scale, [B, d], and what is taught, [B, K]."""
        of_images, of_changed = (self.log_probabilities(candidate, part, training=True) for part in (images, changed))
        loss = tf.reduce_sum(objective(of_images.heads, of_changed.heads))
        if candidate.is_taught and target is not None:
            taught = -tf.reduce_sum(target[:, None] * (of_images.heads + of_changed.heads)) / tf.cast(tf.shape(target)[0], tf.float32)
            loss = tf.where(is_taught_now, taught, loss)
        if of_images.fine is not None:
            loss += FINE_WEIGHT * tf.reduce_sum(objective(of_images.fine, of_changed.fine))
        return loss

    def _target(self, batch: tf.Tensor, is_taught_now: tf.Tensor) -> tf.Tensor | None:
        """The clusters that are taught of raw images, as probabilities [B, K]; zeros once none are, None where none ever are."""
        found_by = self._taught_by
        if found_by is None:
            return None
        shape = [batch.shape[0], self.model.config.n_clusters]

        def look() -> tf.Tensor:
            logits = found_by.encode(batch) @ tf.convert_to_tensor(self._centres) + tf.convert_to_tensor(self._biases)
            return tf.ensure_shape(tf.nn.softmax(logits), shape)

        return tf.cond(is_taught_now, look, lambda: tf.zeros(tf.stack([tf.shape(batch)[0], shape[1]])))

    def measure(self) -> float:
        """What the networks are compared by, on average of those that give finite probabilities; negative, as less is to be better."""
        of_networks = of_best_heads(self.judge()).mean(0)
        finite = of_networks[np.isfinite(of_networks)]
        return -float(finite.mean()) if len(finite) else math.nan

    def values(self) -> dict[str, float | int]:
        """As of every stage with Adam; what the last check measured is more the better."""
        found = super().values()
        return {**found, CLUSTER_INFORMATION: -self.checks.last} if self.checks else found

    def judge(self) -> np.ndarray:
        """The `information` of each image that is held out by each head of each candidate, nats, float64 [n, candidates, H].

        NaN of a network any of whose heads, those of fine clusters too, gives what is not finite.
        """

        def of_network(one: Candidate, scaled: tf.Tensor) -> tf.Tensor:
            found = self.log_probabilities(one, scaled)
            is_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(log_p)) for log_p in found if log_p is not None])
            return tf.where(is_finite, found.heads, math.nan)

        def answer(scaled: tf.Tensor) -> tf.Tensor:
            return tf.concat([of_network(one, scaled) for one in self.candidates], 1)

        found = held_out_information(answer, self.model.preprocess, self._held_out, self._augmentation)
        return found.reshape(len(found), len(self.candidates), HEADS)

    def answers(self, candidate: Candidate, data: Dataset, fine: bool = False) -> np.ndarray:
        """p(y|x) by all heads of a network, float32 [n, H, K], or by those of fine clusters, [n, H, F].

        Raises:
          ValueError: they are not finite.
        """

        def probabilities(x: tf.Tensor) -> tf.Tensor:
            found = self.log_probabilities(candidate, self.model.preprocess(x))
            return tf.exp(found.fine if fine else found.heads)

        found = encode_all(probabilities, data, max(1, VALUES_AT_ONCE // self.model.config.input_dim))
        if not np.isfinite(found).all():
            raise ValueError("The network's probabilities are not finite; choose another init, or rescale the data.")
        return found

    def held_out_fine(self, networks: Sequence[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """p(y|x) by the heads of fine clusters of some candidates that have them, of held-out images and of changes of these.

        Float32 [n, F] and [c n, F] of each head; as in `held_out_answers`, all images are changed once, then all once more.
        """
        of_images: list[np.ndarray] = []
        of_changed: list[np.ndarray] = []
        for candidate in (self.candidates[index] for index in networks):

            def answer(scaled: tf.Tensor, one: Candidate = candidate) -> tf.Tensor:
                return self.log_probabilities(one, scaled).fine

            found = held_out_answers(answer, self.model.preprocess, self._held_out, self._augmentation)
            for heads, log_p in zip((of_images, of_changed), found, strict=True):
                heads += list(np.exp(np.moveaxis(log_p.numpy(), 1, 0)))
        return of_images, of_changed

    def choose_answer(self, part: Dataset) -> Answer:
        """Who answers, by `nvisa_tf.models.agreement.choose_answer`, with its arguments and errors; what it found is the report then."""
        answer, self.report = choose_answer(self, part)
        return answer

    def checkpointables(self) -> dict[str, Any]:
        """The networks beside what trains them, and what is kept of earlier stages."""
        networks = {one.name: one.network for one in self.candidates}
        return {**super().checkpointables(), **self._keep, "centres": self._centres, "biases": self._biases, **networks}
