"""Vectors that a backbone makes of photos in memory, or of image files that are named one by one; nothing is kept but the network."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.dataset import from_array
from nvisa_tf.data.photos import BATCH, FLOAT_WHITE

if TYPE_CHECKING:
    from nvisa_tf.backbones import Backbone


def features_in_memory(x: Any, backbone: Backbone, resizing: str) -> np.ndarray:
    """The vectors of photos, float32 [n, F].

    Args:
      x: images [n, h, w], [n, h, w, 1] or [n, h, w, 3], bytes, or floats from 0 to 1; or paths.
      backbone: what makes them.
      resizing: how they come to another aspect ratio, of `io.images.RESIZE`.

    Raises:
      ValueError: no images, images of several sizes, a file that cannot be read as one, or features that are not finite.
    """
    from nvisa_tf.backbones.extraction import check_finite
    from nvisa_tf.backbones.sources import ArrayPhotos
    from nvisa_tf.io.images import load_image

    paths = _paths(x)
    read: Callable[[int], np.ndarray]
    if paths:
        n = len(paths)

        def read(place: int) -> np.ndarray:
            return load_image(paths[place], backbone.shape, resize=resizing)
    else:
        whole = from_array("X", _images(x))
        photos = ArrayPhotos("X", whole.x, whole.max_value or FLOAT_WHITE, {}, resizing)
        n = len(photos)

        def read(place: int) -> np.ndarray:
            return photos.read(place, backbone.shape).values

    batches = (range(start, min(start + BATCH, n)) for start in range(0, n, BATCH))
    found = np.concatenate([backbone.features(np.stack([read(place) for place in batch])) for batch in batches])
    check_finite(found, backbone, [str(path) for path in paths] or [f"X[{place}]" for place in range(n)])
    return found


def _paths(x: Any) -> list[Any]:
    """X as paths of files; [] where it has images."""
    if isinstance(x, (str, os.PathLike)):
        raise ValueError(f"X is one path, {os.fspath(x)}; give a list of the paths of image files.")
    x = x.to_numpy() if hasattr(x, "to_numpy") else x
    if isinstance(x, np.ndarray) and (x.dtype.kind not in "UO" or x.ndim != 1):
        return []
    if not isinstance(x, (Sequence, np.ndarray)):
        return []
    named = [isinstance(one, (str, os.PathLike)) for one in x]
    if any(named) and not all(named):
        raise ValueError("X has paths and other things; give paths alone, or images alone.")
    return list(x) if any(named) else []


def _images(x: Any) -> Any:
    """X as one array, where it has images; ValueError where these are none, or of several sizes."""
    if hasattr(x, "__len__") and not len(x):
        raise ValueError("X has no images; a backbone needs at least one.")
    if isinstance(x, np.ndarray) and x.dtype.kind != "O":
        return x
    try:
        return np.asarray([np.asarray(one) for one in x] if isinstance(x, (Sequence, np.ndarray)) else x)
    except ValueError as error:
        raise ValueError("X has images of several sizes; bring them to one, or give the paths of their files.") from error


def load_again(about: Mapping[str, Any], given: str) -> Backbone:
    """The backbone that `about` tells of, by the absolute path of then, or where that is gone by the one that was given.

    Args:
      about: of `Backbone.about`, with its `loaded_by` as "made_by".
      given: the name or path that a person gave.

    Raises:
      ValueError: it is another one now; and as `nvisa_tf.backbones.load_backbone`.
      FileNotFoundError: as `load_backbone`.
    """
    from nvisa_tf.backbones.identity import difference

    made = dict(about["made_by"])
    if Path(made["name"]).is_absolute() and not Path(made["name"]).exists():
        made["name"] = given
    backbone = loaded(made["name"], made["weights"], made["pixels"], made["side"])
    if different := difference(backbone.about(), about):
        raise ValueError(f"{made['name']} {different} than when the estimator was fitted; put the one of then in place, or fit again.")
    return backbone


def load_for(config: DataConfig) -> Backbone:
    """The backbone that a configuration names; errors as `nvisa_tf.backbones.load_backbone`."""
    return loaded(config.backbone, config.backbone_weights, config.backbone_pixels, config.backbone_size)


def loaded(name: str, weights: str, pixels: str, side: int) -> Backbone:
    """`load_backbone`, of which the last two are kept, while their files are as they were."""
    files = [Path(path).stat() for path in (name, weights) if path and Path(path).is_file()]
    return _loaded(name, weights, pixels, side, tuple((file.st_mtime_ns, file.st_size) for file in files))


@functools.lru_cache(maxsize=2)
def _loaded(name: str, weights: str, pixels: str, side: int, _: tuple[tuple[int, int], ...]) -> Backbone:
    from nvisa_tf.backbones import load_backbone

    return load_backbone(name, weights, pixels, side)
