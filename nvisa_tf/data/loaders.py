"""The loaders: digits, MNIST and Fashion-MNIST, which `config.datasets` registers, and files."""

from __future__ import annotations

import csv
import importlib
import os
import socket
import urllib.request
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from nvisa_tf.config.datasets import DATASETS
from nvisa_tf.config.options import AutoFloat, near
from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.dataset import Dataset, Splits, check, from_array

DIGITS_TRAIN = 1437  # four fifths of the 1,797, in the file's order
SPLIT_SEED = 0  # the held-out part of a file does not depend on the run's seed
LABELLED_TEST_FRACTION = 0.1  # of a file with labels, which alone can be scored


def load_dataset(
    dataset: str | os.PathLike[str] = "digits",
    *,
    data_dir: str | os.PathLike[str] = "",
    split: str = "train",
    test_fraction: AutoFloat = "auto",
    image_shape: tuple[int, ...] = (),
) -> Splits:
    """Load a data set by name or path and split it for training and scoring.

    Args:
      dataset: "digits" (scikit-learn's 1,797 real 8x8 digits), "mnist", "fashion_mnist" (through
        tensorflow-datasets), or a path to .npy or .npz (keys x and, if there are labels, y), to .csv, or to a folder of images.
      data_dir: the tensorflow-datasets folder; empty: TFDS_DATA_DIR, then its own default. A file that is not at its path is
        looked for there by its name, so that a run can be used where its data lie elsewhere.
      split: "train": train on the train split, score on the test split; "all": both on everything.
      test_fraction: the share of a file's or folder's examples that is held out, drawn with a fixed seed; "auto": 0.1 where there are
        labels, else 0.
      image_shape: [h, w] or [h, w, 3], what the images of a folder are brought to.

    Raises:
      ValueError: no such data set, or data that cannot be used; one sentence says why.
      FileNotFoundError: no such file, or a data set that is not prepared and cannot be downloaded.
    """
    config = DataConfig(
        dataset=os.fspath(dataset), data_dir=os.fspath(data_dir), split=split, test_fraction=test_fraction, image_shape=image_shape
    )
    return load_splits(config)


def load_splits(config: DataConfig) -> Splits:
    """`load_dataset` with its arguments in a `DataConfig`."""
    dataset = config.dataset
    if config.image_shape and (dataset in DATASETS or Path(dataset).is_file()):
        raise ValueError(f"image_shape is for a folder of images, and {dataset} is none; leave it out.")
    if dataset in DATASETS:
        train, test = _registered(dataset)(config)
    elif dataset.endswith((".npy", ".npz", ".csv")) or os.sep in dataset or Path(dataset).exists():
        train, test = _file(config)
    else:
        raise ValueError(f"There is no data set {dataset!r}{near(dataset, DATASETS)}; a file of your own is a path to .npy, .npz or .csv.")
    if config.split == "all" and test is not train:
        both = None if train.y is None or test.y is None else np.concatenate([train.y, test.y])
        train = test = Dataset(train.name, np.concatenate([train.x, test.x]), both, train.max_value)
    if test is train:
        return Splits(check(train), train, f"trained and scored on all {len(train):,} examples")
    description = f"trained on {len(train):,} examples, scored on {len(test):,} held out"
    return Splits(check(train), check_same_kind(train, test), description)


def check_same_kind(train: Dataset, test: Dataset) -> Dataset:
    """`test`, whose rank, labels and finiteness were checked with the whole it came from."""
    if train.shape != test.shape:
        raise ValueError(f"{train.name}: train examples have the shape {list(train.shape)}, test examples {list(test.shape)}.")
    return test


def read_examples(path: str, config: DataConfig, table: Mapping[str, Any] | None = None, constant: bool = False) -> Dataset:
    """The examples in a folder of images, a table or an array file, checked.

    Args:
      path: of the file or folder.
      config: how to take them; what it says of the data set's name and split is not looked at.
      table: `Origin.table` of the data that a model was trained on, whose columns are to be made again; None: as `config` says.
      constant: allow data of one value, as `check` does.

    Raises:
      FileNotFoundError: no such file.
      ValueError: data that cannot be used; one sentence says why.
    """
    if Path(path).is_dir():
        from nvisa_tf.data.folders import read_folder  # Pillow, which nothing else here needs

        return check(read_folder(path, config), constant)
    return read_array_file(path, constant)


