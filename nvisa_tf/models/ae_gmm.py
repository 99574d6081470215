"""AE+GMM: an autoencoder, and then a Gaussian mixture fitted to its codes; the first row of the table of Li et al. (IJCNN 2020).

The autoencoder is trained by squared error; the mixture by expectation-maximization (scikit-learn), the best of ten initializations by
likelihood. q(y|x) is the mixture's posterior of the component at the code of x.

Shapes: B examples, K clusters, D latent dimensions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.metrics import clustering_scores
from nvisa_tf.clustering.mixtures import fit_gaussians, spread_part
from nvisa_tf.config.ae_gmm import AEGMMOptions
from nvisa_tf.config.run import RunConfig
from nvisa_tf.layers.networks import Decoder, LayerFactory
from nvisa_tf.layers.priors import GaussianMixturePrior
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.keras_model import ClusteringNetwork
from nvisa_tf.models.pretraining import AutoencoderStage, augmentation_of, held_out_part, rescale
from nvisa_tf.models.stage import Stage, derived_seed

MAX_EXAMPLES = 60_000  # that the mixture is fitted to


@keras.saving.register_keras_serializable(package="nvisa_tf")
class AEGMM(ClusteringNetwork):
    """An autoencoder with a Gaussian mixture among its codes. Calling the model gives q(y|x), [B, n_clusters], of raw examples.

    Args:
      config: `AEGMMOptions` (or their dict form) with `input_shape` set.
      seed: of the initial weights.

    Raises:
      ValueError: `input_shape` is empty.
    """

    config: AEGMMOptions
    prior: GaussianMixturePrior

    def __init__(self, config: AEGMMOptions | dict[str, Any], seed: int = 0, **kwargs: Any) -> None:
        config = config if isinstance(config, AEGMMOptions) else AEGMMOptions(**config)
        super().__init__(config, **kwargs)
        self.config = config
        self.seed = seed
        factory = LayerFactory(seed, 0.0)
        self.encoder = factory.trunk(config.input_shape, config.encoder_filters, config.encoder_units, "encoder")
        self.code_head = factory.dense(config.latent_dim, "code")
        self.decoder = Decoder(factory, config.latent_dim, config.decoder_units, config.input_shape, "none", config.decoder_filters)
        self.prior = GaussianMixturePrior(config.n_clusters, config.latent_dim)
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Make all weights; the configuration already fixes every shape."""
        if hasattr(self, "input_scale"):
            return
        self.code_head.build(self.encoder.output_shape)
        self.decoder.build((None, self.config.latent_dim))
        self.prior.build()
        self.add_input_scaling()
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """q(y|x), [B, K]."""
        return tf.nn.softmax(self.prior.joint_log_prob(self.embedding(x)))

    def embedding(self, x: tf.Tensor) -> tf.Tensor:
        """The code of each raw example, [B, D]."""
        return self.code_head(self.encoder(self.preprocess(x)))

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """The autoencoder, then the mixture."""
        options, train = config.model, config.train
        if not isinstance(options, AEGMMOptions):
            raise ValueError(f"AEGMM is trained by the options of the method ae_gmm, and the configuration is of {config.method}.")
        autoencoder = AutoencoderStage(
            self,
            data.train,
            head=self.code_head,
            seed=derived_seed(train.seed, 0),
            shuffle_seed=derived_seed(train.seed, 1),
            augmentation=augmentation_of(options),
            batch_size=train.batch_size,
            epochs=train.epochs,
            learning_rate=train.learning_rate,
            held_out=held_out_part(data) if train.stop_early else None,
            xla=train.xla,
        )
        return [autoencoder, MixtureStage(self, data, options, train.seed)]

    def answering_state(self, options: Any) -> tuple[dict[str, Any], Callable[[], None]]:
        """The model."""
        return {"model": self}, lambda: None

    def networks(self) -> list[Any]:
        """Encoder, code head and decoder."""
        return [self.encoder, self.code_head, self.decoder]

    def take_prior(self, other: AEGMM) -> None:
        """The mixture; with 0 epochs it is fitted anew all the same."""
        self.prior.set_weights(other.prior.get_weights())

    def shapes_of_weights(self) -> dict[str, Any]:
        """The networks' part of the configuration."""
        names = ("input_shape", "n_clusters", "latent_dim", "encoder_units", "decoder_units", "encoder_filters", "decoder_filters")
        return {name: getattr(self.config, name) for name in names}

    def report_metrics(self) -> dict[str, float | int]:
        """Nothing beside its scores."""
        return {}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "config": dataclasses.asdict(self.config), "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AEGMM:
        """The inverse of `get_config`."""
        return cls(**config)


class MixtureStage(Stage):
    """Fits the mixture; there is no step to train.

    Args:
      model: whose codes are clustered.
      data: what the mixture is fitted to, and what is scored.
      options: of AE+GMM.
      seed: of the run.
    """

    def __init__(self, model: AEGMM, data: TrainingData, options: AEGMMOptions, seed: int) -> None:
        super().__init__("mixture", data.train.x, batch_size=len(data.train), epochs=0, shuffle_seed=seed)
        self._model, self._data, self._options, self._run_seed = model, data, options, seed

    def begin(self) -> None:
        """Bring the codes to a standard deviation of 1, and fit the mixture to them.

        Raises:
          ValueError: the codes are not finite, or all the same.
        """
        model, train, test = self._model, self._data.train, self._data.test
        part = spread_part(train, MAX_EXAMPLES, derived_seed(self._run_seed, 2))
        codes = rescale(model.decoder, model.code_head, model.embed(part.x))
        self._data.tell(f"mixture: {len(part)} codes")
        fit = fit_gaussians(codes, model.config.n_clusters, self._options.covariance, derived_seed(self._run_seed, 3))
        model.prior.set_mixture(fit.weights, fit.means, fit.covariances)
        error = model.scaled(model.reconstruct(test.x)) - model.scaled(np.asarray(test.x, np.float32))
        self.report = {
            "method": "ae_gmm",
            "examples": len(part),
            "log_likelihood": fit.log_likelihood,
            "held_out_squared_error": float(np.mean(np.square(error))),  # of a value on the model's scale
        }
        if test.y is not None:
            self.report.update(clustering_scores(test.y, model.predict_clusters(test.x))._asdict())

    def checkpointables(self) -> dict[str, Any]:
        """The model, beside the step."""
        return {**super().checkpointables(), "model": self._model}
