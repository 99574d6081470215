"""AE+GMM: an autoencoder, and then a Gaussian mixture fitted to its codes; the first row of the table of Li et al. (IJCNN 2020).

The autoencoder is trained by squared error; the mixture by expectation-maximization (scikit-learn), the best of ten initializations by
likelihood. q(y|x) is the mixture's posterior of the component at the code of x.

Shapes: B examples, K clusters, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.metrics import clustering_scores
from nvisa_tf.clustering.mixtures import fit_gaussians, spread_part
from nvisa_tf.config.ae_gmm import AEGMMOptions
from nvisa_tf.config.run import RunConfig
from nvisa_tf.layers.networks import LayerFactory
from nvisa_tf.layers.priors import GaussianMixturePrior
from nvisa_tf.models.autoencoding import AutoencodingNetwork
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.pretraining import rescale
from nvisa_tf.models.stage import Stage, derived_seed

MAX_EXAMPLES = 60_000  # that the mixture is fitted to


@keras.saving.register_keras_serializable(package="nvisa_tf")
class AEGMM(AutoencodingNetwork):
    """An autoencoder with a Gaussian mixture among its codes. Calling the model gives q(y|x), [B, n_clusters], of raw examples.

    Args:
      config: `AEGMMOptions` (or their dict form) with `input_shape` set.
      seed: of the initial weights.

    Raises:
      ValueError: `input_shape` is empty.
    """

    options_class = AEGMMOptions
    config: AEGMMOptions
    prior: GaussianMixturePrior

    def make_parts(self, factory: LayerFactory) -> None:
        """The mixture."""
        self.prior = GaussianMixturePrior(self.config.n_clusters, self.config.latent_dim)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """q(y|x), [B, K]."""
        return tf.nn.softmax(self.prior.joint_log_prob(self.embedding(x)))

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """The autoencoder, then the mixture."""
        options, train = self.options_of(config), config.train
        autoencoder = self.autoencoder_stage(data, options, train, epochs=train.epochs, learning_rate=train.learning_rate)
        return [autoencoder, MixtureStage(self, data, "ae_gmm", options, train.seed)]


class MixtureStage(Stage):
    """Fits the mixture; there is no step to train.

    Args:
      model: whose codes are clustered, and whose `prior` is a `GaussianMixturePrior`.
      data: what the mixture is fitted to, and what is scored.
      method: the method's name, for the report.
      options: of the method; `covariance` is taken.
      seed: of the run.
      rescaled: whether the codes are first brought to a standard deviation of 1, and the weights with them.
    """

    def __init__(self, model: AutoencodingNetwork, data: TrainingData, method: str, options: Any, seed: int, rescaled: bool = True) -> None:
        super().__init__("mixture", data.train.x, batch_size=len(data.train), epochs=0, shuffle_seed=seed)
        self._model, self._data, self._method, self._options, self._run_seed = model, data, method, options, seed
        self._rescaled = rescaled

    def begin(self) -> None:
        """Fit the mixture to the codes.

        Raises:
          ValueError: the codes are not finite, or all the same.
        """
        model, train, test = self._model, self._data.train, self._data.test
        part = spread_part(train, MAX_EXAMPLES, derived_seed(self._run_seed, 2))
        codes = model.embed(part.x)
        if self._rescaled:
            codes = rescale(model.decoder, model.code_head, codes)
        self._data.tell(f"mixture: {len(part)} codes")
        fit = fit_gaussians(codes, model.config.n_clusters, self._options.covariance, derived_seed(self._run_seed, 3))
        model.prior.set_mixture(fit.weights, fit.means, fit.covariances)
        error = model.scaled(model.reconstruct(test.x)) - model.scaled(np.asarray(test.x, np.float32))
        self.report = {
            "method": self._method,
            "examples": len(part),
            "log_likelihood": fit.log_likelihood,
            "held_out_squared_error": float(np.mean(np.square(error))),  # of a value on the model's scale
        }
        if test.y is not None:
            self.report.update(clustering_scores(test.y, model.predict_clusters(test.x))._asdict())

    def checkpointables(self) -> dict[str, Any]:
        """The model, beside the step."""
        return {**super().checkpointables(), "model": self._model}
