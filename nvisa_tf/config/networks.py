"""Groups of options that several methods have: each is declared here once, and a method's options dataclass takes it as a base."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from nvisa_tf.config.options import check_fields, option


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What every clustering model has: examples of a shape, clusters, and a code of `latent_dim` dimensions.

    `input_shape` is one example's shape, without the batch axis; it comes from the data.

    Raises:
      ValueError: a value out of range, or `unit_length` for images.
    """

    input_shape: tuple[int, ...] = option((), "shape of one example, taken from the data", minimum=1)
    n_clusters: int = option(10, "number of clusters K; for train also auto, or a range such as 2-30, where it is to be found", minimum=1)
    latent_dim: int = option(10, "dimensions of z", minimum=1)
    unit_length: bool = option(False, "divide each vector by its length first, which suits features of another network; vectors only")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if isinstance(field.default, tuple):  # JSON and TOML bring lists
                object.__setattr__(self, field.name, tuple(int(n) for n in getattr(self, field.name)))
        check_fields(self)
        if self.unit_length and len(self.input_shape) > 1:
            raise ValueError("unit_length is for vectors, and these examples are images; leave it out.")

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's `DataConfig` or `TrainConfig`; a method says more."""

    @property
    def architecture(self) -> ModelConfig:
        """What the networks' weights depend on: all of it, unless a method says less."""
        return self

    @property
    def has_convolutions(self) -> bool:
        """Whether there are convolutions."""
        return False

    @property
    def input_dim(self) -> int:
        """Number of values in one example."""
        return math.prod(self.input_shape)


@dataclasses.dataclass(frozen=True)
class NetworkConfig(ModelConfig):
    """The networks of a clustering model: an encoder to a code, and a decoder.

    Raises:
      ValueError: as `ModelConfig`, or filters that do not go with the shape.
    """

    encoder_units: tuple[int, ...] = option((500, 500), "widths of the encoder trunk h(x)", minimum=1)
    decoder_units: tuple[int, ...] = option((500, 500), "widths of the decoder", minimum=1)
    encoder_filters: tuple[int, ...] = option(
        (), "filters of 3x3 convolutions before encoder_units, each of which halves an image; images only", minimum=1
    )
    decoder_filters: tuple[int, ...] = option(
        (), "input channels of as many transposed convolutions after decoder_units, each of which doubles an image; images only", minimum=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("encoder_filters", "decoder_filters"):
            self._check_filters(name, len(getattr(self, name)))

    def _check_filters(self, name: str, times: int) -> None:
        if not times or not self.input_shape:  # which comes from the data
            return
        shape = "x".join(map(str, self.input_shape))
        if len(self.input_shape) not in (2, 3):
            raise ValueError(f"{name} is for images, and these examples have the shape {shape}; leave it out.")
        most = math.ceil(math.log2(max(self.input_shape[:2])))
        if times > most:
            raise ValueError(f"{name} has {times} filters, and images of {shape} can be halved {most} times; give at most so many.")

    @property
    def has_convolutions(self) -> bool:
        """Whether encoder or decoder have convolutions."""
        return bool(self.encoder_filters or self.decoder_filters)


@dataclasses.dataclass(frozen=True)
class GenerativeConfig(NetworkConfig):
    """Networks of which the decoder gives a distribution of examples."""

    likelihood: str = option("gaussian", "p(x|z)", ("gaussian", "bernoulli"))


@dataclasses.dataclass(frozen=True)
class BoundConfig:
    """How the bound of what is held out is estimated."""

    eval_samples: int = option(50, "samples per example for the held-out bound", minimum=1)


@dataclasses.dataclass(frozen=True)
class MixtureConfig:
    """A Gaussian mixture that is fitted to codes."""

    covariance: str = option("full", "of the mixture's components: any, or diagonal", ("full", "diag"))


@dataclasses.dataclass(frozen=True)
class PretrainingConfig:
    """An autoencoder that comes before a method's own training."""

    pretrain_epochs: int = option(50, "epochs of the autoencoder that comes first; 0, with init_from: none", minimum=0)
    autoencoder_from: str = option(
        "", "a run of any method with the same networks, whose autoencoder to begin with in place of one of its own; empty: none"
    )

    @property
    def has_autoencoder(self) -> bool:
        """Whether clusters are looked for among an autoencoder's codes, and not taken from a run's model."""
        return bool(self.pretrain_epochs or self.autoencoder_from)

    def check_pretraining(self, train: Any) -> None:
        """Raise ValueError where there is neither an autoencoder nor a run to begin with, or there are two."""
        if not self.has_autoencoder and not train.init_from:
            raise ValueError(
                "pretrain_epochs is 0, so there is no autoencoder; set it to 1 or more, or name a run by autoencoder_from or init_from."
            )
        if self.autoencoder_from and train.init_from:
            raise ValueError("init_from brings all weights, and autoencoder_from some; give one of them.")


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
    """How images are changed at random; not in the paper."""

    augment: bool = option(False, "train on small random changes of the images too; not in the paper")
    augment_rotation: float = option(10.0, "of these changes: the largest rotation, degrees", minimum=0.0)
    augment_shift: float = option(1 / 14, "likewise: the largest shift, as a share of height and of width", minimum=0.0)
    augment_scale: float = option(0.0, "likewise: height and width by factors from 1 / (1 + this) to 1 + this", minimum=0.0)
    augment_shear: float = option(0.0, "likewise: the largest slant, columns a row", minimum=0.0)
    augment_brightness: float = option(
        0.0,
        "likewise, though not for the autoencoder: all values, whose 0 is to be black, by a factor from 1 / (1 + this) to 1 + this",
        minimum=0.0,
    )

    @property
    def image_changers(self) -> tuple[str, ...]:
        """What is chosen that changes images, in words."""
        return ("augment",) if self.augment else ()

    def check_augmentation(self) -> None:
        """Raise ValueError where images are to be changed, and every change is 0."""
        if self.image_changers and not any(getattr(self, name) for name in CHANGES):
            raise ValueError(
                f"{', '.join(CHANGES)} are all 0, so no image would be changed; set one, or leave out {' and '.join(self.image_changers)}."
            )


CHANGES = tuple(field.name for field in dataclasses.fields(AugmentationConfig) if field.name.startswith("augment_"))
