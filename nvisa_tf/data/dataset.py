"""The one type that every loader gives, its checks, and the scaling of its values."""

from __future__ import annotations

import dataclasses
import decimal
import hashlib
import numbers
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nvisa_tf.data.rows import Array, RowView

CHUNK = 10_000  # examples read at a time, so that a memory map is never loaded whole
FINGERPRINT_EXAMPLES = 1000  # evenly spread
DARK = 64  # bytes of 255; a set of images has a brighter value somewhere
FLOAT32_MAX = float(np.finfo(np.float32).max)  # models compute in 32 bits
LEAST_SQUARE = 1e-12  # of a vector's length, where it is divided by that
FLOAT32_SPAN = 1e6  # of a value's size over its spread, beyond which float32 loses more than a few percent of the spread


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where examples come from and how they were taken, the same for every part of a data set.

    Attributes:
      kind: "array", "table", "folder" or "named", a data set known by name.
      id_name: what `Dataset.ids` are: "file", the name of a table's column, or "row" where examples have nothing but their place.
      feature_names: of the values of a vector, [d], where they have names.
      class_names: of the labels 0, 1, ..., where they have names.
      left_out: files that could not be read: (name, why) each.
      remarks: sentences that say how the data were taken, for the person who gave them.
      table: what it takes to make the same vectors from another table, plain values; {} for other kinds.
      backbone: what made vectors of photos, plain values: `nvisa_tf.backbones.Backbone.about`, "resize", and "made_by", its `loaded_by`;
        {}: none, or it is not known.
    """

    kind: str = "array"
    id_name: str = "row"
    feature_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    table: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    backbone: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Examples to cluster, with labels only where they exist and only for scoring.

    Attributes:
      name: for reports.
      x: raw examples [n, *shape], uint8, another integer type, or float; may be a memory map or some rows of one, or a sparse matrix of
        SciPy's, of which batches alone are made dense.
      y: integer labels [n], or None.
      max_value: the largest value that the format allows (255 for bytes), or None if unknown.
      ids: what the person calls each example, such as its file's name, str [n]; None: nothing but its place, which is in `rows`.
      rows: the place of each example in the file or folder, int64 [n]; None: 0, 1, ...
      origin: where they come from.
      n_train: of a file with its own split, how many examples, the first, are to train on; 0: it has none.
      pictures: of the photos that a backbone made the vectors of (`nvisa_tf.data.photos.Pictures`); None: there are none.
    """

    name: str
    x: Array
    y: np.ndarray | None = None
    max_value: float | None = None
    ids: np.ndarray | None = None
    rows: np.ndarray | None = None
    origin: Origin = Origin()
    n_train: int = 0
    pictures: Any = None

    def __post_init__(self) -> None:
        x: Any = self.x
        if _is_sparse(x):
            object.__setattr__(self, "x", RowView(x.tocsr(), np.arange(x.shape[0])))

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

    @property
    def places(self) -> np.ndarray:
        """The place of each example in its file or folder, int64 [n]."""
        return np.arange(len(self)) if self.rows is None else self.rows

    @property
    def names(self) -> np.ndarray:
        """What each example is called, [n]: its id, or its place."""
        return self.places if self.ids is None else self.ids

    def take(self, rows: np.ndarray | slice) -> Dataset:
        """The same data set with these rows only; those of a memory map stay in the file."""
        rows = np.flatnonzero(rows) if isinstance(rows, np.ndarray) and rows.dtype == bool else rows
        x: Array
        if isinstance(self.x, RowView):
            x = self.x.take(rows)
        else:
            x = RowView(self.x, rows) if isinstance(self.x, np.memmap) and isinstance(rows, np.ndarray) else self.x[rows]
        y, ids = (None if values is None else values[rows] for values in (self.y, self.ids))
        return dataclasses.replace(self, x=x, y=y, ids=ids, rows=self.places[rows], n_train=0)

    def spread(self, most: int) -> Dataset:
        """At most so many of the examples, evenly spread."""
        return self.take(np.arange(0, len(self), -(-len(self) // most)))

    def labelled(self, y: np.ndarray | None, class_names: tuple[str, ...] = ()) -> Dataset:
        """The same data set with these labels [n], and their names if they have some."""
        return dataclasses.replace(self, y=y, origin=dataclasses.replace(self.origin, class_names=class_names))

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """The examples piece by piece: (index of the first, array [at most CHUNK, *shape])."""
        for start in range(0, len(self), CHUNK):
            yield start, np.asarray(self.x[start : start + CHUNK])

    def fingerprint(self) -> dict[str, Any]:
        """What tells these examples from others, plain values: shape, type, and the SHA-256 of up to `FINGERPRINT_EXAMPLES` of them."""
        part = np.ascontiguousarray(self.x[:: -(-len(self) // FINGERPRINT_EXAMPLES)])
        return {"shape": list(self.x.shape), "dtype": self.x.dtype.name, "sha256": hashlib.sha256(part.tobytes()).hexdigest()}


@dataclasses.dataclass(frozen=True)
class Splits:
    """What to train on and what to score on; the same data set twice under split = "all"."""

    train: Dataset
    test: Dataset
    description: str

    def parts(self) -> list[tuple[str, Dataset]]:
        """All examples once, by the name of their split: "all" where nothing is held out, else "train" and "test"."""
        return [("all", self.train)] if self.test is self.train else [("train", self.train), ("test", self.test)]


def from_array(name: str, x: Any, y: Any = None) -> Dataset:
    """A data set of a plain array or a sparse matrix, unchecked: for bytes with the largest value that their format allows.

    Truth values become bytes, objects that are numbers floats. Labels may be whole numbers of any type, or text, whose values in
    alphabetical order are then named 0, 1, ....

    Bytes up to 1 are a mask. Where the largest of all images' is under `DARK`, as in scikit-learn's digits (0 to 16), 255 is not what the
    format allows, and what it does is unknown.

    Raises:
      ValueError: objects that are no numbers, or labels that are neither whole numbers nor text; one sentence says which.
    """
    sparse = _is_sparse(x)
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise ValueError(f"{name}: x has {np.ma.count_masked(x)} masked values, the mask of which would be lost; fill them first.")
    x = x if sparse or isinstance(x, np.memmap) else np.asarray(x)
    if x.dtype.kind == "O":
        x = _numbers(name, x)
    if x.dtype.kind == "b":
        x = x.astype(np.uint8)
    dataset = Dataset(name, x, None, None)
    if x.dtype == np.uint8:
        top = dataset.x.maximum() if isinstance(dataset.x, RowView) else dataset.x.max(initial=0)
        dataset = dataclasses.replace(dataset, max_value=1.0 if top <= 1 else None if x.ndim >= 3 and top < DARK else 255.0)
    if y is None:
        return dataset
    labels, class_names = _whole_labels(name, np.asarray(y))
    return dataclasses.replace(dataset, y=labels, origin=Origin(class_names=class_names))


def _is_sparse(x: Any) -> bool:
    """Whether it is a sparse matrix, of SciPy's or made of one, without loading SciPy."""
    return hasattr(x, "tocsr") and hasattr(x, "nnz")


def _numbers(name: str, x: np.ndarray) -> np.ndarray:
    """Objects as numbers, float64."""
    flat = x.ravel()
    odd = next((i for i, value in enumerate(flat) if not isinstance(value, (numbers.Real, decimal.Decimal, np.bool_, type(None)))), None)
    if odd is not None:
        where = ", ".join(map(str, np.unravel_index(odd, x.shape)))
        raise ValueError(f"{name}: x[{where}] is {type(flat[odd]).__name__}, not a number; give an array of numbers of one shape.")
    return np.array([np.nan if value is None else float(value) for value in flat], np.float64).reshape(x.shape)


def _whole_labels(name: str, y: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as integers, and their names where they are text."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind == "O" and all(isinstance(value, (numbers.Real, np.bool_)) for value in y.ravel()):
        y = y.astype(np.float64)
    if y.dtype.kind == "O" and not all(isinstance(value, str) for value in y.ravel()):
        raise ValueError(f"{name}: y has objects that are neither numbers nor text; labels must be whole numbers or text.")
    if y.dtype.kind in "OUT" and y.ndim == 1:
        class_names, codes = np.unique(y.astype(str), return_inverse=True)
        return codes.astype(np.int64), tuple(class_names.tolist())
    if y.dtype.kind == "f":
        odd = ~np.isfinite(y) | (y != np.round(y))
        if odd.any():
            first = int(np.argmax(odd.ravel()))
            raise ValueError(f"{name}: y has {y.ravel()[first]:g} for example {first}; labels must be whole numbers or text.")
        y = y.astype(np.int64)
    return (y.astype(np.int64) if y.dtype.kind == "b" else y), ()


def check(dataset: Dataset, constant: bool = False) -> Dataset:
    """The same data set, or a ValueError that says in one sentence what is wrong with it.

    `constant` allows data of one value, which cannot be clustered anew but can be put into clusters.
    """
    x, y, name = dataset.x, dataset.y, dataset.name
    if x.dtype.kind not in "buif" or x.dtype.itemsize > 8:
        raise ValueError(f"{name}: x has the type {x.dtype}; it must be integers or floats of at most 64 bits.")
    if x.ndim not in (2, 3, 4):
        raise ValueError(f"{name}: x has {x.ndim} axes; it must be vectors [n, d] or images [n, h, w] or [n, h, w, c].")
    if 0 in x.shape:
        raise ValueError(f"{name}: x is empty, of shape {list(x.shape)}; it needs at least one example and one value each.")
    if y is not None:
        if y.shape != (len(x),):
            raise ValueError(f"{name}: y has the shape {list(y.shape)} but x has {len(x)} examples; y must hold one label each.")
        if y.dtype.kind not in "biu":
            raise ValueError(f"{name}: y has the type {y.dtype}; labels must be integers.")
    bad, first, place = 0, -1, ""
    low, high = np.inf, -np.inf
    for start, part in dataset.chunks():
        finite = np.isfinite(part).reshape(len(part), -1)
        if not finite.all():
            if first < 0:
                row = int(np.argmax(~finite.all(1)))
                first, place = start + row, _value_name(dataset, int(np.argmax(~finite[row])), ", ")
            bad += int(np.count_nonzero(~finite))
        elif not bad:
            low, high = min(low, float(part.min())), max(high, float(part.max()))
    if bad:
        raise ValueError(f"{name}: x has {bad} values that are NaN or Inf, the first in example {first}{place}; remove or fill them.")
    if max(-low, high) > FLOAT32_MAX:
        raise ValueError(f"{name}: x has values as large as {max(-low, high):.3g}, too large for 32-bit numbers; divide them first.")
    if low == high and not constant:
        raise ValueError(f"{name}: every value of x is {low:g}; constant data has no clusters.")
    return dataset


def of_unit_length(x: np.ndarray) -> np.ndarray:
    """Vectors [n, d] each divided by its length, float32; one of length 0 stays."""
    x = np.asarray(x, np.float32)
    return x / np.sqrt(np.maximum(np.square(x).sum(1, keepdims=True), LEAST_SQUARE))


def scaled(x: np.ndarray, scale: np.ndarray, shift: np.ndarray, unit_length: bool) -> np.ndarray:
    """Raw examples [n, *shape] as `input_scaling` says, of the same shape."""
    flat = x.reshape(len(x), -1)
    return ((of_unit_length(flat) if unit_length else flat) * scale + shift).reshape(x.shape)


def input_scaling(dataset: Dataset, method: str = "auto", unit_length: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """scale and shift such that x * scale + shift suits the model, each [] or [d] float32.

    Args:
      dataset: the training data; no label is looked at.
      method: "none"; "minmax", one scale for all values, to [0, 1]; "standardize", every dimension
        to mean 0 and standard deviation 1; "center", every dimension to mean 0, and all by one scale to variances of 1 on average;
        "auto": "center" with `unit_length`, else by `max_value` where it is known, nothing for
        floats within [0, 1], "minmax" for other images, "standardize" for other vectors.
      unit_length: x is what `of_unit_length` makes of vectors.

    Raises:
      ValueError: unknown method, or a dimension whose values differ too little beside their size for float32.
    """
    if method not in ("auto", "none", "minmax", "center", "standardize"):
        raise ValueError(f"scaling is {method!r}; it must be auto, none, minmax, center or standardize.")
    one, zero = np.float32(1.0), np.float32(0.0)
    if method == "none":
        return np.asarray(one), np.asarray(zero)
    if method == "auto" and unit_length:
        method = "center"
    if method == "auto" and dataset.max_value:
        return np.asarray(np.float32(1.0 / dataset.max_value)), np.asarray(zero)
    if method in ("auto", "minmax"):
        low, high = _extremes(dataset, unit_length)
        if method == "auto" and dataset.x.dtype.kind == "f" and low >= 0 and high <= 1:
            return np.asarray(one), np.asarray(zero)
        if method == "minmax" or dataset.is_image:
            width = (high - low) or 1.0
            return np.asarray(np.float32(1 / width)), np.asarray(np.float32(-low / width))
    from sklearn.preprocessing import StandardScaler

    scaler: Any = StandardScaler()  # gives a constant dimension the scale 1
    for part in _parts(dataset, unit_length):
        scaler.partial_fit(part)
    for column in np.flatnonzero((scaler.var_ > 0) & (np.abs(scaler.mean_) > FLOAT32_SPAN * scaler.scale_)):
        what = _value_name(dataset, int(column)) or f"value {column} of the examples"
        raise ValueError(
            f"{dataset.name}: {what} is about {scaler.mean_[column]:.6g} and differs by about {scaler.scale_[column]:.2g} only, "
            "which 32-bit numbers blur; subtract an offset from it first."
        )
    scale = np.sqrt(scaler.var_.mean()) or 1.0 if method == "center" else scaler.scale_
    return np.asarray(1 / scale, np.float32), (-scaler.mean_ / scale).astype(np.float32)


def _parts(dataset: Dataset, unit_length: bool) -> Iterator[np.ndarray]:
    """The examples flattened, piece by piece, [at most CHUNK, d]."""
    for _, part in dataset.chunks():
        flat = part.reshape(len(part), -1)
        yield of_unit_length(flat) if unit_length else flat


def _value_name(dataset: Dataset, index: int, before: str = "") -> str:
    """What a value of the vectors is called, as "column age", with `before` before it; "" where they have no names."""
    names = dataset.origin.feature_names
    if len(names) != np.prod(dataset.shape):
        return ""
    return f"{before}{names[index] if names[index].startswith('column ') else f'column {names[index]}'}"


def value_range(dataset: Dataset) -> list[float]:
    """What black and white are in the data's units: 0 and the format's largest value, or the lowest and highest there are."""
    if dataset.x.dtype == np.uint8 or dataset.max_value:
        return [0.0, dataset.max_value or 255.0]
    return list(_extremes(dataset))


def _extremes(dataset: Dataset, unit_length: bool = False) -> tuple[float, float]:
    pairs = [(float(part.min()), float(part.max())) for part in _parts(dataset, unit_length)]
    return min(low for low, _ in pairs), max(high for _, high in pairs)
