"""Clusters by mutual information: a network that answers alike for an image however it is changed, surely, and with every cluster in use.

Its objective is that of `nvisa_tf.models.cluster_objective`, for several heads on one trunk as in IIC (Ji et al., ICCV 2019, arXiv
1807.06653). Where it ends depends on the weights that it begins with. So several networks, convolutional and dense, are tried beside each
other, some of them first taught clusters that were found elsewhere. What changed images tell about the clusters of held-out images says
which networks to trust, and all heads of these answer together.

The objective asks for clusters of equal size. A network from random weights has further heads, with `FINE` times as many clusters, too
small to hold more than a part of a group each. Where these networks do better than those that were taught, the parts are linked to clusters
of any size.

Shapes: n examples, B of a batch, d values of one, K clusters, H heads, F of fine clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.balanced_kmeans import TEMPERATURE
from nvisa_tf.clustering.consensus import average, link, matching, shares
from nvisa_tf.clustering.mixtures import best_balanced, spread_rows
from nvisa_tf.data import Dataset
from nvisa_tf.layers.augmentation import Augmentation, augment
from nvisa_tf.layers.networks import DTYPE, LAST, LayerFactory, stack, with_channels
from nvisa_tf.models.cluster_objective import held_out_information, objective
from nvisa_tf.models.keras_model import encode_all, weights_of
from nvisa_tf.models.pretraining import PROJECTION_DIM, Autoencodable, ContrastiveStage
from nvisa_tf.models.stage import AdamStage

FILTERS, MOST_FILTERS, SMALL_SIDE = 16, 64, 8  # of a convolutional network: of its first layer, of any, and the side that it ends at
CONVOLUTIONAL_UNITS = (256,)  # widths of its dense layers
HEADS = 5  # of each network, and as many of fine clusters; they share what it sees, and end in clusters of their own
FINE = 3  # clusters of a head of fine ones for each that is wanted
FINE_WEIGHT = 0.3  # of the objective of fine clusters, so that what the network sees is learned for the others in the first place
COMPARED = 5_000  # examples by which clusters are linked or matched, at most: their distances take 300 MB then
VALUES_AT_ONCE = 8_000_000  # of images that a network answers for at once: what its convolutions give is many times as large
# By which a network is judged. The heads of a taught network hardly differ; of one from random weights, some end badly, and the single best
# one of a few is chance.
BEST_HEADS = 2
GROUPS = {False: "from random weights", True: "taught contrastive clusters"}  # of networks, for reports
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
    """Trains several networks beside each other, whose heads are probabilities of the clusters; all heads of some answer together.

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
      **stage: batch_size, epochs, least_steps, shuffle_seed and learning_rate, as for `AdamStage`.
    """

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
        self.candidates, self._taught_by, self._cluster_seed = tuple(candidates), taught_by, cluster_seed
        self._keep = {**keep, **(taught_by.parts() if taught_by else {})}
        n_clusters = model.config.n_clusters
        self._centres = tf.Variable(tf.zeros([PROJECTION_DIM, n_clusters]), trainable=False)  # over the temperature
        self._biases = tf.Variable(tf.zeros([n_clusters]), trainable=False)
        super().__init__("mutual_information", data.x, weights_of(*(one.network for one in candidates)), seed=seed, **stage)

    def begin(self) -> None:
        """Look for the clusters that are to be taught, if any are."""
        if self._taught_by is None:
            return
        rows = spread_rows(len(self._data), CLUSTERED, self._cluster_seed)
        part = self._data if len(rows) == len(self._data) else self._data.take(rows)
        found = best_balanced(self._taught_by.codes(part), self.model.config.n_clusters, self._cluster_seed)
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

    def judge(self) -> np.ndarray:
        """The `information` of each image that is held out by each head of each candidate, nats, float64 [n, candidates, H]."""

        def answer(scaled: tf.Tensor) -> tf.Tensor:
            return tf.concat([self.log_probabilities(one, scaled).heads for one in self.candidates], 1)

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

    def agreed(self, part: Dataset) -> tuple[np.ndarray, Callable[[Dataset], np.ndarray]]:
        """p(y|x) of examples by several heads on average, float64 [n, K], and a function that gives it of others.

        Networks are compared by their `BEST_HEADS`. Those from random weights answer where they do better than those that were taught, on
        average, by more than a standard error of the difference (Breiman et al., 1984): by their heads of fine clusters, linked, or, where
        these link to fewer than K large clusters, by their other heads, matched. Else those that were taught answer, by all their heads,
        matched. A network that diverged does not count. The report then has what each network and, on average, each group gives on held-out
        images, None where it is not finite, the standard error, the best network of those taken, and whose heads answer.

        Raises:
          ValueError: no network gives finite probabilities.
        """
        of_images = of_best_heads(self.judge())
        of_networks = of_images.mean(0)
        order = [int(index) for index in np.argsort(-of_networks, kind="stable") if np.isfinite(of_networks[index])]
        if not order:
            raise ValueError("The networks' probabilities are not finite; choose another init, or rescale the data.")
        groups = {taught: [index for index in order if self.candidates[index].is_taught == taught] for taught in (False, True)}
        means = {taught: float(of_networks[group].mean()) for taught, group in groups.items() if group}
        error = standard_error(of_images[:, groups[False]].mean(1) - of_images[:, groups[True]].mean(1)) if len(means) == 2 else 0.0
        is_taught = True in means and not means.get(False, -math.inf) > means[True] + error
        taken = groups[is_taught]
        self.report = {
            "tries": {one.name: _rounded(value) for one, value in zip(self.candidates, of_networks, strict=True)},
            "means": {GROUPS[taught]: _rounded(value) for taught, value in means.items()},
            "standard_error": _rounded(error),
            "chosen": self.candidates[taken[0]].name,
        }
        return (None if is_taught else self.linked(part, taken)) or self.matched(part, taken)

    def linked(self, part: Dataset, networks: Sequence[int]) -> tuple[np.ndarray, Callable[[Dataset], np.ndarray]] | None:
        """`agreed`, by all heads of fine clusters of these candidates; None: they link to fewer than K large clusters."""
        n_clusters, some = self.model.config.n_clusters, list(self._heads_of(networks, self._some(part), fine=True))
        clusters = link(some, n_clusters)
        if clusters is None:
            return None
        return self._together("linked", networks, some, [shares(p, clusters, n_clusters) for p in some], part)

    def matched(self, part: Dataset, networks: Sequence[int]) -> tuple[np.ndarray, Callable[[Dataset], np.ndarray]]:
        """`agreed`, by all heads of these candidates; the clusters have the numbers that the first of them gives."""
        some = list(self._heads_of(networks, self._some(part)))
        return self._together("matched", networks, some, [matching(some[0], p) for p in some], part)

    def _some(self, data: Dataset) -> Dataset:
        rows = spread_rows(len(data), COMPARED, self._cluster_seed)
        return data if len(rows) == len(data) else data.take(rows)

    def _heads_of(self, networks: Sequence[int], data: Dataset, fine: bool = False) -> Iterator[np.ndarray]:
        """p(y|x) by each head of each of these candidates, [n, K or F]; one network's answers are in memory at a time."""
        for index in networks:
            found = self.answers(self.candidates[index], data, fine)
            yield from (found[:, head] for head in range(HEADS))

    def _together(
        self, how: str, networks: Sequence[int], some: Sequence[np.ndarray], matrices: Sequence[np.ndarray], part: Dataset
    ) -> tuple[np.ndarray, Callable[[Dataset], np.ndarray]]:
        self.report |= {"clusters": how, "heads": {self.candidates[index].name: HEADS for index in networks}}

        def probabilities(data: Dataset) -> np.ndarray:
            return average(self._heads_of(networks, data, how == "linked"), matrices)

        return (average(some, matrices) if len(some[0]) == len(part) else probabilities(part)), probabilities

    def checkpointables(self) -> dict[str, Any]:
        """The networks beside what trains them, and what is kept of earlier stages."""
        networks = {one.name: one.network for one in self.candidates}
        return {**super().checkpointables(), **self._keep, "centres": self._centres, "biases": self._biases, **networks}


def of_best_heads(information: np.ndarray) -> np.ndarray:
    """The mean of the best `BEST_HEADS` of each network, [n, networks], of all its heads, [n, networks, H]; NaN where one head has NaN."""
    best = np.argsort(-information.mean(0), 1)[:, :BEST_HEADS]
    of_best = np.take_along_axis(information, best[None], 2).mean(2)
    return np.where(np.isfinite(information).all((0, 2)), of_best, np.nan)


def standard_error(differences: np.ndarray) -> float:
    """Of the mean of the differences of n images, [n]; infinite of one."""
    return float(differences.std(ddof=1) / math.sqrt(len(differences))) if len(differences) > 1 else math.inf


def _rounded(value: Any) -> float | None:
    """For init.json, which has no NaN: null stands for a network that diverged."""
    return round(float(value), 5) if np.isfinite(value) else None