def read_array_file(path: str, constant: bool = False) -> Dataset:
    """The examples (and labels) in a .npy, .npz or .csv file, checked; a .npy is memory-mapped.

    A .csv file has numbers alone, a row an example, and may begin with a line of names; a column named y holds labels.

    Args:
      path: of the file.
      constant: allow data of one value, as `check` does.

    Raises:
      FileNotFoundError: no such file.
      ValueError: not an array file, object arrays (they are never unpickled), no key x, or bad data.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"There is no file {path}; give the path of a .npy, .npz or .csv file (of a run's data that moved, the folder by --data-dir)."
        )
    y = None
    if str(path).endswith(".csv"):
        return check(Dataset(Path(path).name, *_table(path)), constant=constant)
    try:
        if str(path).endswith(".npz"):
            archive = np.load(path, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError(f"{path} holds a single array; name it .npy.")
            with archive:
                if "x" not in archive:
                    raise ValueError(
                        f"{path} has no array x; it has {', '.join(archive.files) or 'none'}. Save it with np.savez(path, x=...)."
                    )
                x = archive["x"]
                y = archive.get("y")
        else:
            x = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(x, np.ndarray):
                raise ValueError(f"{path} holds several arrays; name it .npz.")
    except ValueError as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            reason = "holds pickled objects, which are never loaded" if _is_array_file(path) else "is not a NumPy array file"
            raise ValueError(f"{path} {reason}; save a numeric array with np.save or np.savez.") from error
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} cannot be read as a NumPy array file: {error}.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as a NumPy array file: {error}.") from error
    return check(from_array(Path(path).name, x, y), constant=constant)


def _table(path: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Vectors, float64 [n, d], and labels, integers [n], or None, of a .csv file."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of a table without rows, which is refused
            names = next(csv.reader(file), [])
            numbers = [_is_number(name) for name in names]  # one that is none makes it a line of names
            values = np.loadtxt(path, delimiter=",", skiprows=0 if all(numbers) else 1, ndmin=2, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a table of numbers: {error}.") from error
    if all(numbers) or "y" not in names or not values.size:
        return values, None
    y = values[:, names.index("y")]
    if not np.array_equal(y, y.round()):
        raise ValueError(f"{path}: the column y has values that are not whole; labels must be integers.")
    return np.delete(values, names.index("y"), 1), y.astype(np.int64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_array_file(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(6) in (b"\x93NUMPY", b"PK\x03\x04\x14\x00", b"PK\x03\x04-\x00")


def _file(config: DataConfig) -> tuple[Dataset, Dataset]:
    moved = Path(config.data_dir, Path(config.dataset).name) if config.data_dir else None
    path = str(moved) if moved and moved.exists() and not Path(config.dataset).exists() else config.dataset
    whole = read_examples(path, config)
    fraction = (0.0 if whole.y is None else LABELLED_TEST_FRACTION) if config.test_fraction == "auto" else config.test_fraction
    if config.split == "all" or fraction == 0:
        return whole, whole
    n_test = max(1, round(len(whole) * fraction))
    if n_test >= len(whole):
        raise ValueError(f"{whole.name}: {len(whole)} example(s) cannot be split; use --split all.")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(whole))
    return whole.take(np.sort(order[n_test:])), whole.take(np.sort(order[:n_test]))


def load_digits(config: DataConfig) -> tuple[Dataset, Dataset]:
    """scikit-learn's 1,797 real 8x8 digits, bytes up to 16, the first `DIGITS_TRAIN` to train on."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    whole = Dataset("digits", bunch.images.astype(np.uint8), bunch.target.astype(np.int64), max_value=16.0)
    return whole.take(slice(0, DIGITS_TRAIN)), whole.take(slice(DIGITS_TRAIN, None))


def _check_reachable(host: str) -> None:
    """Raise OSError at once where `host` cannot be reached; the download itself retries for minutes."""
    if not urllib.request.getproxies():
        socket.create_connection((host, 80), timeout=10).close()


def load_mnist(config: DataConfig) -> tuple[Dataset, Dataset]:
    """MNIST by tensorflow-datasets: 60,000 and 10,000 images of 28 x 28 bytes."""
    return _tfds("mnist", "storage.googleapis.com", config)


def load_fashion_mnist(config: DataConfig) -> tuple[Dataset, Dataset]:
    """Fashion-MNIST by tensorflow-datasets: 60,000 and 10,000 images of 28 x 28 bytes."""
    return _tfds("fashion_mnist", "fashion-mnist.s3-website.eu-central-1.amazonaws.com", config)


def _tfds(name: str, host: str, config: DataConfig) -> tuple[Dataset, Dataset]:
    """Train and test split of grey images; `host` is where its download is from."""
    import tensorflow_datasets as tfds

    folder = config.data_dir or os.environ.get("TFDS_DATA_DIR") or None
    tfds.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # it warns of folders that it does not find; the refusal says it once
    try:
        builder = tfds.builder(name, data_dir=folder)
        if not builder.is_prepared():
            _check_reachable(host)
            builder.download_and_prepare()
    except Exception as error:
        # tensorflow-datasets lets every network library's own errors through.
        raise FileNotFoundError(
            f"The data set {name} is not prepared in {folder or '~/tensorflow_datasets'} and could not be downloaded "
            f"({type(error).__name__}); connect to the internet once, or point --data-dir or TFDS_DATA_DIR at a prepared folder."
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    parts = [tfds.as_numpy(builder.as_dataset(split=s, batch_size=-1)) for s in ("train", "test")]
    train, test = (Dataset(name, p["image"][..., 0], p["label"].astype(np.int64), max_value=255.0) for p in parts)
    return train, test


def _registered(name: str) -> Callable[[DataConfig], tuple[Dataset, Dataset]]:
    module, function = DATASETS[name].loader.split(":")
    return getattr(importlib.import_module(module), function)
