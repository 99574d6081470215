"""Everything that can be chosen about a run: frozen dataclasses, presets, validation, TOML. Nothing here loads TensorFlow."""

from nvisa_tf.config.methods import METHODS, Method
from nvisa_tf.config.networks import NetworkConfig
from nvisa_tf.config.nvisa import NVISAConfig, NVISAOptions, StepOptions
from nvisa_tf.config.run import CRITERIA, DataConfig, RunConfig, TrainConfig, options_from_toml

__all__ = [
    "CRITERIA",
    "METHODS",
    "DataConfig",
    "Method",
    "NVISAConfig",
    "NVISAOptions",
    "NetworkConfig",
    "RunConfig",
    "StepOptions",
    "TrainConfig",
    "options_from_toml",
]
