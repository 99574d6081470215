"""Image files as arrays of one shape; needs NumPy and Pillow alone, and pillow-heif for HEIC where it is installed."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

RESIZE = ("pad", "crop", "stretch")
HEIC = (".heic", ".heif")
# What a file is called that a person takes for an image; any other file counts as one only if its content does.
SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".dds", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx", ".pbm"),
    *(".pcx", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".svg", ".tga", ".tif", ".tiff", ".webp", *HEIC),
    *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"),  # of cameras; Pillow reads some of them
)
HINTS = {
    **dict.fromkeys(HEIC, "HEIC is read where pillow-heif is installed; or save it as JPEG"),
    ".avif": "this Pillow reads no AVIF; upgrade Pillow, or save it as JPEG",
    ".svg": "it is a drawing in lines; save it as PNG",
}
SEQUENCES = ("AVIF", "GIF", "PNG", "TIFF", "WEBP")  # whose frames and pages are images; those of others are previews or layers
DRAFT = 2  # a JPEG file may be decoded at a fraction of its size, but no smaller than so many times what is asked for
SIDEWAYS = (5, 6, 7, 8)  # the EXIF orientations of a quarter turn
WIDTH, HEIGHT, ORIENTATION = 0x0100, 0x0101, 0x0112  # tags of TIFF and EXIF


class NotAnImageError(ValueError):
    """A file that cannot be read as an image; `why` is the reason, a clause."""

    def __init__(self, path: str | os.PathLike[str], why: str) -> None:
        super().__init__(f"{path} cannot be read as an image: {why}.")
        self.why = why


class Header(NamedTuple):
    """What a file's first bytes say: the sides as a viewer shows them, pixels, and whether it may hold colour."""

    height: int
    width: int
    colour: bool


class ImageRead(NamedTuple):
    """An image and what it was in its file.

    Attributes:
      values: uint8 of the shape that was asked for.
      deep: its file has more than 8 bits a value.
      frames: its file has more pages or frames than this one, the first.
    """

    values: np.ndarray
    deep: bool
    frames: bool


def read_header(path: str | os.PathLike[str]) -> Header:
    """A file's header, without decoding its pixels.

    Raises:
      NotAnImageError: it is that of no image.
    """
    with _opened(path) as file:
        tiff: Any = getattr(file, "tag_v2", None)  # a TIFF file's `size` is turned already, by some versions of Pillow
        width, height = (tiff[WIDTH], tiff[HEIGHT]) if tiff else file.size
        # A PNG file says so behind its pixels, and no camera writes one.
        if file.format != "PNG" and file.getexif().get(ORIENTATION) in SIDEWAYS:
            width, height = height, width
        return Header(height, width, not _is_grey(file))


def read_image(path: str | os.PathLike[str], shape: tuple[int, ...], *, resize: str | None = None) -> ImageRead:
    """An image file's first image, turned as its camera was held.

    Transparent parts are white, as viewers show them. Grey of 16 bits is divided by 257, floats are taken as from 0 to 1.

    Args:
      path: a file that Pillow reads.
      shape: [h, w] or [h, w, 1], grey, or [h, w, 3], colour.
      resize: how other sizes come to `shape`, colours being converted. "pad" keeps the aspect ratio and continues each side by the
        median colour of its edge; "crop" keeps it and cuts both ends off; "stretch" does not keep it; None refuses other shapes.

    Raises:
      NotAnImageError: it cannot be read as an image.
      ValueError: another shape without `resize`, no such `resize`, or `shape` is not an image's.
    """
    colour = shape[2:] == (3,)
    if len(shape) not in (2, 3) or not (colour or shape[2:] in ((), (1,))):
        raise ValueError(f"Examples have the shape {list(shape)} here, which no image file has; give a .npy file.")
    if resize not in (None, *RESIZE):
        raise ValueError(f"resize is {resize!r}; it must be one of {', '.join(RESIZE)}.")
    with _opened(path) as file:
        frames = file.format in SEQUENCES and bool(getattr(file, "is_animated", False))
        if resize in ("pad", "crop"):  # not stretch, whose bytes are those of runs of before
            _draft(file, shape)
        deep = file.mode.startswith(("I", "F"))
        image = _plain(ImageOps.exif_transpose(file), path)
        if resize is not None:
            image = image.convert("RGB" if colour else "L")
    if resize is None:
        values = np.asarray(image)
        if values.shape != (shape if colour else shape[:2]):
            raise ValueError(
                f"{path} has the shape {list(values.shape)}, and this encoder takes {list(shape)}; --resize scales and converts images."
            )
    else:
        values = resized(image, shape[0], shape[1], resize)
    return ImageRead(values.reshape(shape), deep, frames)


def load_image(path: str | os.PathLike[str], shape: tuple[int, ...], *, resize: str | None = None) -> np.ndarray:
    """The values of `read_image` alone, uint8 of `shape`."""
    return read_image(path, shape, resize=resize).values


