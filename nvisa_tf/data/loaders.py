"""The loaders: those that `config.datasets` registers, files, and what is in memory."""

from __future__ import annotations

import dataclasses
import importlib
import os
import socket
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from nvisa_tf.config.datasets import DATASETS
from nvisa_tf.config.options import AutoFloat, near
from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.dataset import Dataset, Splits, check
from nvisa_tf.data.files import FILES, check_options, ending_of, kind_of, read_examples
from nvisa_tf.data.photos import features_of

DIGITS_TRAIN = 1437  # four fifths of the 1,797, in the file's order
SPLIT_SEED = 0  # the held-out part of a file does not depend on the run's seed
LABELLED_TEST_FRACTION = 0.1  # of a file with labels, which alone can be scored


def load_dataset(
    dataset: Any = "digits",
    y: Any = None,
    *,
    data_dir: str | os.PathLike[str] = "",
    split: str = "train",
    test_fraction: AutoFloat = "auto",
    image_shape: tuple[int, ...] = (),
    resize: str = "auto",
    label: str = "",
    id: str = "",
    columns: Sequence[str] = (),
    drop: Sequence[str] = (),
    header: str = "auto",
    missing: str = "refuse",
    text_columns: str = "auto",
    layer: str = "",
    backbone: str = "",
    backbone_weights: str = "",
    backbone_pixels: str = "",
    backbone_size: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> Splits:
    """Load a data set by name or path, or take one in memory, and split it for training and scoring.

    Args:
      dataset: "digits" (scikit-learn's 1,797 real 8x8 digits), "mnist", "fashion_mnist", "stl10", "cifar10" and "cifar100" (through
        tensorflow-datasets); a path to an array (.npy, .npz with the keys x and, if there are labels, y; or x_train, x_test, y_train and
        y_test), a table (.csv, .tsv, .txt, also .gz; .parquet; .h5ad) or a folder of images; or anything in memory that `as_dataset`
        takes, such as an array, a sparse matrix, a frame or a `tf.data.Dataset`.
      y: labels [n] of data in memory, whole numbers or text.
      data_dir: the tensorflow-datasets folder; empty: TFDS_DATA_DIR, then its own default. A file that is not at its path is
        looked for there by its name, so that a run can be used where its data lie elsewhere.
      split: "train": train on the train split, score on the test split; "all": both on everything.
      test_fraction: the share of a file's or folder's examples that is held out, drawn with a fixed seed; "auto": 0.1 where there are
        labels, else 0.
      image_shape: [h, w] or [h, w, 3], what the images of a folder are brought to.
      resize: how they are: "pad", "crop" or "stretch"; "auto": "crop" for a backbone, else "pad".
      backbone, backbone_weights, backbone_pixels, backbone_size: the network that makes vectors of photos, as for
        `nvisa_tf.backbones.load_backbone`; "": none.
      tell: is told how far a backbone is.
      label: a table's column of labels; empty: one that is named so; "none": no column.
      id: a table's column of identifiers; empty: one that is named so; "none": no column.
      columns: a table's columns to cluster by; empty: all but label and identifiers.
      drop: a table's columns to leave out.
      header: "auto", "yes" or "no": whether a table's first line has the columns' names.
      missing: a table's missing values: "refuse", "drop" the row, or fill in the column's "mean" or "median".
      text_columns: a table's columns of text: "auto", one-hot up to 20 different values; "drop".
      layer: which layer of AnnData; empty: X.

    Raises:
      ValueError: no such data set, or data that cannot be used; one sentence says why.
      FileNotFoundError: no such file, or a data set that is not prepared and cannot be downloaded.
    """
    named = isinstance(dataset, (str, os.PathLike))
    config = DataConfig(
        dataset=os.fspath(dataset) if named else "X",
        data_dir=os.fspath(data_dir),
        split=split,
        test_fraction=test_fraction,
        image_shape=image_shape,
        resize=resize,
        label=label,
        id=id,
        columns=tuple(columns),
        drop=tuple(drop),
        header=header,
        missing=missing,
        text_columns=text_columns,
        layer=layer,
        backbone=backbone,
        backbone_weights=backbone_weights,
        backbone_pixels=backbone_pixels,
        backbone_size=backbone_size,
    )
    if named and y is not None:
        raise ValueError("y is for data in memory; the labels of a file are in it, as the key or the column y.")
    if named:
        return load_splits(config, tell=tell)
    if backbone:
        raise ValueError("A backbone makes vectors of the photos in a folder or a file; give a path, or take nvisa_tf.backbones.")
    from nvisa_tf.data.memory import as_dataset

    return _splits(config, *_divided(as_dataset(dataset, y, config), config))


def load_splits(config: DataConfig, table: Mapping[str, Any] | None = None, tell: Callable[[str], None] = lambda text: None) -> Splits:
    """`load_dataset` with its arguments in a `DataConfig`; `table`, a run's `Origin.table`, has its columns found again by name."""
    dataset = config.dataset
    if dataset in DATASETS and config.backbone:
        return _splits(config, *_divided(features_of(config, tell), config))
    if dataset in DATASETS:
        check_options(config, "named")
        return _splits(config, *_registered(dataset)(config))
    if os.sep not in dataset and not Path(dataset).exists() and not ending_of(dataset):
        raise ValueError(f"There is no data set {dataset!r}{near(dataset, DATASETS)}; a file of your own is a path to {FILES}.")
    return _splits(config, *_file(config, table, tell))


def _splits(config: DataConfig, train: Dataset, test: Dataset) -> Splits:
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


def _file(config: DataConfig, table: Mapping[str, Any] | None, tell: Callable[[str], None]) -> tuple[Dataset, Dataset]:
    moved = Path(config.data_dir, Path(config.dataset).name) if config.data_dir else None
    path = str(moved) if moved and moved.exists() and not Path(config.dataset).exists() else config.dataset
    if config.backbone:
        return _divided(features_of(dataclasses.replace(config, dataset=path), tell), config)
    if Path(path).exists():
        check_options(config, kind_of(path))
    return _divided(read_examples(path, config, table), config)


def _divided(whole: Dataset, config: DataConfig) -> tuple[Dataset, Dataset]:
    """What to train on and what is held out; the same where nothing is."""
    if whole.n_train and config.test_fraction != "auto":
        raise ValueError(f"{whole.name} has its own split, x_train and x_test, so test_fraction would change nothing; leave it out.")
    if config.split == "all":
        return whole, whole
    if whole.n_train:
        return whole.take(slice(0, whole.n_train)), whole.take(slice(whole.n_train, None))
    fraction = (0.0 if whole.y is None else LABELLED_TEST_FRACTION) if config.test_fraction == "auto" else config.test_fraction
    if fraction == 0:
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


def load_stl10(config: DataConfig) -> tuple[Dataset, Dataset]:
    """STL-10 by tensorflow-datasets: 5,000 and 8,000 photos of 96 x 96 in colour; the 100,000 without labels are left out."""
    return _tfds("stl10", "ai.stanford.edu", config)


def load_cifar10(config: DataConfig) -> tuple[Dataset, Dataset]:
    """CIFAR-10 by tensorflow-datasets: 50,000 and 10,000 photos of 32 x 32 in colour."""
    return _tfds("cifar10", "www.cs.toronto.edu", config)


def load_cifar100(config: DataConfig) -> tuple[Dataset, Dataset]:
    """CIFAR-100 by tensorflow-datasets: 50,000 and 10,000 photos of 32 x 32 in colour, with its 100 fine classes."""
    return _tfds("cifar100", "www.cs.toronto.edu", config)


def _tfds(name: str, host: str, config: DataConfig) -> tuple[Dataset, Dataset]:
    """Train and test split of images, grey ones without an axis of channels; `host` is where its download is from."""
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
    images = [p["image"][..., 0] if p["image"].shape[-1] == 1 else p["image"] for p in parts]
    train, test = (Dataset(name, x, p["label"].astype(np.int64), max_value=255.0) for x, p in zip(images, parts, strict=True))
    return train, test


def _registered(name: str) -> Callable[[DataConfig], tuple[Dataset, Dataset]]:
    module, function = DATASETS[name].loader.split(":")
    return getattr(importlib.import_module(module), function)
