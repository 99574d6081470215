"""LTVAE and LTVAE-GMM (Li, Chen, Poon & Zhang, ICLR 2019, arXiv 1803.05206): VAEs whose prior is learned by stepwise EM beside the network.

The prior of LTVAE is a latent tree; LTVAE-GMM is the case of one latent node over all of z, which is a Gaussian mixture. The network goes
up the evidence lower bound with log p(z) at a sample of q(z|x). Its gradient in z, by automatic differentiation, equals that of
sum_y p(y|z) log p(y, z) with the responsibilities p(y|z) held. The prior has no gradient: each step moves its sufficient statistics.
The tree's structure is searched from time to time, among codes of a part of the examples.

Shapes: n examples, B of a batch, K clusters, D latent dimensions, F facets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.latent_tree import padded, unpadded
from nvisa_tf.clustering.metrics import clustering_scores
from nvisa_tf.clustering.mixtures import Gaussians, fit_gaussians, spread_part, spread_rows
from nvisa_tf.clustering.tree_search import LEAST_GAIN, Found, Limits, search
from nvisa_tf.config.ltvae import LTVAEConfig, LTVAEGMMOptions, LTVAEOptions
from nvisa_tf.config.run import RunConfig, TrainConfig
from nvisa_tf.layers.networks import LayerFactory
from nvisa_tf.layers.optimizer import FusedAdam
from nvisa_tf.layers.priors import inverse_softplus
from nvisa_tf.layers.stepwise_em import StepwiseEM
from nvisa_tf.layers.tree_prior import LOG_2_PI, TreePrior
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.code_axes import change_axes, independent_axes
from nvisa_tf.models.pretraining import rescale
from nvisa_tf.models.stage import derived_seed, steps_per_epoch
from nvisa_tf.models.vae import VAENetwork, VAEStage, weights_of_vae

MAX_EXAMPLES = 60_000  # that the first mixture is fitted to
LEAST_SEARCHED, MOST_SEARCHED = 1_000, 5_000  # examples that a structure is searched among
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
        bernoulli = options.likelihood == "bernoulli"
        autoencoder = self.autoencoder_stage(data, options, train, epochs=options.pretrain_epochs, learning_rate=1e-3, bernoulli=bernoulli)
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
            self.report = {"method": self.name, "examples": len(part), "log_likelihood": fit.log_likelihood}
            self.first_prior(fit, codes)
            model.scale_head.kernel.assign(tf.zeros_like(model.scale_head.kernel))
            model.scale_head.bias.assign(np.full(model.config.latent_dim, inverse_softplus(CODE_SD)))
        self.em.reset()
        if test.y is not None:
            self.report.update(clustering_scores(test.y, model.predict_clusters(test.x))._asdict())

    def first_prior(self, fit: Gaussians, codes: np.ndarray) -> None:
        """Set the prior by a mixture of the codes [n, D]."""
        if self._variance is not None:
            fit = fit._replace(covariances=np.broadcast_to(self._variance * np.eye(codes.shape[1]), fit.covariances.shape))
        self.model.prior.set_parameters(one_facet(self.model.prior, fit))

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


class StructureStage(TreeStage):
    """Searches the tree's structure at the start and every `structure_epochs` epochs.

    Args:
      model: what is trained.
      data: what to learn from, and what is scored.
      options, train: of the run.
    """

    model: LTVAE
    metric_groups: Mapping[str, Sequence[str]] = {**VAEStage.metric_groups, "structure": ("facets", "pouches")}

    def __init__(self, model: LTVAE, data: TrainingData, options: LTVAEOptions, train: TrainConfig) -> None:
        super().__init__("ltvae", model, data, options, train, "pouches", None)
        self._most_searched = int(min(max(options.structure_share * len(data.train), LEAST_SEARCHED), MOST_SEARCHED))
        self._limits = Limits(model.prior.most_facets, model.prior.n_states)
        self.refresh_steps = options.structure_epochs * steps_per_epoch(len(data.train), self.batch_size)

    def first_prior(self, fit: Gaussians, codes: np.ndarray) -> None:
        """Search for the first structure, on the autoencoder's axes and on independent ones, and keep those with the better BIC.

        An autoencoder's axes are any, while facets can only be told apart where they have axes of their own.
        """
        super().first_prior(fit, codes)
        if not self.refresh_steps:
            return
        model, prior = self.model, self.model.prior
        z = codes[spread_rows(len(codes), self._most_searched, derived_seed(self._run_seed, 8))]
        seed = derived_seed(self._run_seed, 9)
        z = z + CODE_SD * np.random.default_rng(seed).normal(size=z.shape)
        found = []
        for matrix, shift in ((np.eye(z.shape[1]), np.zeros(z.shape[1])), independent_axes(codes, derived_seed(self._run_seed, 10))):
            turned = fit._replace(means=(fit.means - shift) @ matrix.T, covariances=matrix @ fit.covariances @ matrix.T)
            for facets_first in (False, True):
                tree = search(unpadded(one_facet(prior, turned)), (z - shift) @ matrix.T, self._limits, seed, facets_first)
                # The density of z on its own axes is that on the others times the determinant.
                found.append((tree.bic + len(z) * float(np.linalg.slogdet(matrix)[1]), tree.tree, matrix, shift))
        least = max(bic for bic, *_ in found) - LEAST_GAIN * len(z)
        place = next(i for i, (bic, *_) in enumerate(found) if bic >= least)  # the first of those that are about the best
        _, best, matrix, shift = found[place]
        if independent := place > 1:
            change_axes(model.decoder, model.code_head, matrix, shift)
        prior.set_parameters(padded(best, prior.most_facets, prior.n_states))
        self.report |= {"axes": "independent" if independent else "autoencoder", "n_facets": best.n_facets}

    def refresh(self) -> None:
        """Search from the present tree. Where no step improves it, the prior and its statistics stay as they are."""
        found = self.search()
        if found.steps:
            prior = self.model.prior
            prior.set_parameters(padded(found.tree, prior.most_facets, prior.n_states))
            self.em.reset()

    def search(self) -> Found:
        """What the search finds among samples of q(z|x), one for each example of a part of the data that the seed draws once."""
        step = int(self.step.numpy())
        part = spread_part(self._data.train, self._most_searched, derived_seed(self._run_seed, 8))
        mean, sd = np.split(self.model.graph_functions(self.model.posterior, part.x).astype(np.float64), 2, axis=1)
        seed = derived_seed(self._run_seed, 9)
        z = mean + sd * np.random.default_rng([seed, step]).normal(size=mean.shape)
        if not np.isfinite(z).all():
            raise ValueError(
                "The codes are not finite, so no tree can be found among them; set a lower learning rate, or rescale the data."
            )
        tree = unpadded({name: value.numpy() for name, value in self.model.prior.parameters().items()})
        return search(tree, z, self._limits, seed + step)

    def values(self) -> dict[str, float | int]:
        """How many facets and pouches the tree has, too."""
        prior = self.model.prior
        pouches = len(np.unique(np.asarray(prior.together), axis=0))
        return {**super().values(), "facets": prior.n_facets(), "pouches": pouches}


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
