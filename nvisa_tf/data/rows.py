"""Chosen rows of a memory map, read from the file only when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np


class RowView:
    """`base[rows]` that is not copied: an index or slice of it gives an array, read from `base` then.

    Args:
      base: a memory map [n, ...].
      rows: integers [m], which rows of it and in which order.
    """

    def __init__(self, base: np.ndarray, rows: np.ndarray) -> None:
        self._base, self._rows = base, rows
        self.shape = (len(rows), *base.shape[1:])
        self.dtype = base.dtype
        self.ndim = base.ndim
        self.nbytes = len(rows) * int(np.prod(base.shape[1:])) * base.dtype.itemsize

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        return self._base[self._rows[key]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._base[self._rows], dtype)


Array = np.ndarray | RowView
