"""The four image sets of results/criterion.md that no package brings, as .npz files with `x` [n, h, w] and `y` [n].

    python benchmarks/image_sets.py --from downloads --output sets

Fetch into `downloads`, with these names:

- `t10k-images-idx3-ubyte.gz`, `t10k-labels-idx1-ubyte.gz`: the test split of github.com/vinayprabhu/Kannada_MNIST
- `usps.h5`: data/usps.h5 of github.com/niuers/Learning-From-Data-A-Short-Course
- `COIL20.mat`: data/COIL20.mat of github.com/hyzhang98/AdaGAE
- `Dataset/`: that folder of github.com/ardamavi/Sign-Language-Digits-Dataset; its photographs are made grey, 32 x 32
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from scipy.io import loadmat

SIDE = 32  # of the photographs of signed digits


def kannada(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """10,000 handwritten Kannada digits, 28 x 28, bytes (Prabhu, arXiv 1908.01242)."""
    images, labels = (gzip.decompress((folder / f"t10k-{name}-ubyte.gz").read_bytes()) for name in ("images-idx3", "labels-idx1"))
    return np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(labels, np.uint8, offset=8)


def usps(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """9,298 digits of postal codes, both splits, 16 x 16, in [0, 1] (Hull, IEEE TPAMI 1994)."""
    with h5py.File(folder / "usps.h5") as file:
        x, y = (np.concatenate([file[f"{split}/{name}"][:] for split in ("train", "test")]) for name in ("data", "target"))
    return x.reshape(-1, 16, 16).astype(np.float32), y.astype(int)


def coil20(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """1,440 views of 20 objects, 32 x 32, in [0, 255] (Nene et al., 1996)."""
    found = loadmat(folder / "COIL20.mat")
    return found["X"].reshape(-1, 32, 32).astype(np.float32), found["Y"].ravel().astype(int)


def sign_digits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """2,062 photographs of digits signed by hand, grey, `SIDE` x `SIDE`, bytes."""
    files = [(file, digit) for digit in range(10) for file in sorted((folder / "Dataset" / str(digit)).iterdir())]
    images = [np.asarray(Image.open(file).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)) for file, _ in files]
    return np.array(images), np.array([digit for _, digit in files])


SETS: tuple[Callable[[Path], tuple[np.ndarray, np.ndarray]], ...] = (kannada, usps, coil20, sign_digits)


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="folder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    flags = parser.parse_args()
    flags.output.mkdir(parents=True, exist_ok=True)
    for make in SETS:
        x, y = make(flags.folder)
        np.savez_compressed(flags.output / f"{make.__name__}.npz", x=x, y=y)
        print(f"{make.__name__}: {x.shape}, from {x.min():g} to {x.max():g}, classes {np.bincount(y).tolist()}", flush=True)


if __name__ == "__main__":
    main()
