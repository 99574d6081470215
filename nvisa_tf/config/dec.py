"""The options of DEC (Xie et al., ICML 2016) and of IDEC (Guo et al., IJCAI 2017)."""

from __future__ import annotations

import dataclasses
from typing import Any

from nvisa_tf.config.networks import AugmentationConfig, NetworkConfig, PretrainingConfig
from nvisa_tf.config.options import option


@dataclasses.dataclass(frozen=True)
class DECOptions(NetworkConfig, AugmentationConfig, PretrainingConfig):
    """All of DEC's own options.

    Raises:
      ValueError: a value out of range, or options that do not go together.
    """

    target_steps: int = option(140, "steps between two renewals of the target distribution", minimum=1)
    tolerance: float = option(
        0.001, "end when a smaller share of examples changed their cluster between two renewals; 0: never", minimum=0.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_augmentation()
        if self.tolerance >= 1:
            raise ValueError(f"tolerance is {self.tolerance}, a share of the examples; it must be below 1.")

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's others."""
        self.check_pretraining(train)


@dataclasses.dataclass(frozen=True)
class IDECOptions(DECOptions):
    """DEC's options, and how much its loss counts beside the autoencoder's."""

    clustering_weight: float = option(0.1, "weight of the clustering loss beside the mean squared error of a value", minimum=0.0)
