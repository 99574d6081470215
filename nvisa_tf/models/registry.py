"""From a method's name to its model; `nvisa_tf.config.methods` has the list."""

from __future__ import annotations

import importlib

from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.networks import ModelConfig
from nvisa_tf.models.base import ClusteringModel


def create_model(method: str, options: ModelConfig, seed: int) -> ClusteringModel:
    """A fresh model.

    Args:
      method: a name in `METHODS`.
      options: of the method, `input_shape` set.
      seed: of its initial weights and draws.

    Raises:
      ValueError: `input_shape` is empty.
    """
    module, name = METHODS[method].model.split(":")
    return getattr(importlib.import_module(module), name)(options, seed=seed)


def import_models() -> None:
    """Import every method's model, so that Keras can load files of any of them."""
    for method in METHODS.values():
        importlib.import_module(method.model.split(":")[0])
