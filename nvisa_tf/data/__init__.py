"""Data sets: loaders behind one registry, all giving the same small type."""

from nvisa_tf.data.dataset import Dataset, Origin, Splits, check, from_array, input_scaling
from nvisa_tf.data.loaders import load_dataset, load_splits, read_array_file
from nvisa_tf.data.rows import Array, RowView

__all__ = [
    "Array",
    "Dataset",
    "Origin",
    "RowView",
    "Splits",
    "check",
    "from_array",
    "input_scaling",
    "load_dataset",
    "load_splits",
    "read_array_file",
]
