"""Array files (.npy, .npz) as data sets."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from nvisa_tf.data.dataset import Dataset, from_array

SPARSE = {"format", "shape", "data"}  # what scipy.sparse.save_npz writes, among others


def read_array(path: str) -> Dataset:
    """The examples (and labels) in a .npy or .npz file, unchecked; a .npy is memory-mapped, and a sparse matrix by SciPy stays sparse.

    Raises:
      ValueError: not an array file, object arrays (they are never unpickled), or no key x; one sentence says which.
    """
    name, y = Path(path).name, None
    try:
        if path.lower().endswith(".npz"):
            archive = np.load(path, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError(f"{path} holds a single array; name it .npy.")
            with archive:
                if set(archive.files) >= SPARSE and "x" not in archive:
                    return from_array(name, _sparse(path))
                if "x" not in archive:
                    raise ValueError(
                        f"{path} has no array x (it has {', '.join(archive.files) or 'none'}); save it with np.savez(path, x=...)."
                    )
                x = archive["x"]
                y = archive.get("y")
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
    return from_array(name, x, y)


def _sparse(path: str) -> object:
    from scipy import sparse

    matrix = sparse.load_npz(path)
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)  # indices out of range would be read from elsewhere in memory
    return matrix


def _begins_as_array(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(6) in (b"\x93NUMPY", b"PK\x03\x04\x14\x00", b"PK\x03\x04-\x00")
