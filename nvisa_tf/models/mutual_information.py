"""Clusters by mutual information: a network that answers alike for an image however it is changed, surely, and with every cluster in use.

It is regularized information maximization (Krause et al., NeurIPS 2010) with the self-augmented regularizer of IMSAT (Hu et al., ICML
2017, arXiv 1702.08720), here by changed images instead of adversarial ones, and with several heads on one trunk as in IIC (Ji et al.,
ICCV 2019, arXiv 1807.06653). Where it ends depends on the weights that it begins with, and the objective on held-out images tells good
ends from bad ones of one data set. So several networks are tried for a few hundred steps, and the best of them goes on; or the network is
first taught clusters that were found elsewhere.

Shapes: n examples, B of a batch, d values of one, K clusters, H heads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.balanced_kmeans import TEMPERATURE
from nvisa_tf.clustering.mixtures import best_balanced, spread_rows
from nvisa_tf.data import Dataset
from nvisa_tf.layers.augmentation import Augmentation, augment
from nvisa_tf.layers.networks import DTYPE, LayerFactory, stack
from nvisa_tf.models.keras_model import encode_all, weights_of
from nvisa_tf.models.pretraining import PROJECTION_DIM, Autoencodable, ContrastiveStage
from nvisa_tf.models.stage import AdamStage

HEADS = 5  # those of one network end nearly alike, and none is stuck alone
INFORMATION, BALANCE = 0.1, 4.0  # weights of the mutual information, and of H(y) in it (Hu et al. have the same)
TAUGHT_STEPS = 500  # that a network is taught clusters for
CLUSTERED = 10_000  # examples among whose contrastive codes these are looked for, at most
JUDGED_DRAWS = 0x1D6E  # sets the seed of how held-out images are changed apart from those of the steps


def objective(log_p: tf.Tensor, log_changed: tf.Tensor) -> tf.Tensor:
    """What each head is to make small, nats, float32 [H] (Hu et al., equations 3 to 6).

    KL(p(y|x) || p(y|changed x)), where p(y|x) is held, minus `INFORMATION` times (`BALANCE` H(y) - H(y|x)).

    Args:
      log_p: of images, [B, H, K].
      log_changed: of the same images, changed, [B, H, K].
    """
    p, held = tf.exp(log_p), tf.stop_gradient(log_p)
    usage = tf.reduce_mean(p, 0)
    of_clusters = -tf.reduce_sum(tf.math.xlogy(usage, usage), -1)
    of_images = -tf.reduce_mean(tf.reduce_sum(p * log_p, -1), 0)
    change = tf.reduce_mean(tf.reduce_sum(tf.exp(held) * (held - log_changed), -1), 0)
    return change - INFORMATION * (BALANCE * of_clusters - of_images)


def network(model: Autoencodable, seed: int, name: str) -> keras.Sequential:
    """Scaled images [B, d] to the logits of all heads, [B, H K]; of the model's filters and widths, with batch normalization."""
    factory, config = LayerFactory(seed, 0.0), model.config
    layers: list[Any] = []
    width = config.input_dim
    if config.encoder_filters:
        layers += factory.trunk(config.input_shape, config.encoder_filters, (), name).layers
    for i, units in enumerate(config.encoder_units):
        layers += [
            factory.dense(units, f"{name}_{i}"),
            keras.layers.BatchNormalization(dtype=DTYPE, name=f"{name}_normalization_{i}"),
            keras.layers.LeakyReLU(0.2, dtype=DTYPE),  # as the model has it, so that `give_network` can be exact
        ]
    return stack(width, [*layers, factory.dense(HEADS * config.n_clusters, f"{name}_heads")], name)


