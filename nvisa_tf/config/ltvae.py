"""The options of variational autoencoders whose prior is a latent tree or, with one latent node, a mixture: LTVAE and LTVAE-GMM."""

from __future__ import annotations

import dataclasses
from typing import Any

from nvisa_tf.config.networks import PretrainingConfig
from nvisa_tf.config.options import option
from nvisa_tf.config.vae import VAEConfig


@dataclasses.dataclass(frozen=True)
class LTVAEConfig(VAEConfig, PretrainingConfig):
    """What both have.

    Raises:
      ValueError: a value out of range, or options that do not go together.
    """

    em_rate: float = option(
        0.01, "by which a batch moves the running statistics that p(z) is made from, at most 1", minimum=1e-9, maximum=1.0
    )

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's others."""
        self.check_pretraining(train)


@dataclasses.dataclass(frozen=True)
class LTVAEGMMOptions(LTVAEConfig):
    """All of LTVAE-GMM's own options (Li et al., ICLR 2019)."""

    prior_covariance: str = option(
        "fixed", "of p(z|y): component_variance times the unit matrix throughout, or variances that are learned", ("fixed", "learned")
    )
    component_variance: float = option(
        0.1, "of p(z|y), fixed, where the codes begin with a standard deviation of 1; learned variances begin with the codes'", minimum=1e-3
    )


@dataclasses.dataclass(frozen=True)
class LTVAEOptions(LTVAEConfig):
    """All of LTVAE's own options (Li et al., ICLR 2019)."""

    most_facets: int = option(2, "latent nodes of the tree at most, each of which is a partition of the data", minimum=1)
    structure_epochs: int = option(10, "epochs between two searches of the tree's structure; 0: it stays a mixture", minimum=0)
    structure_share: float = option(
        0.2, "of the examples, that a search looks at; 1,000 at least, if there are, and 5,000 at most", minimum=0.0, maximum=1.0
    )
