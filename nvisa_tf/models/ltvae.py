"""LTVAE-GMM (Li, Chen, Poon & Zhang, ICLR 2019, arXiv 1803.05206): a VAE whose prior is learned by stepwise EM beside the network.

The prior of LTVAE is a latent tree; LTVAE-GMM is the case of one latent node over all of z, which is a Gaussian mixture. The network goes
up the evidence lower bound with log p(z) at a sample of q(z|x). Its gradient in z, by automatic differentiation, equals that of
sum_y p(y|z) log p(y, z) with the responsibilities p(y|z) held. The prior has no gradient: each step moves its sufficient statistics.

Shapes: B examples, K clusters, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.metrics import clustering_scores
from nvisa_tf.clustering.mixtures import Gaussians, fit_gaussians, spread_part
from nvisa_tf.config.ltvae import LTVAEConfig, LTVAEGMMOptions
from nvisa_tf.config.run import RunConfig, TrainConfig
from nvisa_tf.layers.networks import LayerFactory
from nvisa_tf.layers.optimizer import FusedAdam
from nvisa_tf.layers.priors import inverse_softplus
from nvisa_tf.layers.stepwise_em import StepwiseEM
from nvisa_tf.layers.tree_prior import LOG_2_PI, TreePrior
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.pretraining import rescale
from nvisa_tf.models.stage import derived_seed
from nvisa_tf.models.vae import VAENetwork, VAEStage, weights_of_vae

MAX_EXAMPLES = 60_000  # that the first mixture is fitted to
CODE_SD = 0.1  # of q(z|x) at the start, where the codes have a standard deviation of 1


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
        bernoulli = options.likelihood == "bernoulli"
        autoencoder = self.autoencoder_stage(data, options, train, epochs=options.pretrain_epochs, learning_rate=1e-3, bernoulli=bernoulli)
        fixed = options.prior_covariance == "fixed"
        covariance, variance = ("fixed", options.component_variance) if fixed else ("diagonal", None)
        return [autoencoder, TreeStage("ltvae_gmm", self, data, options, train, covariance, variance)]


class TreeStage(VAEStage):
    """Trains the network by its evidence lower bound, and the prior by stepwise EM on the same samples of z.

    Args:
      name: of the stage, and of the method.
      model: what is trained.
      data: what to learn from, and what is scored.
      options, train: of the run.
      covariance: what of the prior's covariances is learned, as for `StepwiseEM`.
      variance: of all components at the start; None: what the codes have.
    """

    model: TreeVAE

    def __init__(
        self,
        name: str,
        model: TreeVAE,
        data: TrainingData,
        options: LTVAEConfig,
        train: TrainConfig,
        covariance: str,
        variance: float | None,
    ) -> None:
        optimizer = FusedAdam(train.learning_rate)
        super().__init__(name, model, data, options, train, weights_of_vae(model), epochs=train.epochs, optimizer=optimizer)
        self._data, self._has_autoencoder, self._variance = data, options.pretrain_epochs > 0, variance
        self.em = StepwiseEM(model.prior, options.em_rate, covariance)

    def begin(self) -> None:
        """Bring the codes to a standard deviation of 1, take weights, means and variances of a mixture, and give q(z|x) a small scale.

        The mixture is fitted with any covariances, as its clusters are better; the prior begins without correlations.

        A run with `init_from` and without an autoencoder goes on from the prior that it was given.

        Raises:
          ValueError: the codes are not finite, or all the same.
        """
        model, test = self.model, self._data.test
        if self._has_autoencoder:
            part = spread_part(self._data.train, MAX_EXAMPLES, derived_seed(self._run_seed, 2))
            codes = rescale(model.decoder, model.code_head, model.embed(part.x))
            self._data.tell(f"{self.name}: {len(part)} codes")
            fit = fit_gaussians(codes, model.config.n_clusters, "full", derived_seed(self._run_seed, 3))
            if self._variance is not None:
                fit = fit._replace(covariances=np.broadcast_to(self._variance * np.eye(codes.shape[1]), fit.covariances.shape))
            model.prior.set_parameters(one_facet(model.prior, fit))
            model.scale_head.kernel.assign(tf.zeros_like(model.scale_head.kernel))
            model.scale_head.bias.assign(np.full(model.config.latent_dim, inverse_softplus(CODE_SD)))
            self.report = {"method": self.name, "examples": len(part), "log_likelihood": fit.log_likelihood}
        self.em.reset()
        if test.y is not None:
            self.report.update(clustering_scores(test.y, model.predict_clusters(test.x))._asdict())

    def divergence(self, q_z: Any, z: tf.Tensor) -> tf.Tensor:
        """-log p(z) at the sample, less the entropy of q(z|x), [B]."""
        entropy = tf.reduce_sum(tf.math.log(q_z.stddev()) + 0.5 * (1 + LOG_2_PI), -1)
        return -entropy - self.model.prior.log_prob(z)

    def after_step(self, z: tf.Tensor) -> None:
        """A step of EM."""
        self.em.learn(z)

    def checkpointables(self) -> dict[str, Any]:
        """The prior's statistics too."""
        return {**super().checkpointables(), "em": self.em}


def one_facet(prior: TreePrior, fit: Gaussians) -> dict[str, np.ndarray]:
    """The weights of a prior whose first facet is a mixture with the fit's variances and no correlations; see `set_parameters`."""
    variances = np.diagonal(fit.covariances, axis1=1, axis2=2)
    found = {name: value.numpy() for name, value in prior.parameters().items()}
    found["log_tables"][0] = np.log(np.maximum(fit.weights, 1e-6))
    found["loc"][0] = fit.means
    found["root"][0] = [np.diag(np.sqrt(row)) for row in variances]
    found["whitening"][0] = [np.diag(1 / np.sqrt(row)) for row in variances]
    found["log_norm"][0] = -0.5 * (np.log(variances) + LOG_2_PI).sum(1)
    return found
