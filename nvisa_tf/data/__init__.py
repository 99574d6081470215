"""Data sets: loaders behind one registry, all giving the same small type."""

from nvisa_tf.data.dataset import Dataset, Origin, Splits, check, from_array, input_scaling, value_range
from nvisa_tf.data.files import read_array_file, read_examples
from nvisa_tf.data.loaders import load_dataset, load_splits
from nvisa_tf.data.memory import as_dataset
from nvisa_tf.data.rows import Array, RowView

__all__ = [
    "Array",
    "Dataset",
    "Origin",
    "RowView",
    "Splits",
    "as_dataset",
    "check",
    "from_array",
    "input_scaling",
    "load_dataset",
    "load_splits",
    "read_array_file",
    "read_examples",
    "value_range",
]
