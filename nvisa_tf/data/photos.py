"""Photos that a backbone makes vectors of: where they are, the vectors as a data set, and small pictures to show."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nvisa_tf.config.datasets import DATASETS
from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.dataset import Dataset, Origin
from nvisa_tf.io.files import description_of, sha256_of

if TYPE_CHECKING:
    from nvisa_tf.backbones import Backbone, Extraction, Photos

FLOAT_WHITE = 1.0  # of images of floats, whose format says nothing
BATCH = 32  # photos at a time
GREY = 128  # of a picture that is not there any more


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
        source = path
    elif (kind := kind_of(path)) == "folder":
        return FolderPhotos(path, classes, config.resizing)
    elif kind == "array":
        whole, source = read_examples(path, DataConfig(dataset=path)), str(Path(path).resolve())
    else:
        raise ValueError(f"{path} is a table; a backbone needs photos: a folder, or an array of images.")
    about = {"y": None if whole.y is None else whole.y.tolist(), "class_names": list(whole.origin.class_names), "n_train": whole.n_train}
    return ArrayPhotos(whole.name, whole.x, whole.max_value or FLOAT_WHITE, about, config.resizing, source)


def features_of(config: DataConfig, tell: Callable[[str], None], backbone: Backbone | None = None) -> Dataset:
    """The vectors that a backbone makes of a folder's, a file's or a known data set's photos; made once, then taken from the cache.

    Args:
      config: its dataset, data_dir, resize, and what it says of the backbone count.
      tell: is told how far it is.
      backbone: the one that config names, where it is loaded.

    Raises:
      ValueError, FileNotFoundError: as `photos_of`, `nvisa_tf.backbones.load_backbone` and `nvisa_tf.backbones.extract`.
    """
    from nvisa_tf.data.array_files import read_array

    found = extraction_of(config, tell, backbone)
    return dataclasses.replace(read_array(str(found.path)), name=Path(config.dataset).name or config.dataset)


def extraction_of(config: DataConfig, tell: Callable[[str], None], backbone: Backbone | None = None, batch_size: int = BATCH) -> Extraction:
    """Where these vectors are; arguments and errors as `features_of`, and batch_size: photos at a time."""
    from nvisa_tf.backbones import extract, load_backbone

    photos = photos_of(config)
    if backbone is None:
        backbone = load_backbone(config.backbone, config.backbone_weights, config.backbone_pixels, config.backbone_size)
    return extract(photos, backbone, tell, batch_size)


def by_run(config: DataConfig, about: Mapping[str, Any], dataset: str, data_dir: str = "") -> DataConfig:
    """What it takes to make vectors of other photos as those of a run.

    Args:
      config: the run's.
      about: the run's `Origin.backbone`.
      dataset: the photos.
      data_dir: tensorflow-datasets folder, or "".
    """
    made = about["made_by"]
    return dataclasses.replace(
        config,
        dataset=dataset,
        data_dir=data_dir,
        backbone=made["name"],
        backbone_weights=made["weights"],
        backbone_pixels=made["pixels"],
        backbone_size=made["side"],
        resize=about["resize"],
        image_shape=(),
    )


def described(path: str, dataset: Dataset) -> Dataset:
    """A .npy file's examples with what a file of features says of them beside it: names, labels, split, backbone, and pictures.

    Args:
      path: of the .npy file.
      dataset: its examples.

    Raises:
      ValueError: what lies beside it is of another file.
    """
    file = description_of(path)
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
            backbone={**about["backbone"], "resize": about["resize"], "made_by": about["made_by"]},
        )
        where = DataConfig(dataset=about["of"], resize=about["resize"])
        pictures = Pictures(where, about["photos"]) if about["of"] else None
        n_train, digest = int(about.get("n_train") or 0), about["sha256"]
        top = None if y is None else int(y.max(initial=0))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}, which describes {path}, is damaged; make the features again.") from error
    if any(values is not None and len(values) != about["n"] for values in (ids, rows, y)):
        raise ValueError(f"{file}, which describes {path}, has not as many names or labels as examples; make the features again.")
    if not 0 <= n_train <= about["n"] or (top is not None and origin.class_names and top >= len(origin.class_names)):
        raise ValueError(f"{file}, which describes {path}, has labels or a split that cannot be; make the features again.")
    if dataset.x.shape != shape:
        raise ValueError(
            f"{file} describes {shape[0]} examples of {shape[1]} values, and {path} has {list(dataset.x.shape)}; make the features again, "
            "or take that file away."
        )
    status = os.stat(path)
    if _sha256_of(path, status.st_mtime_ns, status.st_size) != digest:
        raise ValueError(
            f"{path} is not the file that {file} describes, so its names and labels may be of others; make the features again, "
            "or take that file away."
        )
    return dataclasses.replace(dataset, y=y, ids=ids, rows=rows, origin=origin, n_train=n_train, pictures=pictures)


@functools.lru_cache(maxsize=8)
def _sha256_of(path: str, _changed: int, _size: int) -> str:
    """Kept while the file is as it was, as one command may read it several times."""
    return sha256_of(path)


class Pictures:
    """Small pictures of the photos that vectors were made of, looked up where these were then.

    Args:
      config: its dataset and resize count.
      fingerprint: of the photos then, `Photos.fingerprint`.
    """

    def __init__(self, config: DataConfig, fingerprint: str) -> None:
        self._config, self._fingerprint = config, fingerprint

    @property
    def are_there(self) -> bool:
        """Whether the photos, as a whole, still are."""
        return self._config.dataset in DATASETS or Path(self._config.dataset).exists()

    @functools.cached_property
    def _photos(self) -> Photos:
        return photos_of(self._config)

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {self._photos.name_of(place): place for place in range(len(self._photos))}

    def remark(self) -> str:
        """A sentence where the photos, as a whole, are gone or have changed; else ""."""
        where = self._config.dataset
        if not self.are_there:
            return (
                f"The photos are no longer in {where}, so there are no pictures of them; make the features again from where they are now."
            )
        if self._photos.fingerprint() != self._fingerprint:
            return f"The photos in {where} are not as they were when their features were made; some pictures may be missing or of others."
        return ""

    def read(self, place: int, name: str, shape: tuple[int, int, int]) -> np.ndarray:
        """One of them, uint8 [H, W, 3]; grey where it is not there any more.

        Args:
          place: among the photos, where there are as many as then.
          name: of its file, where it has one.
          shape: [H, W, 3].
        """
        from nvisa_tf.io.images import NotAnImageError

        photos: Photos = self._photos
        now = place if place < len(photos) and photos.name_of(place) == name else self._places.get(name)
        try:
            if now is not None:
                return photos.read(now, shape).values
        except NotAnImageError:
            pass  # it was one when the vectors were made
        return np.full(shape, GREY, np.uint8)

    def read_all(self, places: np.ndarray, names: np.ndarray, shape: tuple[int, int, int]) -> list[np.ndarray]:
        """Several of them, decoded beside each other; arguments as `read`."""
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            return list(pool.map(lambda place, name: self.read(int(place), str(name), shape), places, names))
