"""GM-GAN (Ben-Yosef & Weinshall, 2018, arXiv 1808.10356): a GAN whose latent prior is a Gaussian mixture.

Once it is trained, a classifier learns from generated examples which component each is from; what it says of a real example is its
cluster. Nothing in the paper's loss makes components agree with classes. Our option `cluster_weight` makes the generator's examples such
that the classifier can tell their components, as in InfoGAN (Chen et al., NeurIPS 2016, arXiv 1606.03657).

Shapes: B examples, K clusters, D latent dimensions, d values of an example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.config.gm_gan import GMGANOptions
from nvisa_tf.config.run import RunConfig, TrainConfig
from nvisa_tf.data import Dataset
from nvisa_tf.layers.affine_mixture import AffineMixturePrior
from nvisa_tf.layers.metrics import RunningMean
from nvisa_tf.layers.networks import LayerFactory
from nvisa_tf.models.adversarial import Changes, GANStage, cross_entropy
from nvisa_tf.models.autoencoding import AutoencodingNetwork
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.density import check_unit_interval
from nvisa_tf.models.keras_model import weights_of
from nvisa_tf.models.pretraining import augmentation_of
from nvisa_tf.models.stage import AdamStage, derived_seed

CLASSIFIER_RATE = 1e-3  # of Adam, at the start


@keras.saving.register_keras_serializable(package="nvisa_tf")
class GMGAN(AutoencodingNetwork):
    """A generator, a discriminator and a classifier. Calling the model gives q(y|x), [B, n_clusters], of raw examples.

    Of the base class's parts, encoder and code head are the classifier's layers but the last, and the decoder is the generator. They are
    not an autoencoder's: an example's embedding is the classifier's last hidden layer, which is linear and has `latent_dim` units, and no
    point that the generator could take.

    Args:
      config: `GMGANOptions` (or their dict form) with `input_shape` set.
      seed: of the initial weights.

    Raises:
      ValueError: `input_shape` is empty.
    """

    capabilities = frozenset({"embed", "generate"})
    options_class = GMGANOptions
    is_autoencoder = False
    config: GMGANOptions
    prior: AffineMixturePrior

    def make_parts(self, factory: LayerFactory) -> None:
        """The mixture, the classifier's last layer, and the discriminator."""
        config = self.config
        learn = config.prior == "dynamic"
        self.prior = AffineMixturePrior(factory, config.n_clusters, config.latent_dim, config.prior_range, config.prior_sd, learn)
        self.cluster_head = factory.dense(config.n_clusters, "cluster")
        self.discriminator = factory.scalar_trunk(config.input_shape, config.encoder_filters, config.encoder_units, "discriminator")

    def build_parts(self) -> None:
        """Make their weights."""
        super().build_parts()
        self.cluster_head.build((None, self.config.latent_dim))

    def class_logits(self, x: tf.Tensor) -> tf.Tensor:
        """The logits of q(y|x), [B, K]; x: on the model's scale, [B, d]."""
        return self.cluster_head(self.code_head(self.encoder(x)))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """q(y|x), [B, K]."""
        return tf.nn.softmax(self.class_logits(self.preprocess(x)))

    def logit(self, x: tf.Tensor) -> tf.Tensor:
        """The discriminator's logit, [B]; x: on the model's scale, [B, d]."""
        return tf.squeeze(self.discriminator(x), -1)

    def decoded_mean(self, z: tf.Tensor) -> tf.Tensor:
        """G(z) on the model's scale, [n, d]; z: [n, D]."""
        values = self.decoder(z)[0]
        return tf.sigmoid(values) if self.config.generator_output == "sigmoid" else values

    def weights_of_classifier(self) -> list[Any]:
        """Its trainable weights."""
        return weights_of(self.encoder, self.code_head, self.cluster_head)

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """The GAN, then the classifier."""
        options, train = self.options_of(config), config.train
        gan = GANStage(
            self,
            data.train.x,
            learning_rate=train.learning_rate,
            penalty_weight=options.gradient_penalty,
            cluster_weight=options.cluster_weight,
            augmentation=augmentation_of(options),
            batch_size=train.batch_size,
            epochs=train.epochs,
            seed=derived_seed(train.seed, 0),
            shuffle_seed=derived_seed(train.seed, 1),
            xla=train.xla,
        )
        return [gan, ClassifierStage(self, data, options, train)]

    def check_data(self, train: Dataset, options: GMGANOptions) -> None:
        """Raise ValueError where the data cannot be used, or the generator gives values in [0, 1] and these are others."""
        super().check_data(train, options)
        if options.generator_output == "sigmoid":
            check_unit_interval(self, train, "A generator whose output is sigmoid")

    def networks(self) -> list[Any]:
        """Generator, classifier and discriminator."""
        return [*super().networks(), self.cluster_head, self.discriminator]

    def shapes_of_weights(self) -> dict[str, Any]:
        """The networks' part of the configuration, and what the generator's values mean."""
        return {**super().shapes_of_weights(), "generator_output": self.config.generator_output}

    def reconstruct(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """Not with GM-GAN.

        Raises:
          ValueError: always.
        """
        raise ValueError("GMGAN has no network that finds the z of an example, so it cannot give examples back.")


class ClassifierStage(AdamStage):
    """Trains the classifier to tell of generated examples which component each is from, by -log q(y|G(z)); the generator is held.

    An epoch has as many generated examples as there are real ones, which are not looked at. With `epochs` 0 it has no step either, so that
    the run of `init_from` answers as it is.

    Args:
      model: whose classifier is trained.
      data: what is counted.
      options, train: of the run.
    """

    metric_groups: Mapping[str, Sequence[str]] = {**AdamStage.metric_groups, "classifier": ("generated_accuracy",)}

    def __init__(self, model: GMGAN, data: TrainingData, options: GMGANOptions, train: TrainConfig) -> None:
        super().__init__(
            "classifier",
            np.arange(len(data.train), dtype=np.int32),
            model.weights_of_classifier(),
            learning_rate=CLASSIFIER_RATE,
            batch_size=train.batch_size,
            epochs=options.classifier_epochs if train.epochs else 0,
            seed=derived_seed(train.seed, 2),
            shuffle_seed=derived_seed(train.seed, 3),
            xla=train.xla,
        )
        self.model = model
        self._changes = Changes(model, augmentation_of(options), self.fused)
        self._right = RunningMean(name="generated_accuracy")

    def train_step(self, batch: tf.Tensor) -> None:
        """One step of Adam on as many generated examples as there are numbers, integers [B]."""
        seeds = tf.random.split(self.step_seed(), 2)
        y, z = self.model.prior.sample(batch.shape[0] or tf.shape(batch)[0], seeds[0])
        x = self._changes.generated(z, seeds[1])
        with tf.GradientTape() as tape:
            logits = self.model.class_logits(x)
            loss = cross_entropy(logits, y)
        self.learn(tape, loss)
        self._right.update_state(tf.cast(tf.argmax(logits, -1, output_type=tf.int32) == y, tf.float32))

    def metrics(self) -> dict[str, Any]:
        """The loss, and the share of generated examples whose component it found."""
        return {**super().metrics(), "generated_accuracy": self._right}

    def progress(self) -> dict[str, float]:
        """The same."""
        return {**super().progress(), "generated_accuracy": float(self._right.result())}

    def checkpointables(self) -> dict[str, Any]:
        """The model beside what trains it."""
        right = [variable.value for variable in self._right.variables]
        return {**super().checkpointables(), "model": self.model, "generated_accuracy": right}
