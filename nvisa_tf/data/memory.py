"""Data in memory as data sets: arrays, sparse matrices, frames, AnnData, `tf.data.Dataset`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.dataset import Dataset, check, from_array
from nvisa_tf.data.frames import is_frame, table_of_frame
from nvisa_tf.data.h5ad import dataset_of_anndata, is_anndata
from nvisa_tf.data.roles import may_be_text
from nvisa_tf.data.tables import check_width, dataset_of

CHANNELS = (1, 3, 4)  # of an image


def as_dataset(
    data: Any,
    y: Any = None,
    config: DataConfig | None = None,
    table: Mapping[str, Any] | None = None,
    name: str = "X",
    constant: bool = False,
) -> Dataset:
    """Examples in memory as a checked `Dataset`.

    Args:
      data: an array [n, d], [n, h, w] or [n, h, w, c] or what NumPy makes one of; a sparse matrix of SciPy's, of which batches alone are
        made dense; a frame of pandas, polars or Arrow, taken as a table file is; an AnnData object; a `tf.data.Dataset`, which is read
        whole into memory; or a `Dataset`.
      y: labels [n], whole numbers or text, where `data` has none.
      config: how a table is taken; None: by the defaults.
      table: `Origin.table` of the data that a model was trained on, whose columns are to be made again.
      name: what the data are called in reports and messages.
      constant: allow data of one value, as `check` does.

    Raises:
      ValueError: data that cannot be used; one sentence says why.
    """
    config = config or DataConfig(dataset=name)
    if isinstance(data, Dataset):
        dataset = data
    elif is_anndata(data):
        dataset = dataset_of_anndata(data, name, config, table)
    elif is_frame(data):
        dataset = dataset_of(table_of_frame(data, name, lambda column: may_be_text(column, config, table)), config, table)
    elif _is_tf_dataset(data):
        x, labels = _elements(data, name)
        dataset = from_array(name, x, labels)
    else:
        dataset = from_array(name, _array(data, name))
    if y is not None:
        if dataset.y is not None:
            raise ValueError(f"{name} has labels of its own and y was given too; leave one of them out.")
        labelled = from_array(name, np.zeros((0, 1)), y)
        dataset = dataset.labelled(labelled.y, labelled.origin.class_names)
    if table and dataset.origin.kind != "table":
        check_width(dataset, table)
    return check(dataset, constant)


def _array(data: Any, name: str) -> Any:
    if hasattr(data, "tocsr") or isinstance(data, np.memmap | np.ma.MaskedArray):
        return data
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"{name} has rows of different lengths; give an array of numbers of one shape.") from error
    if array.dtype == object and array.ndim == 0:
        raise ValueError(f"{name} is a {type(data).__name__}, of which no array can be made; give an array, a frame or a tf.data.Dataset.")
    return array


def _is_tf_dataset(data: Any) -> bool:
    """Whether it is a `tf.data.Dataset`, without loading TensorFlow."""
    return type(data).__module__.startswith("tensorflow.") and hasattr(data, "element_spec")


def _elements(data: Any, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The examples and labels of a `tf.data.Dataset` of x or (x, y), one by one or in batches."""
    if int(data.cardinality()) == -1:  # tf.data.INFINITE_CARDINALITY
        raise ValueError(f"{name} repeats without end; take() a number of its elements, or leave repeat() out.")
    spec = data.element_spec
    labelled = isinstance(spec, tuple) and len(spec) == 2
    first = spec[0] if labelled else spec
    if any(not hasattr(part, "shape") or part.shape.rank is None for part in (first, spec[1] if labelled else first)):
        raise ValueError(f"{name} has elements other than x or (x, y) of known rank; map() them to such.")
    batched = _are_batches(tuple(first.shape), tuple(spec[1].shape) if labelled else None)
    if batched is None:
        raise ValueError(
            f"{name} has elements that may be examples or batches; give single examples of known shape, images as [h, w, c], with scalar "
            "labels, or batches whose first axis alone is unknown."
        )
    parts: list[Any] = [part if labelled else (part, None) for part in data.as_numpy_iterator()]
    if not parts:
        raise ValueError(f"{name} has no elements; a data set needs at least one example.")
    join = np.concatenate if batched else np.stack
    try:
        x = join([part[0] for part in parts])
        return x, join([part[1] for part in parts]) if labelled else None
    except ValueError as error:
        raise ValueError(f"{name} has elements of different shapes; bring them to one by map().") from error


def _are_batches(x: tuple[int | None, ...], y: tuple[int | None, ...] | None) -> bool | None:
    """Whether elements of x, or of x and labels y, of these shapes are batches; None: they may be examples as well."""
    if y == ():
        return False
    if y is not None:
        return True if x and x[0] is None and y[0] is None else None  # labels of a known length may be one-hot ones
    if x and x[0] is None and (len(x) == 4 or (len(x) > 1 and None not in x[1:])):
        return True
    vector_or_image = len(x) == 1 or (len(x) == 3 and x[2] in CHANNELS)
    return False if vector_or_image and None not in x else None
