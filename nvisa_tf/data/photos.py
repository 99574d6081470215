"""Data sets as photos that a backbone makes features of, and files of such features as data sets."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nvisa_tf.config.datasets import DATASETS
from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.dataset import Dataset, Origin

if TYPE_CHECKING:
    from nvisa_tf.backbones import Photos

FLOAT_WHITE = 1.0  # of images of floats, whose format says nothing


def photos_of(config: DataConfig) -> Photos:
    """The photos in a folder, in an array file, or of a data set known by name, to be read at any size.

    Args:
      config: its dataset, data_dir and resize count.

    Raises:
      ValueError: what is no images, or a table.
      FileNotFoundError: no such file or folder.
    """
    from nvisa_tf.backbones.sources import ArrayPhotos, FolderPhotos
    from nvisa_tf.data.files import kind_of, read_examples
    from nvisa_tf.data.folders import classes
    from nvisa_tf.data.loaders import load_splits

    path = config.dataset
    if path in DATASETS:
        splits = load_splits(DataConfig(dataset=path, data_dir=config.data_dir))
        train, test = splits.train, splits.test
        y = None if train.y is None or test.y is None else np.concatenate([train.y, test.y])
        whole = Dataset(train.name, np.concatenate([train.x, test.x]), y, train.max_value, n_train=len(train))
    elif (kind := kind_of(path)) == "folder":
        return FolderPhotos(path, classes, config.resize)
    elif kind == "array":
        whole = read_examples(path, DataConfig(dataset=path))
    else:
        raise ValueError(f"{path} is a table; a backbone needs photos: a folder, or an array of images.")
    about = {"y": None if whole.y is None else whole.y.tolist(), "class_names": list(whole.origin.class_names), "n_train": whole.n_train}
    return ArrayPhotos(whole.name, whole.x, whole.max_value or FLOAT_WHITE, about, config.resize)


def described(path: str, dataset: Dataset) -> Dataset:
    """A .npy file's examples with what a file of features says of them beside it: names, labels, split, and the backbone.

    Args:
      path: of the .npy file.
      dataset: its examples.

    Raises:
      ValueError: what lies beside it is of another file.
    """
    file = Path(f"{path}.json")
    if not file.is_file():
        return dataset
    try:
        about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(about, dict) or "backbone" not in about:
            return dataset  # of something else
        shape = (about["n"], about["width"])
        ids, rows, y = (None if about.get(name) is None else np.array(about[name]) for name in ("ids", "rows", "y"))
        origin = Origin(
            id_name="file" if ids is not None else "row",
            class_names=tuple(about["class_names"]),
            left_out=tuple((name, why) for name, why in about["left_out"]),
            remarks=tuple(about["remarks"]),
            backbone={**about["backbone"], "resize": about["resize"]},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}, which describes {path}, is damaged; make the features again.") from error
    if dataset.x.shape != shape:
        raise ValueError(
            f"{file} describes {shape[0]} examples of {shape[1]} values, and {path} has {list(dataset.x.shape)}; make the features again, "
            "or take that file away."
        )
    return dataclasses.replace(dataset, y=y, ids=ids, rows=rows, origin=origin, n_train=about.get("n_train") or 0)
