"""AE+GMM's options: an autoencoder, and a Gaussian mixture fitted to its codes."""

from __future__ import annotations

import dataclasses
from typing import Any

from nvisa_tf.config.networks import AugmentationConfig, MixtureConfig, NetworkConfig
from nvisa_tf.config.options import check_fields, option


@dataclasses.dataclass(frozen=True)
class AEGMMOptions(NetworkConfig, AugmentationConfig, MixtureConfig):
    """All of AE+GMM's own options (the first row of the table of Li et al., IJCNN 2020).

    Raises:
      ValueError: a value out of range, or options that do not go together.
    """

    likelihood: str = option(
        "gaussian",
        "what the autoencoder minimizes: squared error, or minus the log-likelihood of values in [0, 1]",
        ("gaussian", "bernoulli"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self)
        self.check_augmentation()

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's others."""
        if train.epochs == 0 and not train.init_from:
            raise ValueError("epochs is 0, so there is no autoencoder; set epochs to 1 or more.")