def give_network(trained: keras.Sequential, head: int, encoder: keras.Sequential, cluster_head: keras.layers.Dense) -> None:
    """Make the clusters of a model those of a trained `network`'s head, exactly: normalization becomes part of the dense layers.

    Args:
      trained: the network.
      head: which of its heads, of `HEADS`.
      encoder: the model's trunk, of the same filters and widths.
      cluster_head: the model's layer that gives the logits of q(y|x).
    """
    targets = [layer for layer in encoder.layers if layer.weights]
    sources = [layer for layer in trained.layers if layer.weights and not isinstance(layer, keras.layers.BatchNormalization)]
    normalized = {
        before.name: layer for before, layer in itertools.pairwise(trained.layers) if isinstance(layer, keras.layers.BatchNormalization)
    }
    for source, target in zip(sources[:-1], targets, strict=True):
        kernel, bias = (value.numpy() for value in source.weights)
        if source.name in normalized:
            normal = normalized[source.name]
            scale = normal.gamma.numpy() / np.sqrt(normal.moving_variance.numpy() + normal.epsilon)
            kernel, bias = kernel * scale, (bias - normal.moving_mean.numpy()) * scale + normal.beta.numpy()
        target.kernel.assign(kernel)
        target.bias.assign(bias)
    kernel, bias = (value.numpy() for value in sources[-1].weights)
    n_clusters = cluster_head.units
    part = slice(head * n_clusters, (head + 1) * n_clusters)
    cluster_head.kernel.assign(kernel[:, part])
    cluster_head.bias.assign(bias[part])


