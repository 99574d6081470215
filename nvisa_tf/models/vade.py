"""VaDE (Jiang et al., IJCAI 2017, arXiv 1611.05148): a VAE whose prior is a Gaussian mixture that is learned with it.

q(y|x) is p(y|z) of the mixture at a sample of q(z|x) (equation 16). An autoencoder and a mixture of its codes come first, as from random
weights the clusters collapse.

Shapes: B examples, K clusters, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.mixtures import Gaussians
from nvisa_tf.config.run import RunConfig, TrainConfig
from nvisa_tf.config.vae import VaDEOptions
from nvisa_tf.layers import distributions as dist
from nvisa_tf.layers.networks import LayerFactory
from nvisa_tf.layers.optimizer import FusedAdam
from nvisa_tf.layers.priors import MixturePrior
from nvisa_tf.layers.schedules import FlooredDecay
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.keras_model import weights_of
from nvisa_tf.models.stage import steps_per_epoch
from nvisa_tf.models.vae import MixtureFirstStage, VAENetwork, weights_of_vae

ADAM_EPSILON = 1e-4  # as the authors set it, and the next two
DECAY, LEAST_RATE = 0.9, 0.1  # of the learning rate


@keras.saving.register_keras_serializable(package="nvisa_tf")
class VaDE(VAENetwork):
    """A VAE with a learned mixture prior. Calling the model gives q(y|x), [B, n_clusters], of raw examples.

    Args:
      config: `VaDEOptions` (or their dict form) with `input_shape` set.
      seed: of the initial weights.

    Raises:
      ValueError: `input_shape` is empty.
    """

    options_class = VaDEOptions
    config: VaDEOptions
    prior: MixturePrior

    def make_parts(self, factory: LayerFactory) -> None:
        """The scale's head, and the mixture, whose weights are learned too."""
        super().make_parts(factory)
        self.prior = MixturePrior(factory, self.config.n_clusters, self.config.latent_dim, True)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """p(y|z) at the mean of q(z|x), [B, K]."""
        return tf.nn.softmax(self.prior.joint_log_prob(self.embedding(x)))

    def log_p_z(self, z: tf.Tensor) -> tf.Tensor:
        """Of the mixture."""
        return self.prior.log_prob(z)

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """The autoencoder, then the model."""
        options, train = self.options_of(config), config.train
        autoencoder = self.pretraining_stage(data, options, train)
        return [autoencoder, VaDEStage(self, data, options, train)]


class VaDEStage(MixtureFirstStage):
    """Trains the model by its evidence lower bound; the mixture is first fitted to the autoencoder's codes.

    Args:
      model: what is trained.
      data: what to learn from, and what is scored.
      options, train: of the run.
    """

    def __init__(self, model: VaDE, data: TrainingData, options: VaDEOptions, train: TrainConfig) -> None:
        per_decay = max(1, round(options.lr_decay_epochs * steps_per_epoch(len(data.train), train.batch_size)))
        rate = FlooredDecay(train.learning_rate, per_decay, DECAY, LEAST_RATE * train.learning_rate)
        weights = [*weights_of_vae(model), *weights_of(model.prior)]
        optimizer = FusedAdam(rate, epsilon=ADAM_EPSILON)
        super().__init__("vade", model, data, options, train, weights, epochs=train.epochs, optimizer=optimizer)

    def first_prior(self, fit: Gaussians, codes: np.ndarray) -> None:
        """Make the prior the mixture."""
        self.model.prior.set_mixture(fit.weights, fit.means, fit.variances)

    def divergence(self, q_z: Any, z: tf.Tensor) -> tf.Tensor:
        """KL(q(y, z|x) || p(y, z)), [B]."""
        prior = self.model.prior
        log_gamma = tf.nn.log_softmax(prior.joint_log_prob(z))
        log_pi = tf.nn.log_softmax(tf.convert_to_tensor(prior.logits))
        return mixture_divergence(log_gamma, log_pi, dist.divergences(q_z, prior.p_z_given_y()))


def mixture_divergence(log_gamma: tf.Tensor, log_pi: tf.Tensor, divergences: tf.Tensor) -> tf.Tensor:
    """KL(q(y|x) q(z|x) || p(y) p(z|y)) = sum_y gamma_y (log gamma_y - log pi_y + KL(q(z|x) || p(z|y))), nats, [B].

    It is all of VaDE's equation 12 but log p(x|z).

    Args:
      log_gamma: log q(y|x), [B, K].
      log_pi: log p(y), [K].
      divergences: KL(q(z|x) || p(z|y)), [B, K].
    """
    return tf.reduce_sum(tf.exp(log_gamma) * (log_gamma - log_pi + divergences), -1)
