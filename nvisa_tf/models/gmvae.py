"""GMVAE (Dilokthanakul et al., 2016, arXiv 1611.02648): a VAE whose prior is a mixture that a network makes of normal noise.

p(x, z, w, y) = p(w) p(y) p(z|w, y) p(x|z), and q(z, w, y|x) = q(z|x) q(w|x) p(y|z, w), the last by Bayes' rule.

Shapes: B examples, M samples, K clusters, D latent dimensions, W dimensions of w.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.mixtures import Gaussians
from nvisa_tf.config.gmvae import GMVAEOptions
from nvisa_tf.config.run import RunConfig, TrainConfig
from nvisa_tf.layers import distributions as dist
from nvisa_tf.layers.conditional_prior import ConditionalMixture
from nvisa_tf.layers.networks import LayerFactory
from nvisa_tf.layers.optimizer import FusedAdam
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.keras_model import weights_of
from nvisa_tf.models.stage import steps_per_epoch
from nvisa_tf.models.vae import LEAST_POSTERIOR_SD, MixtureFirstStage, VAENetwork, weights_of_vae


@keras.saving.register_keras_serializable(package="nvisa_tf")
class GMVAE(VAENetwork):
    """A VAE with a mixture prior that depends on noise w. Calling the model gives q(y|x), [B, n_clusters], of raw examples.

    Args:
      config: `GMVAEOptions` (or their dict form) with `input_shape` set.
      seed: of the initial weights.

    Raises:
      ValueError: `input_shape` is empty.
    """

    options_class = GMVAEOptions
    config: GMVAEOptions
    prior: Any  # a `ConditionalMixture`, whose densities are given w

    @property
    def n_normals(self) -> int:
        """Those of z and of w, in this order."""
        return self.config.latent_dim + self.config.noise_dim

    def make_parts(self, factory: LayerFactory) -> None:
        """The heads of q(z|x)'s scale and of q(w|x), and the prior."""
        super().make_parts(factory)
        config = self.config
        self.w_head, self.w_scale_head = factory.dense(config.noise_dim, "w"), factory.dense(config.noise_dim, "w_scale")
        self.prior = ConditionalMixture(factory, config.n_clusters, config.latent_dim, config.noise_dim, config.prior_units)

    def build_parts(self) -> None:
        """Their weights."""
        for head in (self.w_head, self.w_scale_head):
            head.build(self.encoder.output_shape)
        super().build_parts()

    def q_w(self, h: tf.Tensor) -> Any:
        """q(w|x) from the trunk's features h, [B, H]."""
        return dist.posterior_z(self.w_head(h), self.w_scale_head(h), tf.constant(LEAST_POSTERIOR_SD))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """p(y|z, w) at the means of q(z|x) and q(w|x), [B, K]."""
        h = self.encoder(self.preprocess(x))
        return tf.exp(self.prior.log_posterior(self.code_head(h), self.w_head(h)))

    def samples(self, h: tf.Tensor, normal: tf.Tensor) -> tuple[Any, Any, tf.Tensor, tf.Tensor]:
        """q(z|x), q(w|x) and their samples z and w, [..., B, D] and [..., B, W].

        Args:
          h: the trunk's features, [B, H].
          normal: standard normal, [..., B, D + W].
        """
        q_z, q_w = self.q_z(h), self.q_w(h)
        of_z, of_w = tf.split(normal, [self.config.latent_dim, self.config.noise_dim], -1)
        return q_z, q_w, dist.location_scale_sample(q_z, of_z), dist.location_scale_sample(q_w, of_w)

    def raw_log_weights(self, x: tf.Tensor, gumbel: tf.Tensor, normal: tf.Tensor) -> tf.Tensor:
        """log p(x, z_m, w_m) - log q(z_m|x) - log q(w_m|x), nats, [M, B]; y is summed over.

        Args:
          x: raw examples [B, *input_shape].
          gumbel: not looked at.
          normal: standard normal, [M, B, D + W].
        """
        scaled = self.preprocess(x)
        q_z, q_w, z, w = self.samples(self.encoder(scaled), normal)
        log_p = self.p_x(z).log_prob(scaled) + self.prior.log_prob(z, w) + dist.standard_normal(w).log_prob(w)
        return log_p - q_z.log_prob(z) - q_w.log_prob(w)

    def networks(self) -> list[Any]:
        """Encoder, all heads and decoder."""
        return [*super().networks(), self.w_head, self.w_scale_head]

    def shapes_of_weights(self) -> dict[str, Any]:
        """The networks' part of the configuration, with the prior's."""
        own = {name: getattr(self.config, name) for name in ("noise_dim", "prior_units")}
        return {**super().shapes_of_weights(), **own}

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """The autoencoder, if there is to be one, then the model."""
        options, train = self.options_of(config), config.train
        stage = GMVAEStage(self, data, options, train)
        return [self.pretraining_stage(data, options, train), stage] if options.has_autoencoder else [stage]


