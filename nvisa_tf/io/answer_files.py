"""Columns of values as files: .csv, .npy (structured) and .npz; needs NumPy alone."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nvisa_tf.io.files import csv_writer, replacing

Columns = Mapping[str, np.ndarray]

# File names need not be text; those that are none come back as they were.
ENCODING: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


def write_columns(path: Path, columns: Columns, blank: np.ndarray | None = None) -> None:
    """Write columns [n] or [n, k] of numbers and text to a .csv, .npy or .npz file, by its ending, whole or not at all.

    In a .csv, a column [n, k] becomes k, name_0 and so on, and floats have six digits.

    Args:
      path: of the file.
      columns: by name; the first says what each row is called.
      blank: rows without answers, bool [n], whose numbers but for the first column's are left empty in a .csv.
    """
    with replacing(path) as temporary:
        {".csv": _csv, ".npy": _npy, ".npz": _npz}[path.suffix](temporary, columns, blank)


def _csv(path: Path, columns: Columns, blank: np.ndarray | None) -> None:
    header, texts = [], []
    for i, (name, values) in enumerate(columns.items()):
        wide = values.reshape(len(values), -1)
        header += [name] if values.ndim == 1 else [f"{name}_{j}" for j in range(wide.shape[1])]
        for column in wide.T:
            kind = column.dtype.kind
            written = [f"{value:.6g}" for value in column] if kind == "f" else [str(value) for value in column]
            if blank is not None and i and kind in "iuf":
                written = ["" if empty else text for text, empty in zip(written, blank, strict=True)]
            texts.append(written)
    with open(path, "w", **ENCODING) as file:
        table = csv_writer(file)
        table.writerow(header)
        table.writerows(zip(*texts, strict=True))


def _npy(path: Path, columns: Columns, blank: np.ndarray | None) -> None:
    n = len(next(iter(columns.values())))
    table = np.zeros(n, [(name, values.dtype, values.shape[1:]) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    np.save(path, table, allow_pickle=False)


def _npz(path: Path, columns: Columns, blank: np.ndarray | None) -> None:
    with zipfile.ZipFile(path, "w") as archive:  # not np.savez, which takes a column "file" for its own argument
        for name, values in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)


def with_cluster_names(path: str | os.PathLike[str], names: Sequence[str] | None) -> str:
    """The text of a .csv file of answers with clusters' names in a column after that of the clusters.

    Args:
      path: a file with a column "cluster".
      names: of all clusters, [K]; None: the text is to have no names.

    Raises:
      ValueError: the file is none of answers, or has a cluster that is not among these.
    """
    try:
        with open(path, **ENCODING) as file:
            header, *rows = csv.reader(file)
        # From the second column on, as the first is the data's own and may be called anything.
        at = header.index("cluster", 1)
        end = at + (2 if header[at + 1 : at + 2] == ["name"] else 1)
        title = ["name"] if names else []
        changed = [[*header[: at + 1], *title, *header[end:]]]
        for row in rows:
            if len(row) != len(header):
                raise ValueError(row)
            # An example without an answer has neither.
            name = [names[int(row[at])] if row[at] else ""] if names else []
            changed.append([*row[: at + 1], *name, *row[end:]])
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise ValueError(f"{path} is no table of the run's clusters any more; remove it, and nvisa-tf predict writes one anew.") from error
    text = io.StringIO(newline="")
    csv_writer(text).writerows(changed)
    return text.getvalue()
