"""Chosen rows of a memory map or a sparse matrix, which become an array only when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np


class RowView:
    """`base[rows]` that is not copied: an index or slice of it gives an array, made of `base` then.

    Args:
      base: a memory map [n, ...], or a sparse matrix [n, d] of SciPy's in CSR format.
      rows: integers [m], which rows of it and in which order.

    Attributes:
      shape, dtype, ndim: of the array.
      nbytes: of the array, were it made whole.
    """

    def __init__(self, base: Any, rows: np.ndarray) -> None:
        self._base, self._rows = base, rows
        self.is_sparse = not isinstance(base, np.ndarray)
        self.shape = (len(rows), *base.shape[1:])
        self.dtype = base.dtype
        self.ndim = base.ndim
        self.nbytes = len(rows) * int(np.prod(base.shape[1:])) * base.dtype.itemsize

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        rows = self._rows[key]
        if not self.is_sparse:
            return self._base[rows]
        part = self._base[np.atleast_1d(rows)].toarray()
        return part if np.ndim(rows) else part[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def take(self, rows: np.ndarray | slice) -> RowView:
        """These rows of it, still not copied."""
        return RowView(self._base, self._rows[rows])

    def maximum(self) -> float:
        """The largest value, 0 of none."""
        if self.is_sparse:
            return self._base[self._rows].max() if self._base.nnz and len(self) else 0
        return max((self[i : i + 10_000].max() for i in range(0, len(self), 10_000)), default=0)


Array = np.ndarray | RowView