class GMVAEStage(MixtureFirstStage):
    """Trains the model by its evidence lower bound, with one sample of z and w for each example.

    Args:
      model: what is trained.
      data: what to learn from, and what is scored.
      options, train: of the run.
    """

    first_covariance = "diag"
    model: GMVAE
    _options: GMVAEOptions

    def __init__(self, model: GMVAE, data: TrainingData, options: GMVAEOptions, train: TrainConfig) -> None:
        per_epoch = steps_per_epoch(len(data.train), train.batch_size)
        optimizer = FusedAdam(keras.optimizers.schedules.CosineDecay(train.learning_rate, max(1, train.epochs * per_epoch)))
        weights = [*weights_of_vae(model), *weights_of(model.w_head, model.w_scale_head, model.prior)]
        super().__init__("gmvae", model, data, options, train, weights, epochs=train.epochs, optimizer=optimizer)
        self._warmup_steps = options.kl_warmup_epochs * per_epoch

    def begin(self) -> None:
        """As of every stage that begins with a mixture; random weights have no clusters that could be scored."""
        if self._options.has_autoencoder:
            super().begin()

    def first_prior(self, fit: Gaussians, codes: np.ndarray) -> None:
        """Make p(z|w, y) the mixture's components, whatever w is."""
        self.model.prior.set_mixture(fit.means, fit.variances)

    def bound_and_sample(self, x: tf.Tensor, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The evidence lower bound of each example, nats, [B] (the paper's section 3), its KL terms at their present weight, and z, [B, D].

        Args:
          x: examples on the model's scale, [B, d].
          noise: standard normal, [B, D + W].
        """
        model = self.model
        q_z, q_w, z, w = model.samples(model.encoder(x), noise)
        log_gamma = model.prior.log_posterior(z, w)
        of_z = dist.divergences(q_z, model.prior.p_z_given_w(w))
        cost = conditional_divergence(log_gamma, of_z, self._options.y_floor) + dist.divergence_from_standard_normal(q_w)
        return model.p_x(z).log_prob(x) - self.kl_weight() * cost, z

    def kl_weight(self) -> tf.Tensor:
        """The weight of the KL terms, from 0 to 1, a scalar."""
        if not self._warmup_steps:
            return tf.constant(1.0)
        return tf.minimum(1.0, tf.cast(tf.convert_to_tensor(self.step), tf.float32) / self._warmup_steps)


def conditional_divergence(log_gamma: tf.Tensor, divergences: tf.Tensor, y_floor: float) -> tf.Tensor:
    """sum_y gamma_y KL(q(z|x) || p(z|w, y)) + KL(gamma || uniform), nats, [B]: the bound's terms of z and of y.

    The latter costs at least `y_floor` on average over the batch, the minimum information constraint: where the average is lower, the
    difference is added to each, so that gamma gets no gradient from it. The paper has the expectation for the average.

    Args:
      log_gamma: log p(y|z, w), [B, K].
      divergences: KL(q(z|x) || p(z|w, y)), [B, K].
      y_floor: nats.
    """
    gamma = tf.exp(log_gamma)
    information = tf.reduce_sum(gamma * log_gamma, -1) + tf.math.log(tf.cast(tf.shape(log_gamma)[-1], log_gamma.dtype))
    if y_floor:
        information += tf.nn.relu(y_floor - tf.reduce_mean(information))
    return tf.reduce_sum(gamma * divergences, -1) + information
