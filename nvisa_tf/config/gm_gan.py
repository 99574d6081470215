"""The options of GM-GAN (Ben-Yosef & Weinshall, 2018)."""

from __future__ import annotations

import dataclasses
from typing import Any

from nvisa_tf.config.networks import AugmentationConfig, NetworkConfig
from nvisa_tf.config.options import option


@dataclasses.dataclass(frozen=True)
class GMGANOptions(NetworkConfig, AugmentationConfig):
    """All of GM-GAN's own options; `encoder_units` are those of discriminator and classifier, `decoder_units` of the generator.

    Raises:
      ValueError: a value out of range, or options that do not go together.
    """

    prior: str = option("static", "the mixture that z is drawn from: fixed, or learned with the generator", ("static", "dynamic"))
    prior_range: float = option(1.0, "its components' means are drawn between minus this and this; a dynamic one begins so", minimum=0.0)
    prior_sd: float = option(0.1, "its components' standard deviation; a dynamic one begins so", minimum=1e-6)
    generator_output: str = option("linear", "values between 0 and 1, or any, on the model's scale", ("linear", "sigmoid"))
    gradient_penalty: float = option(1.0, "weight of the discriminator's squared gradient at examples (R1); not in the paper", minimum=0.0)
    cluster_weight: float = option(
        1.0, "weight in the generator's loss of the classifier's loss on what is generated; 0: the paper's", minimum=0.0
    )
    classifier_epochs: int = option(50, "epochs of the classifier on what is generated, after the GAN; 0, with init_from: none", minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_augmentation()

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's others."""
        if train.epochs == 0 and not train.init_from:
            raise ValueError("epochs is 0, so there is no generator; set epochs to 1 or more.")
        if self.classifier_epochs == 0 and not train.init_from:
            raise ValueError("classifier_epochs is 0, so there is no classifier; set classifier_epochs to 1 or more.")
