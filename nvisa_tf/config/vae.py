"""The options of the variational autoencoders that are trained by reparameterized gradients: VAE+GMM and VaDE."""

from __future__ import annotations

import dataclasses
from typing import Any

from nvisa_tf.config.networks import AugmentationConfig, NetworkConfig
from nvisa_tf.config.options import check_fields, option


@dataclasses.dataclass(frozen=True)
class VAEConfig(NetworkConfig, AugmentationConfig):
    """What variational autoencoders share.

    Raises:
      ValueError: a value out of range, or options that do not go together.
    """

    likelihood: str = option(
        "gaussian",
        "p(x|z): gaussian with a learned standard deviation of each value, or bernoulli of values in [0, 1]",
        ("gaussian", "bernoulli"),
    )
    least_sd: float = option(0.1, "the smallest standard deviation of a gaussian p(x|z), on the model's scale", minimum=1e-6)
    eval_samples: int = option(50, "samples per example for the held-out bound", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self)
        self.check_augmentation()


@dataclasses.dataclass(frozen=True)
class VAEGMMOptions(VAEConfig):
    """All of VAE+GMM's own options (a row of the table of Li et al., IJCNN 2020)."""

    covariance: str = option("full", "of the mixture's components: any, or diagonal", ("full", "diag"))

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's others."""
        if train.epochs == 0 and not train.init_from:
            raise ValueError("epochs is 0, so there is no autoencoder; set epochs to 1 or more.")


@dataclasses.dataclass(frozen=True)
class VaDEOptions(VAEConfig):
    """All of VaDE's own options (Jiang et al., IJCAI 2017)."""

    init_epochs: int = option(
        50, "epochs of the autoencoder whose codes the first mixture is fitted to; 0: with init_from, none", minimum=0
    )
    lr_halving_epochs: float = option(66.0, "epochs in which the learning rate halves, a little at every step", minimum=1e-9)
    lr_floor: float = option(2e-4, "the learning rate never falls below this", minimum=0.0)

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's others."""
        if self.init_epochs == 0 and not train.init_from:
            raise ValueError("init_epochs is 0, so there is no autoencoder; set init_epochs to 1 or more.")
