"""A generator and a discriminator trained against each other: losses, the penalty, and the stage with two optimizers.

The loss is the non-saturating one (Goodfellow et al., NeurIPS 2014, arXiv 1406.2661), and the discriminator is held smooth by R1, the
squared norm of its gradient at examples (Mescheder et al., ICML 2018, arXiv 1801.04406).

Shapes: B examples, K clusters, D latent dimensions, d values of an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from nvisa_tf.layers.augmentation import Augmentation, augment
from nvisa_tf.layers.metrics import RunningMean
from nvisa_tf.layers.optimizer import FusedAdam
from nvisa_tf.models.keras_model import weights_of
from nvisa_tf.models.stage import GradientStage

BETA_1, BETA_2 = 0.5, 0.99  # of Adam, for both players


class Losses(NamedTuple):
    """What the two players minimize and what it is made of, scalars.

    discriminator: -log D(x) - log(1 - D(G(z))), nats, and the penalty with its weight.
    generator: -log D(G(z)), nats, and the classifier's loss with its weight.
    penalty: the mean squared norm of the gradient of the discriminator's logit at examples.
    cluster: -log q(y|G(z)), nats.
    """

    discriminator: tf.Tensor
    generator: tf.Tensor
    penalty: tf.Tensor
    cluster: tf.Tensor


def squared_gradient(logit: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """The mean over examples of |d logit / dx|^2, a scalar, differentiable; x: [B, d]; logit: to [B], each of its own example alone."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(logit(x))
    return tf.reduce_mean(tf.reduce_sum(tf.square(tape.gradient(total, x)), -1))


def discriminator_loss(real: tf.Tensor, generated: tf.Tensor) -> tf.Tensor:
    """The mean of -log D(x) - log(1 - D(G(z))), nats, where D is the sigmoid of logits [B]."""
    return tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(generated))


def generator_loss(generated: tf.Tensor) -> tf.Tensor:
    """The mean of -log D(G(z)), nats, of logits [B]."""
    return tf.reduce_mean(tf.nn.softplus(-generated))


class Players(Protocol):
    """A model of a generator, a discriminator, a mixture and a classifier, on the model's scale."""

    prior: Any
    decoder: Any
    discriminator: Any

    def preprocess(self, x: tf.Tensor) -> tf.Tensor:
        """Raw examples on the model's scale, [B, d]."""
        ...

    def decoded_mean(self, z: tf.Tensor) -> tf.Tensor:
        """G(z), [B, d]; z: [B, D]."""
        ...

    def decode_mean(self, z: tf.Tensor) -> tf.Tensor:
        """G(z) in the data's units, [B, *input_shape]."""
        ...

    def logit(self, x: tf.Tensor) -> tf.Tensor:
        """The discriminator's logit, [B]; x: [B, d]."""
        ...

    def class_logits(self, x: tf.Tensor) -> tf.Tensor:
        """The classifier's logits, [B, K]; x: [B, d]."""
        ...

    def weights_of_classifier(self) -> list[Any]:
        """Its trainable weights."""
        ...


