"""How LTVAE and LTVAE-GMM are trained: the network by its evidence lower bound, the prior by stepwise EM and a search of its structure.

Shapes: n examples, B of a batch, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.latent_tree import LatentTree, Pouch, padded, unpadded
from nvisa_tf.clustering.mixtures import Gaussians, spread_part, spread_rows
from nvisa_tf.clustering.tree_search import LEAST_GAIN, Found, Limits, first_search, search
from nvisa_tf.config.ltvae import LTVAEConfig, LTVAEOptions
from nvisa_tf.config.run import TrainConfig
from nvisa_tf.layers.optimizer import FusedAdam
from nvisa_tf.layers.stepwise_em import StepwiseEM
from nvisa_tf.layers.tree_prior import LOG_2_PI
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.ltvae.axes import change_axes, independent_axes
from nvisa_tf.models.stage import derived_seed, steps_per_epoch
from nvisa_tf.models.vae import CODE_SD, MixtureFirstStage, VAEStage, weights_of_vae

if TYPE_CHECKING:
    from nvisa_tf.models.ltvae.model import LTVAE, TreeVAE

LEAST_WEIGHT = 1e-6  # of a cluster at the start
LEAST_SEARCHED, MOST_SEARCHED = 1_000, 5_000  # examples that a structure is searched among


class TreeStage(MixtureFirstStage):
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
        self._variance = variance
        self.em = StepwiseEM(model.prior, options.em_rate, covariance)

    def begin(self) -> None:
        """As of every stage that begins with a mixture, of any covariances, as its clusters are better; the prior begins without."""
        super().begin()
        self.em.reset()

    def first_prior(self, fit: Gaussians, codes: np.ndarray) -> None:
        """Set the prior by a mixture of the codes [n, D]."""
        if self._variance is not None:
            fit = fit._replace(covariances=np.broadcast_to(self._variance * np.eye(codes.shape[1]), fit.covariances.shape))
        self.set_tree(one_facet(fit))

    def set_tree(self, tree: LatentTree) -> None:
        """Set the prior."""
        prior = self.model.prior
        prior.set_parameters(padded(tree, prior.most_facets, prior.n_states))

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
        z = codes[spread_rows(len(codes), self._most_searched, derived_seed(self._run_seed, 8))]
        seed = derived_seed(self._run_seed, 9)
        z = z + CODE_SD * np.random.default_rng(seed).normal(size=z.shape)
        found = []
        for matrix, shift in ((np.eye(z.shape[1]), np.zeros(z.shape[1])), independent_axes(codes, derived_seed(self._run_seed, 10))):
            turned = fit._replace(means=(fit.means - shift) @ matrix.T, covariances=matrix @ fit.covariances @ matrix.T)
            best = first_search(one_facet(turned), (z - shift) @ matrix.T, self._limits, seed)
            # The density of z on its own axes is that on the others times the determinant.
            found.append((best.bic + len(z) * float(np.linalg.slogdet(matrix)[1]), best.tree, matrix, shift))
        independent = int(found[1][0] > found[0][0] + LEAST_GAIN * len(z))
        _, tree, matrix, shift = found[independent]
        if independent:
            change_axes(self.model.decoder, self.model.code_head, matrix, shift)
        self.set_tree(tree)
        self.report |= {"axes": "independent" if independent else "autoencoder", "n_facets": tree.n_facets}

    def refresh(self) -> None:
        """Search from the present tree. Where no step improves it, the prior and its statistics stay as they are."""
        found = self.search()
        if found.steps:
            self.set_tree(found.tree)
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


def one_facet(fit: Gaussians) -> LatentTree:
    """A tree of one facet, each dimension a pouch, with a mixture's weights, means and variances."""
    pouches = [Pouch(0, (d,), fit.means[:, [d]], fit.variances[:, d, None, None]) for d in range(fit.means.shape[1])]
    return LatentTree((-1,), (np.maximum(fit.weights, LEAST_WEIGHT),), tuple(pouches))
