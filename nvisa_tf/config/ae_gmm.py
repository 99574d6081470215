"""AE+GMM's options: an autoencoder, and a Gaussian mixture fitted to its codes."""

from __future__ import annotations

import dataclasses
from typing import Any

from nvisa_tf.config.networks import AugmentationConfig, GenerativeConfig, MixtureConfig


@dataclasses.dataclass(frozen=True)
class AEGMMOptions(GenerativeConfig, AugmentationConfig, MixtureConfig):
    """All of AE+GMM's own options (the first row of the table of Li et al., IJCNN 2020). A gaussian p(x|z) stands for squared error.

    Raises:
      ValueError: a value out of range, or options that do not go together.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_augmentation()

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's others."""
        if train.epochs == 0 and not train.init_from:
            raise ValueError("epochs is 0, so there is no autoencoder; set epochs to 1 or more.")
