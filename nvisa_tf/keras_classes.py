"""The classes of this package that .keras files name, made known to Keras without loading them.

Keras finds a class by the name that it was registered under, and registers it when its module is imported. So that `import nvisa_tf`, which
loads neither Keras nor TensorFlow, is enough for `keras.saving.load_model`, each name first stands for a class that imports the real one.
"""

from __future__ import annotations

import importlib
from typing import Any

PACKAGE = "nvisa_tf"
HOME = {
    "NVISA": "models.nvisa.model",
    "AEGMM": "models.ae_gmm",
    "DEC": "models.dec",
    "IDEC": "models.dec",
    "GMGAN": "models.gm_gan",
    "VAEGMM": "models.vae_gmm",
    "VaDE": "models.vade",
    "LTVAE": "models.ltvae.model",
    "LTVAEGMM": "models.ltvae.model",
    "GMVAE": "models.gmvae",
    "NeighborInformationNetwork": "models.neighbors",
    "TEMINetwork": "models.neighbors",
    "MergedClusters": "models.merged",
    "FusedAdam": "layers.optimizer",
    "StdAnnealing": "layers.schedules",
    "AnnealedLearningRate": "layers.schedules",
}


def register_when_imported() -> None:
    """Call `register` once Keras is imported: now, if it is, else at the end of its import."""
    try:
        from wrapt import register_post_import_hook
    except ModuleNotFoundError:  # an install of what `nvisa-tf classify` needs alone, which has no Keras either
        return
    register_post_import_hook(register, "keras")


def register(keras: Any) -> None:
    """Tell Keras every name that it does not know yet."""
    known = keras.saving.get_custom_objects()
    for name, module in HOME.items():
        known.setdefault(f"{PACKAGE}>{name}", _stand_in(name, f"{PACKAGE}.{module}"))


def _stand_in(name: str, module: str) -> type:
    def from_config(cls: type, config: dict[str, Any]) -> Any:
        return getattr(importlib.import_module(module), name).from_config(config)

    return type(name, (), {"__doc__": f"Stands for {module}.{name}.", "from_config": classmethod(from_config)})
