"""Image files as arrays of one shape; needs NumPy and Pillow alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

DEEP_MODES = ("I", "F")  # more than 8 bits a value; "I;16" and its kin too


class NotAnImageError(ValueError):
    """A file that cannot be read as an image."""


def load_image(path: str | os.PathLike[str], shape: tuple[int, ...], *, resize: bool = False, invert: bool = False) -> np.ndarray:
    """The bytes of an image file, uint8 of `shape`.

    Args:
      path: a file that Pillow reads, of 8 bits a value. Transparent parts are white, as viewers show them.
      shape: [h, w] or [h, w, 1], grey, or [h, w, 3], colour.
      resize: scale and convert other sizes and colours to `shape` (the aspect ratio is not kept); otherwise they are refused.
      invert: 255 minus each value: dark on light becomes light on dark.

    Raises:
      NotAnImageError: it cannot be read as one.
      ValueError: of more than 8 bits, of another shape without `resize`, or `shape` is not an image's.
    """
    colour = shape[2:] == (3,)
    if len(shape) not in (2, 3) or not (colour or shape[2:] in ((), (1,))):
        raise ValueError(f"Examples have the shape {list(shape)} here, which no image file has; give a .npy file.")
    try:
        with Image.open(path) as file:
            mode = file.mode
            image = ImageOps.exif_transpose(file) if resize else file.copy()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise NotAnImageError(f"{path} cannot be read as an image ({getattr(error, 'strerror', None) or error}).") from error
    if mode.startswith(DEEP_MODES):
        raise ValueError(f"{path} has more than 8 bits a value; save it with 8, or give a .npy file.")
    image = _plain(image)
    if resize:
        image = image.convert("RGB" if colour else "L").resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    values = np.asarray(image)
    if values.shape != (shape if colour else shape[:2]):
        raise ValueError(
            f"{path} has the shape {list(values.shape)}, and this encoder takes {list(shape)}; --resize scales and converts images."
        )
    values = values.reshape(shape)
    return 255 - values if invert else values


def load_folder(
    folder: str | os.PathLike[str], shape: tuple[int, ...], leave_out: Callable[[str], None]
) -> tuple[np.ndarray, np.ndarray | None]:
    """All images in a folder and the folders in it, in the order of their paths, scaled and converted to `shape`.

    Args:
      folder: of image files; files and folders whose names begin with a dot are passed over.
      shape: as for `load_image`.
      leave_out: is told of each file that is no image, in a sentence.

    Returns:
      The bytes, uint8 [n, *shape], and labels, integers [n], where all images lie in two or more folders within `folder`: the
      number of an image's folder in the order of their names.

    Raises:
      ValueError: there is no image, or one that `load_image` refuses.
    """
    folder = Path(folder)
    images, groups = [], []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        inside = path.relative_to(folder).parts
        if any(part.startswith(".") for part in inside):
            continue
        try:
            images.append(load_image(path, shape, resize=True))
        except NotAnImageError as error:
            leave_out(f"Left out: {error}")
            continue
        groups.append(inside[0] if len(inside) > 1 else "")
    if not images:
        raise ValueError(f"The folder {folder} has no images.")
    names, labels = np.unique(groups, return_inverse=True)
    return np.stack(images), labels if len(names) > 1 and "" not in names else None


def _plain(image: Image.Image) -> Image.Image:
    """In mode L or RGB, as it is seen on white."""
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("L", "RGB"):
        return image if "transparency" not in image.info else _plain(image.convert("RGBA"))
    if image.mode == "LA":
        grey = Image.new("L", image.size, 255)
        grey.paste(image.getchannel("L"), mask=image.getchannel("A"))
        return grey
    if image.mode == "P" and "transparency" not in image.info:
        return image.convert("RGB")
    layers = image.convert("RGBA")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(layers, mask=layers.getchannel("A"))
    return white
