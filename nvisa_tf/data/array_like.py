"""Data as scikit-learn takes them, and what is wrong where it can make no array of numbers of them, by row and column."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvisa_tf.data.frames import NEEDS_PYARROW


def with_known_names(data: Any, name: str = "X") -> Any:
    """A frame of polars 2, whose columns' names scikit-learn sees from 1.9 on alone, as an Arrow table; other data as they are.

    Raises:
      ValueError: pyarrow is not installed.
    """
    if not hasattr(data, "__arrow_c_stream__") or hasattr(data, "__dataframe__") or hasattr(data, "iloc") or not hasattr(data, "columns"):
        return data
    try:
        import pyarrow
    except ImportError as error:
        raise ValueError(f"Taking {name} as a frame {NEEDS_PYARROW}.") from error
    return pyarrow.table(data)


def why_no_numbers(data: Any, name: str = "X") -> Exception | None:
    """The error to raise, a sentence with the first value that is no number; None where all are, so that the fault is another.

    Args:
      data: an array, nested lists, or a frame of pandas, polars or Arrow.
      name: what it is called in messages.
    """
    dtype = getattr(data, "dtype", None)
    if getattr(data, "ndim", 0) == 1:
        return _one_axis(name)
    if hasattr(data, "tocsr") or (isinstance(data, np.ndarray) and data.ndim and data.dtype.kind in "buifc"):
        return None
    try:
        cells = np.asarray(data, dtype=object)
    except ValueError:  # rows of different shapes
        return _ragged(data, name)
    if cells.ndim == 0:
        return ValueError(
            f"{name} is of the type {type(data).__name__}; give an array [n, d], images [n, h, w] or [n, h, w, c], or a table."
        )
    if cells.ndim == 1:
        return _ragged(data, name) if any(isinstance(row, (list, tuple, np.ndarray)) for row in cells) else _one_axis(name)
    rows = cells.reshape(len(cells), -1)
    for column in range(rows.shape[1]):
        if not _are_numbers(rows[:, column]):
            row = next(i for i in range(len(rows)) if not _are_numbers(rows[i : i + 1, column]))
            return _no_number(rows[row, column], f"row {row}, column {_name_of(data, column)}", name)
    if dtype is not None and getattr(dtype, "kind", "") in "USTM":
        return ValueError(f"{name} has the type {dtype}; convert it to numbers first, such as by astype(float).")
    return None


def _one_axis(name: str) -> ValueError:
    return ValueError(
        f"Reshape your data {name}, which have one axis: by reshape(-1, 1) if each value is an example, by reshape(1, -1) if all are one."
    )


def _are_numbers(cells: np.ndarray) -> bool:
    try:
        cells.astype(np.float64)
    except (TypeError, ValueError):
        return False
    return True


def _no_number(value: Any, where: str, name: str) -> Exception:
    if isinstance(value, (str, bytes)):
        shown = repr(value if len(value) <= 40 else value[:40])
        return ValueError(
            f"{name} has the text {shown} in {where}; encode text as numbers, such as by OneHotEncoder, or leave the column out."
        )
    kind = type(value).__name__
    return TypeError(f"{name} has a {kind} in {where}; every value of this argument must be a number, or a string of one number.")


def _ragged(data: Any, name: str) -> ValueError:
    shapes = [np.shape(row) if not isinstance(row, (list, tuple)) else (len(row),) for row in data]
    other = next((i for i, shape in enumerate(shapes) if shape != shapes[0]), 0)
    return ValueError(
        f"{name} has {_values(shapes[0])} in row 0 and {_values(shapes[other])} in row {other}; give every example as many values."
    )


def _values(shape: tuple[int, ...]) -> str:
    size = int(np.prod(shape))
    return f"{size} value{'' if size == 1 else 's'}"


def _name_of(data: Any, column: int) -> str:
    names = getattr(data, "column_names", None)  # of Arrow
    names = getattr(data, "columns", None) if names is None else names
    return str(column) if names is None else str(list(names)[column])
