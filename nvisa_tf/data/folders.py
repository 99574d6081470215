"""A folder of images as a data set."""

from __future__ import annotations

from pathlib import Path

from absl import logging

from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.dataset import Dataset, Origin
from nvisa_tf.io.images import load_folder


def read_folder(path: str, config: DataConfig) -> Dataset:
    """The images in a folder and the folders in it, unchecked; errors as `nvisa_tf.io.images.load_folder`, or no `image_shape`."""
    if not config.image_shape:
        raise ValueError(f"{path} is a folder; say what shape its images are brought to by --image-shape, such as 28,28 or 32,32,3.")
    x, y = load_folder(path, config.image_shape, logging.warning)
    return Dataset(Path(path).name, x, y, 255.0, origin=Origin("folder", "file"))