class Changes:
    """How the networks see examples and what is generated: changed at random alike, or as they are.

    Args:
      model: whose scale they are on.
      augmentation: how images are changed; None: not.
      fused: as for `nvisa_tf.layers.augmentation.moved`; what is generated is changed without, as the kernel's gradient is not exact.
    """

    def __init__(self, model: Players, augmentation: Augmentation | None, fused: bool) -> None:
        self._model, self._how, self._fused = model, augmentation, fused

    def seen(self, batch: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Raw examples [B, *input_shape] on the model's scale, [B, d]; seed: a stateless seed, integers [2]."""
        return self._model.preprocess(batch if self._how is None else augment(batch, seed, self._how, fused=self._fused))

    def generated(self, z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """G(z), [B, d], with its gradient; z: [B, D]."""
        if self._how is None:
            return self._model.decoded_mean(z)
        return self._model.preprocess(augment(self._model.decode_mean(z), seed, self._how))


def cross_entropy(logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The mean of -log q(y), nats; logits: [B, K]; y: integers [B]."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))


class GANStage(GradientStage):
    """One step of both players at once, each by its own Adam, at the weights that both had before.

    A loss or gradient of either that is not finite changes no weight of both.

    Args:
      model: what is trained.
      x: raw examples [n, *input_shape].
      learning_rate: of both, which stays.
      penalty_weight: gamma of R1, of which the half counts.
      cluster_weight: what the classifier's loss counts for the generator, which then trains the classifier too; 0: neither.
      augmentation: how images are changed before a network sees them, examples and generated ones alike; None: not.
      **stage: seed, xla, batch_size, epochs and shuffle_seed, as for `GradientStage`.
    """

    metric_groups: Mapping[str, Sequence[str]] = {
        "loss": ("loss", "discriminator_loss", "penalty", "cluster_loss"),
        "gradient": GradientStage.metric_groups["gradient"],
    }

    def __init__(
        self,
        model: Players,
        x: Any,
        *,
        learning_rate: float,
        penalty_weight: float,
        cluster_weight: float,
        augmentation: Augmentation | None,
        **stage: Any,
    ) -> None:
        weights = weights_of(model.decoder, model.prior) + (model.weights_of_classifier() if cluster_weight else [])
        super().__init__("gan", x, weights, optimizer=FusedAdam(learning_rate, BETA_1, BETA_2), **stage)
        self.model, self._penalty_weight, self._cluster_weight = model, penalty_weight, cluster_weight
        self._changes = Changes(model, augmentation, self.fused)
        self.discriminator_weights = weights_of(model.discriminator)
        self.discriminator_optimizer = FusedAdam(learning_rate, BETA_1, BETA_2)
        self.discriminator_optimizer.build(self.discriminator_weights)
        self._means = {name: RunningMean(name) for name in ("discriminator_loss", "penalty", "cluster_loss")}

    def losses(self, batch: tf.Tensor, seed: tf.Tensor) -> Losses:
        """Both players' losses on raw examples [B, *input_shape] and as many generated ones; seed: a stateless seed, integers [2]."""
        seeds = tf.random.split(seed, 3)
        x = self._changes.seen(batch, seeds[0])
        y, z = self.model.prior.sample(batch.shape[0] or tf.shape(batch)[0], seeds[1])
        generated = self._changes.generated(z, seeds[2])
        logits = self.model.logit(generated)
        zero = tf.zeros([], logits.dtype)
        penalty = squared_gradient(self.model.logit, x) if self._penalty_weight else zero
        cluster = cross_entropy(self.model.class_logits(generated), y) if self._cluster_weight else zero
        return Losses(
            discriminator=discriminator_loss(self.model.logit(x), logits) + 0.5 * self._penalty_weight * penalty,
            generator=generator_loss(logits) + self._cluster_weight * cluster,
            penalty=penalty,
            cluster=cluster,
        )

    def gradients(self, batch: tf.Tensor, seed: tf.Tensor) -> tuple[Losses, list[tf.Tensor], list[tf.Tensor]]:
        """`losses`, and the gradients of the discriminator's for its weights and of the generator's for `weights`."""
        with tf.GradientTape(persistent=True) as tape:
            losses = self.losses(batch, seed)

        def of(loss: tf.Tensor, weights: list[Any]) -> list[tf.Tensor]:
            found = tape.gradient(loss, [v.value for v in weights], unconnected_gradients="zero")
            return [tf.convert_to_tensor(gradient) for gradient in found]

        return losses, of(losses.discriminator, self.discriminator_weights), of(losses.generator, self.weights)

    def train_step(self, batch: tf.Tensor) -> None:
        """One step of both on raw examples [B, *input_shape]."""
        losses, of_discriminator, of_generator = self.gradients(batch, self.step_seed())

        def update() -> None:
            self.discriminator_optimizer.apply(of_discriminator, self.discriminator_weights)
            self.optimizer.apply(of_generator, self.weights)
            self.loss.update_state(losses.generator)
            for metric, value in zip(self._means.values(), (losses.discriminator, losses.penalty, losses.cluster), strict=True):
                metric.update_state(value)

        self.update_if_finite([losses.discriminator, losses.generator, *of_discriminator, *of_generator], update)

    def metrics(self) -> dict[str, Any]:
        """The losses."""
        return {**super().metrics(), **self._means}

    def progress(self) -> dict[str, float]:
        """The losses of both players."""
        return {**super().progress(), "discriminator_loss": float(self._means["discriminator_loss"].result())}

    def checkpointables(self) -> dict[str, Any]:
        """Both networks, their optimizers, and the running losses."""
        means = [variable.value for metric in self._means.values() for variable in metric.variables]
        own = {"model": self.model, "discriminator_optimizer": self.discriminator_optimizer, "means": means}
        return {**super().checkpointables(), **own}
