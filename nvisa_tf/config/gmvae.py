"""The options of GMVAE (Dilokthanakul et al., 2016, arXiv 1611.02648)."""

from __future__ import annotations

import dataclasses
from typing import Any

from nvisa_tf.config.networks import PretrainingConfig
from nvisa_tf.config.options import option
from nvisa_tf.config.vae import VAEConfig


@dataclasses.dataclass(frozen=True)
class GMVAEOptions(VAEConfig, PretrainingConfig):
    """All of GMVAE's own options. Those that the paper does not have say so.

    Raises:
      ValueError: a value out of range, or options that do not go together.
    """

    noise_dim: int = option(10, "dimensions of w, the noise that the clusters of z are made of", minimum=1)
    prior_units: int = option(500, "width of the tanh layer from w to the clusters", minimum=1)
    y_floor: float = option(
        0.0, "what KL(p(y|z,w) || p(y)) costs at least, nats, a batch's mean: the minimum information constraint; 0: none", minimum=0.0
    )
    kl_warmup_epochs: float = option(
        0.0, "epochs in which the weight of all KL terms rises from 0 to 1; 0: it is 1 from the start; not in the paper", minimum=0.0
    )

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's others."""
        if train.epochs == 0 and not self.pretrain_epochs and not train.init_from:
            raise ValueError("epochs and pretrain_epochs are 0, so there is nothing to train; set epochs to 1 or more.")
