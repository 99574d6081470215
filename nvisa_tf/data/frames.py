"""Frames as tables: pandas, polars and anything else that speaks Arrow, and Parquet files."""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nvisa_tf.data.columns import Column, KeepRaw, Table, as_objects, column_of_text, settle_commas

if TYPE_CHECKING:
    import pyarrow

NEEDS_PYARROW = 'needs the package pyarrow; install it by pip install "nvisa-tf[tables]"'


def is_frame(data: Any) -> bool:
    """Whether it is a table in memory: named columns of one length, of pandas, polars, Arrow or what else speaks their protocols."""
    if any(hasattr(data, name) for name in ("__dataframe__", "__arrow_c_stream__")) and hasattr(data, "__len__"):
        return not (hasattr(data, "ndim") and data.ndim == 1) and not hasattr(data, "to_frame")  # a series is an array
    return type(data).__module__.startswith(("pyarrow", "pandas")) and hasattr(data, "columns")


def table_of_frame(frame: Any, source: str = "X", keep_raw: KeepRaw = lambda name: False) -> Table:
    """The columns of a frame; the index of a pandas frame, if it is no plain count, becomes the first column.

    Args:
      frame: of pandas, polars or Arrow.
      source: what it is called in messages.
      keep_raw: for which columns, by name, texts are kept beside numbers.

    Raises:
      ValueError: no pyarrow, two columns of one name, or no row.
    """
    pairs = _pandas_columns(frame, source) if _is_pandas(frame) else _arrow_columns(frame, source)
    names = [name for name, _ in pairs]
    for i, name in enumerate(names):
        if name and name in names[:i]:
            raise ValueError(f"{source} has two columns named {name}; give each column a name of its own.")
    if not pairs or not len(frame):
        raise ValueError(f"{source} has no {'rows' if pairs else 'columns'}; a table has a row for each example.")
    columns = [column for name, values in pairs for column in _columns(name, values, keep_raw(name))]
    settled = settle_commas(columns, set(), source)
    return Table(source, tuple(settled), True, np.arange(len(frame)), "row")


