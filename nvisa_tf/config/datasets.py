"""The data sets known by name. A new one is a line here and the function that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Source(NamedTuple):
    """Where a data set comes from.

    Attributes:
      loader: "module:function", a function of a `DataConfig` that gives the train and the test `Dataset`.
      needs_tensorflow: whether loading it imports TensorFlow.
      defaults: options that differ from a preset's where nothing else is given, by bare name.
    """

    loader: str
    needs_tensorflow: bool
    defaults: Mapping[str, Any] = {}


_PHOTOS = {"backbone": "resnet50"}  # as in the paper


DATASETS: dict[str, Source] = {
    "digits": Source("nvisa_tf.data.loaders:load_digits", False),
    "mnist": Source("nvisa_tf.data.loaders:load_mnist", True),
    "fashion_mnist": Source("nvisa_tf.data.loaders:load_fashion_mnist", True),
    "stl10": Source("nvisa_tf.data.loaders:load_stl10", True, _PHOTOS),
    "cifar10": Source("nvisa_tf.data.loaders:load_cifar10", True, _PHOTOS),
    "cifar100": Source("nvisa_tf.data.loaders:load_cifar100", True, {**_PHOTOS, "n_clusters": 100}),
}


def defaults_of(dataset: str) -> dict[str, Any]:
    """The options that a data set known by name has by default; none of any other."""
    return dict(DATASETS[dataset].defaults) if dataset in DATASETS else {}
