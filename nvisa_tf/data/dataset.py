"""The one type that every loader gives, its checks, and the scaling of its values."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Examples to cluster, with labels only where they exist and only for scoring.

    Attributes:
      name: for reports.
      x: raw examples [n, *shape], uint8, another integer type, or float; may be a memory map.
      y: integer labels [n], or None.
      max_value: the largest value that the format allows (255 for bytes), or None if unknown.
    """

    name: str
    x: np.ndarray
    y: np.ndarray | None = None
    max_value: float | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.x.shape[1:])

    @property
    def is_image(self) -> bool:
        """Whether an example is [h, w] or [h, w, c] rather than a vector."""
        return self.x.ndim >= 3

    def take(self, rows: np.ndarray | slice) -> Dataset:
        """The same data set with these rows only."""
        return dataclasses.replace(self, x=self.x[rows], y=None if self.y is None else self.y[rows])


@dataclasses.dataclass(frozen=True)
class Splits:
    """What to train on and what to score on; the same data set twice under split = "all"."""

    train: Dataset
    test: Dataset
    description: str


def check(dataset: Dataset, chunk: int = 10_000, constant: bool = False) -> Dataset:
    """The same data set, or a ValueError that says in one sentence what is wrong with it.

    Large arrays are read in chunks, so a memory map is never loaded whole. `constant` allows data of
    one value, which cannot be clustered anew but can be put into clusters.
    """
    x, y, name = dataset.x, dataset.y, dataset.name
    if x.dtype.kind not in "buif":
        raise ValueError(f"{name}: x has the type {x.dtype}; it must be integers or floats.")
    if x.ndim not in (2, 3, 4):
        raise ValueError(f"{name}: x has {x.ndim} axes; it must be vectors [n, d] or images [n, h, w] or [n, h, w, c].")
    if 0 in x.shape:
        raise ValueError(f"{name}: x is empty, of shape {list(x.shape)}; it needs at least one example and one value each.")
    if y is not None:
        if y.shape != (len(x),):
            raise ValueError(f"{name}: y has the shape {list(y.shape)} but x has {len(x)} examples; y must hold one label each.")
        if y.dtype.kind not in "biu":
            raise ValueError(f"{name}: y has the type {y.dtype}; labels must be integers.")
    bad, first = 0, -1
    low, high = np.inf, -np.inf
    for start in range(0, len(x), chunk):
        part = np.asarray(x[start : start + chunk])
        finite = np.isfinite(part).reshape(len(part), -1)
        if not finite.all():
            if first < 0:
                first = start + int(np.argmax(~finite.all(1)))
            bad += int(np.count_nonzero(~finite))
        elif not bad:
            low, high = min(low, float(part.min())), max(high, float(part.max()))
    if bad:
        raise ValueError(f"{name}: x has {bad} values that are NaN or Inf, the first in example {first}; remove or fill them.")
    if low == high and not constant:
        raise ValueError(f"{name}: every value of x is {low:g}; constant data has no clusters.")
    return dataset


def input_scaling(dataset: Dataset, method: str = "auto") -> tuple[np.ndarray, np.ndarray]:
    """scale and shift such that x * scale + shift suits the model, each [] or [d] float32.

    Args:
      dataset: the training data; no label is looked at.
      method: "none"; "minmax", one scale for all values, to [0, 1]; "standardize", every dimension
        to mean 0 and standard deviation 1; "auto": by `max_value` where it is known, nothing for
        floats within [0, 1], "minmax" for other images, "standardize" for other vectors.

    Raises:
      ValueError: unknown method.
    """
    if method not in ("auto", "none", "minmax", "standardize"):
        raise ValueError(f"scaling is {method!r}; it must be auto, none, minmax or standardize.")
    one, zero = np.float32(1.0), np.float32(0.0)
    if method == "none":
        return np.asarray(one), np.asarray(zero)
    # Statistics of at most 100,000 examples, spread evenly, are exact enough for a scale.
    rows = np.asarray(dataset.x[:: max(1, len(dataset) // 100_000)]).reshape(-1, int(np.prod(dataset.shape)))
    if method == "auto":
        if dataset.max_value:
            return np.asarray(np.float32(1.0 / dataset.max_value)), np.asarray(zero)
        if rows.dtype.kind == "f" and rows.min() >= 0 and rows.max() <= 1:
            return np.asarray(one), np.asarray(zero)
        method = "minmax" if dataset.is_image else "standardize"
    if method == "minmax":
        low, high = float(rows.min()), float(rows.max())
        width = (high - low) or 1.0
        return np.asarray(np.float32(1 / width)), np.asarray(np.float32(-low / width))
    mean, sd = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
    sd = np.where(sd > 1e-12 * np.maximum(1.0, np.abs(mean)), sd, 1.0)  # a constant dimension stays constant
    return (1 / sd).astype(np.float32), (-mean / sd).astype(np.float32)
