"""Photos to be read one by one at the size that a backbone takes: of a folder, or of an array in memory or in a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from nvisa_tf.io.image_folders import Tally, find_images, left_out_sentences, without_images
from nvisa_tf.io.images import ImageRead, NotAnImageError, read_image, resized

CHUNK = 1000  # images of an array that are read at a time


class Photos(Protocol):
    """Photos in a fixed order.

    Attributes:
      name: of the folder or data set.
      resize: how they come to another aspect ratio, of `io.images.RESIZE`.
      source: where they are, such as a path, absolute; "" of what is in memory.
    """

    name: str
    resize: str
    source: str

    def __len__(self) -> int:
        """How many, those that cannot be read included."""

    def read(self, place: int, shape: tuple[int, int, int]) -> ImageRead:
        """One photo, its values uint8 [H, W, 3].

        Raises:
          NotAnImageError: it cannot be read.
        """

    def name_of(self, place: int) -> str:
        """What a person calls one photo."""

    def labels(self, places: Sequence[int]) -> dict[str, Any]:
        """What is known of photos but their pixels, plain values: "ids", "y", "class_names", "n_train", where there are any."""

    def fingerprint(self) -> str:
        """What tells these photos from others, SHA-256."""

    def nothing_read(self, left_out: Sequence[tuple[str, str]]) -> str:
        """A sentence for where none could be read; `left_out` as for `remarks`."""

    def remarks(self, tally: Tally, left_out: Sequence[tuple[str, str]]) -> list[str]:
        """Sentences on how they were taken; `tally`: of those that were read; `left_out`: names of those that were not, and why."""


class FolderPhotos:
    """The images in a folder and in the folders within.

    Args:
      path: of the folder.
      classes: gives labels, class names and remarks of files by their parts below the folder.
      resize: how they come to another aspect ratio.

    Raises:
      ValueError: it has no images.
    """

    def __init__(self, path: str, classes: Any, resize: str) -> None:
        self._found, self._classes, self.resize = find_images(path), classes, resize
        self._said: list[str] = []
        self.name, self.source = path, str(Path(path).resolve())
        if not self._found.files:
            raise ValueError(without_images(path, [], self._found.others))

    def __len__(self) -> int:
        """How many files."""
        return len(self._found.files)

    def name_of(self, place: int) -> str:
        """The path below the folder."""
        return self._found.files[place][0].name

    def read(self, place: int, shape: tuple[int, int, int]) -> ImageRead:
        """One photo."""
        file, why = self._found.files[place]
        if why:
            raise NotAnImageError(file.path, why)
        return read_image(file.path, shape, resize=self.resize)

    def labels(self, places: Sequence[int]) -> dict[str, Any]:
        """File names, and the folders that they lie in as labels."""
        names = [self.name_of(place) for place in places]
        y, class_names, self._said = self._classes([name.split("/") for name in names])
        return {"ids": names, "y": None if y is None else y.tolist(), "class_names": list(class_names)}

    def fingerprint(self) -> str:
        """Of all names, sizes and times of change."""
        digest = hashlib.sha256()
        for file, why in self._found.files:
            status = None if why else file.path.stat()
            digest.update(json.dumps([file.name, status and [status.st_size, status.st_mtime_ns]]).encode())
        return digest.hexdigest()

    def remarks(self, tally: Tally, left_out: Sequence[tuple[str, str]]) -> list[str]:
        """On labels, deep colours, and files that were left out."""
        return [*self._said, *tally.sentences(), *left_out_sentences(left_out, self._found.others)]

    def nothing_read(self, left_out: Sequence[tuple[str, str]]) -> str:
        """A sentence for a folder of which no image can be read."""
        return without_images(self.name, left_out, self._found.others)


class ArrayPhotos:
    """Images of one array.

    Args:
      name: of the data set.
      x: [n, h, w], [n, h, w, 1] or [n, h, w, 3], bytes, or floats from 0 to `max_value`; may be a memory map.
      max_value: the value of white.
      about: what `labels` gives.
      resize: how they come to another aspect ratio.
      source: where they are from.

    Raises:
      ValueError: x is no array of images.
    """

    def __init__(self, name: str, x: Any, max_value: float, about: dict[str, Any], resize: str, source: str = "") -> None:
        if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3)):
            raise ValueError(
                f"{name} has examples of the shape {list(x.shape[1:])}; a backbone needs images [h, w], [h, w, 1] or [h, w, 3]."
            )
        if x.ndim == 3 and x.shape[2] == 3:
            raise ValueError(f"{name} has the shape {list(x.shape)}, as one photo in colour has; give an array of photos, x[None] of one.")
        self.name, self.resize, self.source = name, resize, source
        self._x, self._max, self._about = x, max_value, about

    def __len__(self) -> int:
        """How many images."""
        return len(self._x)

    def name_of(self, place: int) -> str:
        """Its place."""
        return str(place)

    def read(self, place: int, shape: tuple[int, int, int]) -> ImageRead:
        """One image, in three colours."""
        values = np.asarray(self._x[place])
        if values.dtype != np.uint8 or self._max != 255:
            values = np.asarray(values, np.float64)
            if odd := np.count_nonzero(~np.isfinite(values)):
                raise ValueError(f"{self.name}: image {place} has {odd:,} values that are NaN or Inf; fill them first.")
            if values.min() < 0 or values.max() > self._max:
                raise ValueError(
                    f"{self.name}: image {place} has values from {values.min():g} to {values.max():g}, and {self._max:g} is white; "
                    "give bytes, or floats from 0 to 1."
                )
            values = np.round(values * (255 / self._max)).astype(np.uint8)
        if values.ndim == 3 and values.shape[2] == 1:
            values = values[..., 0]
        image = Image.fromarray(values).convert("RGB")
        return ImageRead(resized(image, shape[0], shape[1], self.resize), False, False)

    def labels(self, places: Sequence[int]) -> dict[str, Any]:
        """As given."""
        return self._about

    def fingerprint(self) -> str:
        """Of the shape, the type, the labels and every value: features of an image that has changed would be wrong."""
        digest = hashlib.sha256(json.dumps([list(self._x.shape), self._x.dtype.name, self._max, self._about]).encode())
        for start in range(0, len(self._x), CHUNK):
            digest.update(np.asarray(self._x[start : start + CHUNK]).tobytes())
        return digest.hexdigest()

    def remarks(self, tally: Tally, left_out: Sequence[tuple[str, str]]) -> list[str]:
        """None."""
        return []

    def nothing_read(self, left_out: Sequence[tuple[str, str]]) -> str:
        """Never needed: an array's images can be read."""
        return f"{self.name} has no image that can be read."
