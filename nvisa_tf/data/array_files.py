"""Array files (.npy, .npz) as data sets."""

from __future__ import annotations

import dataclasses
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nvisa_tf.data.dataset import Dataset, from_array
from nvisa_tf.data.photos import described

SPARSE = {"format", "shape", "data"}  # what scipy.sparse.save_npz writes, among others


def read_array(path: str) -> Dataset:
    """The examples (and labels) in a .npy or .npz file, unchecked; a .npy is memory-mapped, and a sparse matrix by SciPy stays sparse.

    A .npz file may have its own split, by the keys x_train and x_test, and y_train and y_test; the examples to train on come first then.

    Raises:
      ValueError: not an array file, object arrays (they are never unpickled), or no key x; one sentence says which.
    """
    name, y, n_train = Path(path).name, None, 0
    try:
        if path.lower().endswith(".npz"):
            archive = np.load(path, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError(f"{path} holds a single array; name it .npy.")
            with archive:
                if set(archive.files) >= SPARSE and "x" not in archive:
                    return from_array(name, _sparse(path))
                if "x" in archive:
                    x, y = archive["x"], archive.get("y")
                elif "x_train" in archive and "x_test" in archive:
                    x, y, n_train = _with_split(path, archive)
                else:
                    raise ValueError(
                        f"{path} has no array x (it has {', '.join(archive.files) or 'none'}); save it with np.savez(path, x=...)."
                    )
        else:
            x = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(x, np.ndarray):
                raise ValueError(f"{path} holds several arrays; name it .npz.")
    except ValueError as error:
        if str(error).startswith(path):
            raise
        if _begins_as_array(path) and ("pickle" in str(error) or "Python objects" in str(error)):
            raise ValueError(f"{path} holds pickled objects, which are never loaded; save numbers with np.save or np.savez.") from error
        if "pickle" in str(error):
            raise ValueError(f"{path} is not a NumPy array file; save numbers with np.save or np.savez.") from error
        raise ValueError(f"{path} is damaged or cut off; save it again with np.save or np.savez.") from error
    except PermissionError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; check its permissions.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError) as error:
        raise ValueError(f"{path} is damaged or cut off; save it again with np.save or np.savez.") from error
    dataset = dataclasses.replace(from_array(name, x, y), n_train=n_train)
    return described(path, dataset) if path.lower().endswith(".npy") else dataset


def _with_split(path: str, archive: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None, int]:
    """The examples and labels of both parts of a file with its own split, and how many are to train on."""
    parts = [archive["x_train"], archive["x_test"]]
    shapes = [list(part.shape[1:]) for part in parts]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{path}: an example of x_train has the shape {shapes[0]} and one of x_test {shapes[1]}; they must be the same.")
    _check_alike(path, "x", parts)
    for name, part in zip(("x_train", "x_test"), parts, strict=True):
        if not part.shape or not len(part):
            raise ValueError(f"{path}: {name} has no examples; leave it out and save the other as x.")
    labels = [archive[name] for name in ("y_train", "y_test") if name in archive]
    if len(labels) == 1:
        raise ValueError(f"{path} has only one of y_train and y_test; give both, or neither.")
    if not labels:
        return np.concatenate(parts), None, len(parts[0])
    _check_alike(path, "y", labels)
    for name, examples, values in zip(("train", "test"), parts, labels, strict=True):
        if values.shape != (len(examples),):
            raise ValueError(f"{path}: x_{name} has {len(examples):,} examples and y_{name} the shape {list(values.shape)}.")
    return np.concatenate(parts), np.concatenate(labels), len(parts[0])


def _check_alike(path: str, key: str, parts: Sequence[np.ndarray]) -> None:
    """Raise ValueError where numbers of one kind would silently become those of another: bytes floats, or numbers text."""
    kinds = [part.dtype.kind for part in parts]
    if kinds[0] != kinds[1]:
        types = [part.dtype.name for part in parts]
        raise ValueError(f"{path}: {key}_train is of type {types[0]} and {key}_test of type {types[1]}; save both as one type.")


def _sparse(path: str) -> object:
    from scipy import sparse

    matrix = sparse.load_npz(path)
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)  # indices out of range would be read from elsewhere in memory
    return matrix


def _begins_as_array(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(6) in (b"\x93NUMPY", b"PK\x03\x04\x14\x00", b"PK\x03\x04-\x00")
