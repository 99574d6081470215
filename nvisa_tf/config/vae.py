"""The options of the variational autoencoders that are trained by reparameterized gradients: VAE+GMM and VaDE."""

from __future__ import annotations

import dataclasses
from typing import Any

from nvisa_tf.config.networks import AugmentationConfig, BoundConfig, GenerativeConfig, MixtureConfig, PretrainingConfig
from nvisa_tf.config.options import option


@dataclasses.dataclass(frozen=True)
class VAEConfig(GenerativeConfig, AugmentationConfig, BoundConfig):
    """What variational autoencoders share. A gaussian p(x|z) has a learned standard deviation of each value.

    Raises:
      ValueError: a value out of range, or options that do not go together.
    """

    least_sd: float = option(0.1, "the smallest standard deviation of a gaussian p(x|z), on the model's scale", minimum=1e-6)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_augmentation()


@dataclasses.dataclass(frozen=True)
class VAEGMMOptions(VAEConfig, MixtureConfig):
    """All of VAE+GMM's own options (a row of the table of Li et al., IJCNN 2020)."""

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's others."""
        if train.epochs == 0 and not train.init_from:
            raise ValueError("epochs is 0, so there is no autoencoder; set epochs to 1 or more.")


@dataclasses.dataclass(frozen=True)
class VaDEOptions(VAEConfig, PretrainingConfig):
    """All of VaDE's own options (Jiang et al., IJCAI 2017)."""

    lr_decay_epochs: float = option(
        10.0, "epochs in which the learning rate falls to 0.9 of itself, down to a tenth of its first value", minimum=1e-9
    )

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's others."""
        self.check_pretraining(train)
