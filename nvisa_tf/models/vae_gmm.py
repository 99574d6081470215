"""VAE+GMM: a variational autoencoder, and then a Gaussian mixture fitted to its posterior means; a row of the table of Li et al.

The prior of training is a standard normal, as with Kingma & Welling (ICLR 2014, arXiv 1312.6114). The mixture is fitted afterwards by
expectation-maximization, and takes the prior's place: q(y|x) is its posterior of the component at the mean of q(z|x).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from nvisa_tf.config.run import RunConfig
from nvisa_tf.config.vae import VAEGMMOptions
from nvisa_tf.layers import distributions as dist
from nvisa_tf.layers.networks import LayerFactory
from nvisa_tf.layers.optimizer import FusedAdam
from nvisa_tf.layers.priors import GaussianMixturePrior
from nvisa_tf.models.ae_gmm import MixtureStage
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.stage import steps_per_epoch
from nvisa_tf.models.vae import VAENetwork, VAEStage, weights_of_vae


@keras.saving.register_keras_serializable(package="nvisa_tf")
class VAEGMM(VAENetwork):
    """A VAE with a Gaussian mixture among its posterior means. Calling the model gives q(y|x), [B, n_clusters], of raw examples.

    Args:
      config: `VAEGMMOptions` (or their dict form) with `input_shape` set.
      seed: of the initial weights.

    Raises:
      ValueError: `input_shape` is empty.
    """

    options_class = VAEGMMOptions
    config: VAEGMMOptions
    prior: GaussianMixturePrior

    def make_parts(self, factory: LayerFactory) -> None:
        """The scale's head, and the mixture."""
        super().make_parts(factory)
        self.prior = GaussianMixturePrior(self.config.n_clusters, self.config.latent_dim)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """q(y|x), [B, K]."""
        return tf.nn.softmax(self.prior.joint_log_prob(self.embedding(x)))

    def log_p_z(self, z: tf.Tensor) -> tf.Tensor:
        """Of the standard normal that the model was trained with; the mixture is one of posterior means alone, without their spread."""
        return dist.standard_normal(z).log_prob(z)

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """The VAE, then the mixture."""
        options, train = self.options_of(config), config.train
        steps = max(1, train.epochs * steps_per_epoch(len(data.train), train.batch_size))
        optimizer = FusedAdam(keras.optimizers.schedules.CosineDecay(train.learning_rate, steps))
        vae = StandardNormalStage("vae", self, data, options, train, weights_of_vae(self), epochs=train.epochs, optimizer=optimizer)
        return [vae, MixtureStage(self, data, "vae_gmm", options, train.seed, rescaled=False)]


class StandardNormalStage(VAEStage):
    """Trains with p(z) = N(0, I)."""

    def divergence(self, q_z: Any, z: tf.Tensor) -> tf.Tensor:
        """KL(q(z|x) || p(z)), in closed form."""
        return dist.divergence_from_standard_normal(q_z)
