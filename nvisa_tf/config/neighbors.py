"""The options of the methods whose linear heads answer alike for neighbours: TEMI, and the mutual information of neighbours."""

from __future__ import annotations

import dataclasses
from typing import Any

from nvisa_tf.config.networks import ModelConfig
from nvisa_tf.config.options import option


@dataclasses.dataclass(frozen=True)
class NeighborOptions(ModelConfig):
    """What both have: principal components of the examples, their nearest neighbours, and linear heads, of which one answers.

    `latent_dim` is the largest number of components.

    Raises:
      ValueError: a value out of range, or options that do not go together.
    """

    n_heads: int = option(
        32, "heads trained beside each other; the one whose clusters tell the most of a neighbour's answers", minimum=1, maximum=1_000
    )
    n_neighbors: int = option(50, "nearest neighbours of each example, at most a quarter of a cluster of average size", minimum=1)

    @property
    def n_components(self) -> int:
        """How many principal components the heads see: `latent_dim`, or as many as an example has values."""
        return min(self.latent_dim, self.input_dim)

    @property
    def image_changers(self) -> tuple[str, ...]:
        """Nothing changes images."""
        return ()

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's others."""
        if train.epochs == 0 and not train.init_from:
            raise ValueError("epochs is 0, so no head would be trained; set epochs to 1 or more.")


@dataclasses.dataclass(frozen=True)
class TEMIOptions(NeighborOptions):
    """All of TEMI's own options (Adaloglou et al., BMVC 2023)."""

    temi_beta: float = option(0.6, "exponent of the product of two probabilities; 1: pointwise mutual information", minimum=1e-6, maximum=1)
    teacher_momentum: float = option(
        0.996, "how much of itself the teacher's moving average of the heads keeps a step", minimum=0, maximum=0.9999
    )


@dataclasses.dataclass(frozen=True)
class NeighborInformationOptions(NeighborOptions):
    """All options of the method that makes the mutual information of neighbours' clusters large."""

    balance_exponent: float = option(
        1.3, "of the clusters' shares in the mutual information; 1: as it is, more: clusters of more equal size", minimum=1.0
    )
