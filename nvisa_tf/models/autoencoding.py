"""What the methods share whose encoder gives a point of the latent space and whose decoder gives examples back.

Shapes: B examples, D latent dimensions, d values of an example.
"""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf

from nvisa_tf.config.networks import NetworkConfig
from nvisa_tf.config.options import as_text
from nvisa_tf.config.run import TrainConfig
from nvisa_tf.data import Dataset
from nvisa_tf.layers.networks import Decoder, LayerFactory
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.density import check_unit_interval
from nvisa_tf.models.keras_model import ClusteringNetwork
from nvisa_tf.models.pretraining import AutoencoderStage, augmentation_of, held_out_part
from nvisa_tf.models.stage import derived_seed

NETWORKS = ("input_shape", "latent_dim", "encoder_units", "decoder_units", "encoder_filters", "decoder_filters", "unit_length")


class AutoencodingNetwork(ClusteringNetwork):
    """A trunk, a linear layer that gives codes, and a decoder of them.

    A subclass names its options' class, makes what it has beside these in `make_parts`, and gives `call` and `stages`.

    Args:
      config: an instance of `options_class` (or its dict form) with `input_shape` set.
      seed: of the initial weights.

    Raises:
      ValueError: `input_shape` is empty.
    """

    options_class: ClassVar[type[NetworkConfig]]
    is_autoencoder: ClassVar[bool] = True  # whether the decoder gives back what the encoder took
    prior: Any  # a `Prior` with weights, or what stands in for it

    def __init__(self, config: NetworkConfig | dict[str, Any], seed: int = 0, **kwargs: Any) -> None:
        config = config if isinstance(config, NetworkConfig) else self.options_class(**config)
        super().__init__(config, **kwargs)
        self.config = config
        self.seed = seed
        factory = LayerFactory(seed, 0.0)
        self.encoder = factory.trunk(config.input_shape, config.encoder_filters, config.encoder_units, "encoder")
        self.code_head = factory.dense(config.latent_dim, "code")
        scale = self.scale_of_decoder(config)
        self.decoder = Decoder(factory, config.latent_dim, config.decoder_units, config.input_shape, scale, config.decoder_filters)
        self.make_parts(factory)
        self.build()

    def scale_of_decoder(self, config: Any) -> str:
        """Which scale the decoder gives, as for `Decoder`."""
        return "none"

    def make_parts(self, factory: LayerFactory) -> None:
        """Make the prior, or what stands in for it, and other layers."""
        raise NotImplementedError

    def build_parts(self) -> None:
        """Make the weights of what `make_parts` made."""
        self.prior.build()

    def build(self, input_shape: Any = None) -> None:
        """Make all weights; the configuration already fixes every shape."""
        if hasattr(self, "input_scale"):
            return
        self.code_head.build(self.encoder.output_shape)
        self.decoder.build((None, self.config.latent_dim))
        self.build_parts()
        self.add_input_scaling()
        self.built = True

    def embedding(self, x: tf.Tensor) -> tf.Tensor:
        """The code of each raw example, [B, D]."""
        return self.code_head(self.encoder(self.preprocess(x)))

    def autoencoder_stage(self, data: TrainingData, options: Any, train: TrainConfig, *, epochs: int, **stage: Any) -> AutoencoderStage:
        """The stage that trains trunk, code and decoder to give examples back.

        Args:
          data, options, train: of the run; the options are an `AugmentationConfig`.
          epochs: none are trained where the options name a run whose autoencoder was taken.
          **stage: learning_rate and what else `AutoencoderStage` takes.
        """
        return AutoencoderStage(
            self,
            data.train,
            head=self.code_head,
            seed=derived_seed(train.seed, 0),
            shuffle_seed=derived_seed(train.seed, 1),
            augmentation=augmentation_of(options),
            bernoulli=self.gives_logits,
            epochs=0 if getattr(options, "autoencoder_from", "") else epochs,
            batch_size=train.batch_size,
            held_out=held_out_part(data) if train.stop_early else None,
            xla=train.xla,
            **stage,
        )

    def pretraining_stage(self, data: TrainingData, options: Any, train: TrainConfig) -> AutoencoderStage:
        """The same as a stage before the method's own; the options are a `PretrainingConfig` too."""
        return self.autoencoder_stage(data, options, train, epochs=options.pretrain_epochs, learning_rate=1e-3)

    def networks(self) -> list[Any]:
        """Encoder, code head and decoder."""
        return [self.encoder, self.code_head, self.decoder]

    def check_data(self, train: Dataset, options: Any) -> None:
        """Raise ValueError where the data cannot be used, or a Bernoulli likelihood meets values that are not in [0, 1]."""
        super().check_data(train, options)
        if self.gives_logits:
            check_unit_interval(self, train)

    def decoded_mean(self, z: tf.Tensor) -> tf.Tensor:
        """The mean of p(x|z) on the model's scale, [n, d]; z: [n, D]."""
        mean = self.decoder(z)[0]
        return tf.sigmoid(mean) if self.gives_logits else mean

    @property
    def gives_logits(self) -> bool:
        """Whether the decoder gives logits of values in [0, 1], and no values."""
        return getattr(self.config, "likelihood", "gaussian") == "bernoulli"

    def take_autoencoder(self, other: Any, source: str) -> None:
        """Take encoder, code head, decoder and input scaling of another method's model, and no clusters.

        Args:
          other: a model with an autoencoder.
          source: where `other` is from, the begin of a sentence, such as "autoencoder_from: runs/a".

        Raises:
          ValueError: it has no such autoencoder, or one of other networks; nothing is changed.
        """
        if not (isinstance(other, AutoencodingNetwork) and other.is_autoencoder):
            raise ValueError(f"{source} is a run of {type(other).__name__}, which has no autoencoder that could be taken.")
        for name in NETWORKS:
            here, there = getattr(self.config, name), getattr(other.config, name)
            if here != there:
                raise ValueError(f"{source} has {name} {as_text(there)} and this run {as_text(here)}; they must be the same.")
        if self.gives_logits != other.gives_logits:
            what = {True: "a Bernoulli likelihood", False: "squared error"}
            likelihood = "bernoulli" if self.gives_logits else "gaussian"
            raise ValueError(
                f"{source} has {what[other.gives_logits]} and this run {what[self.gives_logits]}; they must be the same, "
                f"so train that run with --likelihood {likelihood}."
            )
        for mine, its in ((self.encoder, other.encoder), (self.code_head, other.code_head)):
            mine.set_weights(its.get_weights())
        for name in ("trunk", "loc"):
            getattr(self.decoder, name).set_weights(getattr(other.decoder, name).get_weights())
        self.input_scale.assign(other.input_scale)
        self.input_shift.assign(other.input_shift)

    def take_prior(self, other: Any) -> None:
        """The prior's weights, or those of what stands in for it."""
        self.prior.set_weights(other.prior.get_weights())

    def shapes_of_weights(self) -> dict[str, Any]:
        """The networks' part of the configuration."""
        return {name: getattr(self.config, name) for name in ("n_clusters", *NETWORKS)}
