"""LTVAE and LTVAE-GMM (Li, Chen, Poon & Zhang, ICLR 2019, arXiv 1803.05206): VAEs whose prior is learned by stepwise EM beside the network.

The prior of LTVAE is a latent tree; LTVAE-GMM is the case of one latent node over all of z, which is a Gaussian mixture. The network goes
up the evidence lower bound with log p(z) at a sample of q(z|x). Its gradient in z, by automatic differentiation, equals that of
sum_y p(y|z) log p(y, z) with the responsibilities p(y|z) held. The prior has no gradient: each step moves its sufficient statistics.
The tree's structure is searched from time to time, among codes of a part of the examples.

Shapes: n examples, B of a batch, K clusters, D latent dimensions, F facets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.config.ltvae import LTVAEConfig, LTVAEGMMOptions, LTVAEOptions
from nvisa_tf.config.run import RunConfig
from nvisa_tf.layers.networks import LayerFactory
from nvisa_tf.layers.tree_prior import TreePrior
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.ltvae.training import StructureStage, TreeStage
from nvisa_tf.models.vae import VAENetwork


class TreeVAE(VAENetwork):
    """What LTVAE-GMM and LTVAE share: a VAE with a `TreePrior`. Calling the model gives p(Y_0|z) at the mean of q(z|x), [B, K].

    Args:
      config: an `LTVAEConfig` (or its dict form) with `input_shape` set.
      seed: of the initial weights.

    Raises:
      ValueError: `input_shape` is empty.
    """

    config: LTVAEConfig
    prior: TreePrior

    @property
    def most_facets(self) -> int:
        """Facets that the prior has room for."""
        return 1

    def make_parts(self, factory: LayerFactory) -> None:
        """The scale's head, and the prior."""
        super().make_parts(factory)
        self.prior = TreePrior(self.most_facets, self.config.n_clusters, self.config.latent_dim)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """p(Y_0|z) at the mean of q(z|x), [B, K]."""
        return tf.nn.softmax(self.prior.joint_log_prob(self.embedding(x)))

    def log_p_z(self, z: tf.Tensor) -> tf.Tensor:
        """Of the tree."""
        return self.prior.log_prob(z)


@keras.saving.register_keras_serializable(package="nvisa_tf")
class LTVAEGMM(TreeVAE):
    """A VAE with a mixture prior that stepwise EM learns. Calling the model gives q(y|x), [B, n_clusters], of raw examples.

    Args:
      config: `LTVAEGMMOptions` (or their dict form) with `input_shape` set.
      seed: of the initial weights.

    Raises:
      ValueError: `input_shape` is empty.
    """

    options_class = LTVAEGMMOptions
    config: LTVAEGMMOptions

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """The autoencoder, then the model."""
        options, train = self.options_of(config), config.train
        autoencoder = self.pretraining_stage(data, options, train)
        fixed = options.prior_covariance == "fixed"
        covariance, variance = ("fixed", options.component_variance) if fixed else ("diagonal", None)
        return [autoencoder, TreeStage("ltvae_gmm", self, data, options, train, covariance, variance)]


@keras.saving.register_keras_serializable(package="nvisa_tf")
class LTVAE(TreeVAE):
    """A VAE whose prior is a latent tree. Calling the model gives the posterior of facet 0, [B, n_clusters], of raw examples.

    Facet 0 is the root of the tree, which has n_clusters states from the start; others have as many at most.

    Args:
      config: `LTVAEOptions` (or their dict form) with `input_shape` set.
      seed: of the initial weights.

    Raises:
      ValueError: `input_shape` is empty.
    """

    options_class = LTVAEOptions
    config: LTVAEOptions

    @property
    def most_facets(self) -> int:
        """Facets that the prior has room for."""
        return self.config.most_facets

    @property
    def n_facets(self) -> int:
        """Facets that the tree has now."""
        return self.prior.n_facets()

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """The autoencoder, then the model."""
        options, train = self.options_of(config), config.train
        autoencoder = self.pretraining_stage(data, options, train)
        return [autoencoder, StructureStage(self, data, options, train)]

    def facet_probabilities(self, x: tf.Tensor) -> tf.Tensor:
        """p(Y_f|z) of each facet at the mean of q(z|x) of raw examples, [B, F, K]; 0 for states that a facet has not."""
        return self.prior.posteriors(self.embedding(x))[0]

    def predict_proba(self, x: Any, facet: int = 0, batch_size: int = 1000) -> np.ndarray:
        """The probability of each state of a facet, float32 [n, K]; 0 for states that it has not; errors as of other models."""
        if not 0 <= facet < self.n_facets:
            raise ValueError(f"facet is {facet}, and this model's partitions of the data are 0 to {self.n_facets - 1}.")
        return (
            super().predict_proba(x, 0, batch_size)
            if facet == 0
            else self.graph_functions(self.facet_probabilities, x, batch_size)[:, facet]
        )

    def posterior(self, x: tf.Tensor) -> tf.Tensor:
        """Mean and standard deviation of q(z|x) of raw examples, [B, 2 D]."""
        q_z = self.q_z(self.encoder(self.preprocess(x)))
        return tf.concat([q_z.mean(), q_z.stddev()], 1)

    def shapes_of_weights(self) -> dict[str, Any]:
        """How many facets there is room for, too."""
        return {**super().shapes_of_weights(), "most_facets": self.config.most_facets}

    def report_metrics(self) -> dict[str, float | int]:
        """How many facets there are."""
        return {"n_facets": self.n_facets}