def read_parquet(path: str, keep_raw: KeepRaw = lambda name: False) -> Table:
    """The columns of a Parquet file; ValueError, in one sentence, where it cannot be read."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(f"Reading {path} {NEEDS_PYARROW}.") from error
    try:
        frame = parquet.ParquetFile(path).read()
    except PermissionError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; check its permissions.") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is damaged, cut off or no Parquet file; write it again.") from error
    index = _pandas_index(frame)
    table = table_of_frame(frame.drop_columns(index) if index and set(index) != set(frame.column_names) else frame, path, keep_raw)
    if not index or "index" in frame.column_names:
        return table
    ids = table_of_frame(frame.select(index[:1]).rename_columns(["index"]), path, lambda name: True).columns[0]
    return Table(path, (ids, *table.columns), True, table.places, "row")


def _pandas_index(frame: pyarrow.Table) -> list[str]:
    """The nameless columns that pandas keeps its index in."""
    return [name for name in frame.column_names if name.startswith("__index_level_")]


def _is_pandas(frame: Any) -> bool:
    return type(frame).__module__.startswith("pandas")


def _pandas_columns(frame: Any, source: str) -> list[tuple[str, Any]]:
    """Names and Arrow arrays of a pandas frame; objects that Arrow has no type for as they are."""
    pyarrow = _pyarrow(source)
    pairs: list[tuple[str, Any]] = []
    index = frame.index
    if type(index).__name__ not in ("RangeIndex", "MultiIndex"):
        name = str(index.name or "index")
        if name not in map(str, frame.columns):
            pairs.append((name, _arrow_or_objects(pyarrow, index)))
    for i, name in enumerate(frame.columns):
        pairs.append((str(name), _arrow_or_objects(pyarrow, frame.iloc[:, i])))
    return pairs


def _arrow_or_objects(pyarrow: Any, values: Any) -> Any:
    if getattr(values.dtype, "name", "").startswith("Sparse"):
        values = values.sparse.to_dense()
    try:
        return pyarrow.array(values, from_pandas=True)
    except (pyarrow.ArrowException, TypeError):  # a column of several types, or of Python objects
        return list(values)


def _arrow_columns(frame: Any, source: str) -> list[tuple[str, Any]]:
    pyarrow = _pyarrow(source)
    if isinstance(frame, pyarrow.RecordBatch):
        frame = pyarrow.Table.from_batches([frame])
    if not isinstance(frame, pyarrow.Table):
        try:
            frame = _arrow_table(pyarrow, frame)
        except (pyarrow.ArrowException, NotImplementedError) as error:
            odd = next((name for name in frame.columns if not _is_known(pyarrow, frame, name)), None) if hasattr(frame, "select") else None
            what = "a column" if odd is None else f"column {odd}"
            raise ValueError(
                f"{source}: {what} has a type that Arrow does not know; convert it, such as to float64, or drop it."
            ) from error
    return [(name, frame.column(i)) for i, name in enumerate(frame.column_names)]


def _arrow_table(pyarrow: Any, frame: Any) -> Any:
    from pyarrow import interchange

    return pyarrow.table(frame) if hasattr(frame, "__arrow_c_stream__") else interchange.from_dataframe(frame)


def _is_known(pyarrow: Any, frame: Any, name: str) -> bool:
    """Whether Arrow has a type for a column of a frame of polars."""
    try:
        _arrow_table(pyarrow, frame.select([name]))
    except (pyarrow.ArrowException, NotImplementedError):
        return False
    return True


def _pyarrow(source: str) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ValueError(f"Taking {source} as a frame {NEEDS_PYARROW}.") from error
    return pyarrow


def _columns(name: str, values: Any, keep_raw: bool) -> list[Column]:
    """The column of an Arrow array or a list of Python objects; of vectors of one length, as embeddings are, one for each value."""
    vectors = _vectors(values)
    if vectors is None:
        return [_column(name, values, keep_raw)]
    return [Column(f"{name}[{i}]", "number", np.ascontiguousarray(part)) for i, part in enumerate(vectors.T)]


def _vectors(values: Any) -> np.ndarray | None:
    """Lists of as many numbers in each row, float64 [n, d]; None: something else."""
    if isinstance(values, list):
        return None
    from pyarrow import compute, types

    kind = values.type
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        return None
    if values.null_count or not (types.is_integer(kind.value_type) or types.is_floating(kind.value_type)):
        return None
    widths = compute.list_value_length(values).unique().to_pylist()
    if len(widths) != 1 or not widths[0]:
        return None
    return _floats(compute.list_flatten(values)).reshape(len(values), widths[0])


def _column(name: str, values: Any, keep_raw: bool) -> Column:
    """A column of an Arrow array, or of a list of Python objects."""
    if isinstance(values, list):
        return _of_objects(name, values, keep_raw)
    import pyarrow
    from pyarrow import types

    kind = values.type
    if types.is_dictionary(kind):
        values = pyarrow.array(values.to_pylist(), _plain(kind.value_type))  # not all types can be decoded
        kind = values.type
    if types.is_boolean(kind):
        return Column(name, "bool", _floats(values.cast(pyarrow.uint8())))
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        found = _floats(values)
        raw = None
        if keep_raw and types.is_integer(kind) and (np.abs(found) >= 2**53).any():  # which float64 does not tell apart
            raw = as_objects(None if v is None else str(v) for v in values.to_pylist())
        return Column(name, "number", found, raw)
    if types.is_null(kind):
        return Column(name, "number", np.full(len(values), np.nan))
    if types.is_string(kind) or types.is_large_string(kind) or kind == pyarrow.string_view():
        return column_of_text(name, ["" if v is None else v for v in values.to_pylist()], keep_raw)
    texts = as_objects(None if v is None else str(v) for v in values.to_pylist())
    return Column(name, "date" if types.is_temporal(kind) else "other", texts)


def _plain(kind: Any) -> Any:
    """The Arrow type, but of text, which has several, the one that has all functions."""
    import pyarrow

    return pyarrow.string() if kind in (pyarrow.string_view(), pyarrow.large_string()) else kind


def _floats(values: Any) -> np.ndarray:
    import pyarrow

    if pyarrow.types.is_decimal(values.type):
        return np.array([np.nan if v is None else float(v) for v in values.to_pylist()])
    return np.array(values.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _of_objects(name: str, values: Sequence[Any], keep_raw: bool) -> Column:
    """Python objects: numbers of several types, or numbers and text."""
    if all(value is None or isinstance(value, (numbers.Real, decimal.Decimal, str, np.bool_)) or value != value for value in values):
        return column_of_text(name, ["" if value is None or value != value else str(value) for value in values], keep_raw)
    return Column(name, "other", as_objects(None if value is None else str(value) for value in values))