class MutualInformationStage(AdamStage):
    """Trains a network of its own, whose heads are probabilities of the clusters.

    Args:
      name: of the stage.
      model: whose input, its scaling, filters and widths are taken; it is not changed.
      data: what is learned from.
      seed: of the weights, and of how the images are changed.
      augmentation: how far they are.
      held_out: raw images [n, *input_shape] on which networks and heads are compared.
      keep: what later stages need of earlier ones, trackable objects by name; it is checkpointed too.
      tries: stages that have trained networks of the same form; it begins with the best of these.
      taught_by: a contrastive network, whose codes' clusters of equal size all heads are taught for the first `TAUGHT_STEPS`.
      cluster_seed: of the search for these.
      **stage: batch_size, epochs, least_steps, shuffle_seed and learning_rate, as for `AdamStage`.
    """

    def __init__(
        self,
        name: str,
        model: Autoencodable,
        data: Dataset,
        *,
        seed: int,
        augmentation: Augmentation,
        held_out: np.ndarray,
        keep: dict[str, Any],
        tries: Sequence[MutualInformationStage] = (),
        taught_by: ContrastiveStage | None = None,
        cluster_seed: int = 0,
        **stage: Any,
    ) -> None:
        self.model, self._data, self._augmentation, self._held_out = model, data, augmentation, held_out
        self._keep, self._tries, self._taught_by, self._cluster_seed = keep, tries, taught_by, cluster_seed
        self.network = network(model, seed, name)
        self._head = tf.Variable(0, trainable=False)
        n_clusters = model.config.n_clusters
        self._centres = tf.Variable(tf.zeros([PROJECTION_DIM, n_clusters]), trainable=False)  # over the temperature
        self._biases = tf.Variable(tf.zeros([n_clusters]), trainable=False)
        super().__init__(name, data.x, weights_of(self.network), seed=seed, **stage)

    def begin(self) -> None:
        """Take the weights of the best of the tries, if there are any, and look for the clusters that are to be taught, if any are."""
        if self._tries:
            objectives = {tried.name: float(tried.judge(self._held_out).min()) for tried in self._tries}
            best = min(self._tries, key=lambda tried: objectives[tried.name])
            self.network.set_weights(best.network.get_weights())
            self.report = {"tries": {name: round(value, 5) for name, value in objectives.items()}, "chosen": best.name}
        if self._taught_by is not None:
            rows = spread_rows(len(self._data), CLUSTERED, self._cluster_seed)
            part = self._data if len(rows) == len(self._data) else self._data.take(rows)
            found = best_balanced(self._taught_by.codes(part), self.model.config.n_clusters, self._cluster_seed)
            self._centres.assign(found.centres.T / TEMPERATURE)
            self._biases.assign(found.biases)

    def finish(self) -> None:
        """Choose the best head."""
        self._head.assign(int(self.judge(self._held_out).argmin()))

    def log_probabilities(self, scaled: tf.Tensor, training: bool = False) -> tf.Tensor:
        """log p(y|x) by each head, [B, H, K], of images on the model's scale, [B, d]."""
        logits = self.network(scaled, training=training)
        return tf.nn.log_softmax(tf.reshape(logits, [-1, HEADS, self.model.config.n_clusters]))

    def train_step(self, batch: tf.Tensor) -> None:
        """One step of Adam on raw images [B, *input_shape]."""
        changed = augment(batch, self.step_seed(), self._augmentation, fused=self.fused)
        with tf.GradientTape() as tape:
            log_p = self.log_probabilities(self.model.preprocess(batch), training=True)
            log_changed = self.log_probabilities(self.model.preprocess(changed), training=True)
            losses = objective(log_p, log_changed)
            if self._taught_by is not None:
                is_taught = tf.convert_to_tensor(self.step) < TAUGHT_STEPS
                losses = tf.cond(is_taught, lambda: self._taught(batch, log_p, log_changed), lambda: losses)
            loss = tf.reduce_sum(losses)
        self.learn(tape, loss)

    def _taught(self, batch: tf.Tensor, log_p: tf.Tensor, log_changed: tf.Tensor) -> tf.Tensor:
        """The cross-entropy of each head, nats [H], of images and changed images together, from what it is taught of raw images."""
        assert self._taught_by is not None
        logits = tf.stop_gradient(self._taught_by.encode(batch)) @ tf.convert_to_tensor(self._centres) + tf.convert_to_tensor(self._biases)
        target = tf.nn.softmax(logits)[:, None]
        return -tf.reduce_mean(tf.reduce_sum(target * (log_p + log_changed), -1), 0)

    def judge(self, x: np.ndarray) -> np.ndarray:
        """The objective of each head on raw images [n, *input_shape], which are changed by draws of their own; float64 [H]."""
        images = tf.constant(x)
        changed = augment(images, tf.constant([JUDGED_DRAWS, 0]), self._augmentation)
        log_p, log_changed = (self.log_probabilities(self.model.preprocess(part)) for part in (images, changed))
        return objective(log_p, log_changed).numpy().astype(np.float64)

    measured = "excess objective"

    def measure(self) -> float:
        """How far the objective of the best head is above the least that there can be, nats."""
        return float(self.judge(self._held_out).min()) + INFORMATION * BALANCE * math.log(self.model.config.n_clusters)

    def give(self, encoder: keras.Sequential, cluster_head: keras.layers.Dense) -> None:
        """Make the clusters of a model with this trunk and this layer of logits those of the best head; see `give_network`."""
        give_network(self.network, int(self._head.numpy()), encoder, cluster_head)

    def probabilities(self, data: Dataset) -> np.ndarray:
        """p(y|x) by the best head, float32 [n, K]; to be asked for once the stage has finished.

        Raises:
          ValueError: they are not finite.
        """
        head = int(self._head.numpy())
        found = encode_all(lambda x: tf.exp(self.log_probabilities(self.model.preprocess(x))[:, head]), data)
        if not np.isfinite(found).all():
            raise ValueError("The network's probabilities are not finite; choose another init, or rescale the data.")
        return found

    def checkpointables(self) -> dict[str, Any]:
        """The network beside what trains it, and what is kept of earlier stages."""
        taught = {} if self._taught_by is None else {**self._taught_by.parts(), "centres": self._centres, "biases": self._biases}
        own = {self.name: self.network, f"head_of_{self.name}": self._head}
        return {**super().checkpointables(), **self._keep, **taught, **own}
