"""The data sets known by name. A new one is a line here and the function that it names."""

from __future__ import annotations

from typing import NamedTuple


class Source(NamedTuple):
    """Where a data set comes from.

    Attributes:
      loader: "module:function", a function of a `DataConfig` that gives the train and the test `Dataset`.
      needs_tensorflow: whether loading it imports TensorFlow.
    """

    loader: str
    needs_tensorflow: bool


DATASETS: dict[str, Source] = {
    "digits": Source("nvisa_tf.data.loaders:load_digits", False),
    "mnist": Source("nvisa_tf.data.loaders:load_mnist", True),
    "fashion_mnist": Source("nvisa_tf.data.loaders:load_fashion_mnist", True),
}