def in_range(pixels: np.ndarray, span: Sequence[float], whole: bool) -> np.ndarray:
    """Pixels, 0 to 255, in data's own values: of data from 0 to 16 white is 16. `span`: its lowest and highest; `whole`: round."""
    low, high = span
    values = low + pixels / 255 * (high - low)
    return values.round() if whole else values


def resized(image: Image.Image, height: int, width: int, how: str) -> np.ndarray:
    """The pixels of an image in mode L or RGB at another size, uint8 [height, width] or [height, width, 3].

    `how` is of `RESIZE`. Scaling averages over the pixels that fall into one.
    """
    if image.size == (width, height):
        return np.asarray(image)
    wide, high = image.size
    if how == "stretch":
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    if how == "crop":
        scale = max(width / wide, height / high)
        across, down = min(wide, width / scale), min(high, height / scale)
        left, top = (wide - across) / 2, (high - down) / 2
        box = (left, top, left + across, top + down)
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
    scale = min(width / wide, height / high)
    inner = (max(1, min(width, int(wide * scale + 0.5))), max(1, min(height, int(high * scale + 0.5))))
    return _padded(np.asarray(image.resize(inner, Image.Resampling.BILINEAR)), height, width)


def _padded(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """In the middle of [height, width]; each side goes on in the median of the edge it touches, so that a plain background stays one."""
    for axis, total in ((0, height), (1, width)):
        missing = total - values.shape[axis]
        sides = []
        for count, place in ((missing // 2, 0), (missing - missing // 2, -1)):
            edge = np.take(values, place, axis)
            colour = np.sort(edge, axis=0)[len(edge) // 2]  # a value that is there, which the mean of two might not be
            size = list(values.shape)
            size[axis] = count
            sides.append(np.broadcast_to(colour, size))
        values = np.concatenate([sides[0], values, sides[1]], axis)
    return values


def _draft(file: Image.Image, shape: tuple[int, ...]) -> None:
    """Have a JPEG file decoded at a half, a quarter or an eighth of its size where that is still `DRAFT` times the size it comes to."""
    sides = sorted(file.size), sorted(shape[:2])  # either way round, as it may yet be turned
    scale = min(1.0, DRAFT * max(asked / side for side in sides[0] for asked in sides[1]))
    file.draft(None, (int(file.size[0] * scale), int(file.size[1] * scale)))  # None keeps the colours


def _is_grey(file: Image.Image) -> bool:
    """Whether a file can hold grey alone, by its mode and palette."""
    if file.mode in ("P", "PA") and file.palette is not None:
        palette = np.reshape(file.getpalette() or [], (-1, 3))
        return bool((palette == palette[:, :1]).all())
    return file.mode in ("1", "L", "LA", "La") or file.mode.startswith(("I", "F"))


def _plain(image: Image.Image, path: str | os.PathLike[str]) -> Image.Image:
    """In mode L or RGB, 8 bits a value, as it is seen on white."""
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(image), path))
    if image.mode in ("L", "RGB"):
        return image if "transparency" not in image.info else _plain(image.convert("RGBA"), path)
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


def _eight_bits(values: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    """Grey of 16 bits or of floats as bytes, by the range of the format, so that an image's bytes do not depend on what else is in it."""
    top = 1 if values.dtype.kind == "f" else 65535
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= top):
        kind = "floats beyond 0 to 1" if top == 1 else "integers beyond 16 bits"
        raise NotAnImageError(path, f"its values are {kind}; save it with 8 or 16 bits, or give a .npy file")
    return np.rint(values * (255 / top)).astype(np.uint8)


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """An open image file; whatever Pillow raises at it, which may be anything, becomes a NotAnImageError in our own words."""
    if Path(path).suffix.lower() in HEIC:
        _register_heic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is read all the same: large images, damaged EXIF
            # Not by its path: Pillow 13 would map an uncompressed TIFF file into memory, and scramble one that is to be turned.
            with open(path, "rb") as stream, Image.open(stream) as file:
                yield file
    except NotAnImageError:
        raise
    except Exception as error:
        raise NotAnImageError(path, _why(error, Path(path))) from error


@functools.cache
def _register_heic() -> None:
    with contextlib.suppress(ImportError):  # the file is then refused with a hint at it
        import pillow_heif

        pillow_heif.register_heif_opener()


def _why(error: Exception, path: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return "it links to a file that is not there" if path.is_symlink() else "there is no such file"
    if isinstance(error, PermissionError):
        return "reading it is not permitted"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; make it smaller"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is; make it smaller"
    if isinstance(error, OSError) and error.strerror:
        return f"the system cannot read it ({error.strerror})"
    if path.stat().st_size == 0:
        return "it is empty"
    suffix = path.suffix.lower()
    if isinstance(error, UnidentifiedImageError):
        return HINTS.get(suffix) or ("it holds something else" if suffix in SUFFIXES else "it is none")
    return "it is cut short or damaged"
