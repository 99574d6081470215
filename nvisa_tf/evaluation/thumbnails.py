"""Small pictures of raw examples: bytes to show, sprite sheets, PNG and JPEG files."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from nvisa_tf.evaluation.examples import Examples

RANGE_EXAMPLES = 200  # whose values tell what is black and what is white
EXACT_SIDE = 32  # pixels, up to which a picture is kept as it is; JPEG would blur it
QUALITY = 82  # of JPEG
BLOCK = 256  # examples read at a time


class Range(NamedTuple):
    """The values of black and of white."""

    low: float
    high: float


def value_range(examples: Examples) -> Range:
    """What is black and what is white: by the format's largest value, 0 to 1 for floats within it, else the 1st and 99th percentile."""
    data = examples.data
    if data.pictures is not None:
        return Range(0.0, 255.0)
    if data.max_value:
        return Range(0.0, float(data.max_value))
    some = examples.take(spread(len(examples), RANGE_EXAMPLES))
    if some.dtype.kind == "f" and some.min() >= 0 and some.max() <= 1:
        return Range(0.0, 1.0)
    low, high = np.percentile(some, [1, 99])
    return Range(float(low), float(high if high > low else low + 1))


def spread(n: int, most: int) -> np.ndarray:
    """Places among n, evenly spread, at most `most` of them, int64."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)


def to_bytes(x: np.ndarray, values: Range) -> np.ndarray:
    """Raw pictures [n, h, w] or [n, h, w, c] as bytes, uint8 [n, h, w] or [n, h, w, 3].

    Of two channels the first is shown, of more than three the first three.
    """
    if x.ndim == 4:
        x = x[..., :3] if x.shape[-1] >= 3 else x[..., 0]
    return (np.clip((x.astype(np.float32) - values.low) / (values.high - values.low), 0, 1) * 255 + 0.5).astype(np.uint8)


def thumbnails(examples: Examples, places: np.ndarray, values: Range, side: int) -> list[Image.Image]:
    """Pictures of the examples at some places, the longer side of each at most `side` pixels; only a few are in memory in full."""
    if examples.data.pictures is not None:
        return [Image.fromarray(picture) for picture in examples.photos(places, side)]
    found = []
    for start in range(0, len(places), BLOCK):
        for picture in to_bytes(examples.take(places[start : start + BLOCK]), values):
            image = Image.fromarray(picture)
            if max(image.size) > side:
                image.thumbnail((side, side), Image.Resampling.LANCZOS)
            found.append(image)
    return found


def encoded(image: Image.Image) -> tuple[str, bytes]:
    """The media type and the bytes of its file: PNG for small pictures, JPEG for others."""
    buffer = io.BytesIO()
    if max(image.size) <= EXACT_SIDE:
        image.save(buffer, "PNG", optimize=True)
        return "image/png", buffer.getvalue()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "image/jpeg", buffer.getvalue()


def data_uri(media_type: str, content: bytes) -> str:
    """A file as the text that stands for its address."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def sprite_sheet(pictures: Sequence[Image.Image], side: int) -> tuple[Image.Image, int]:
    """Pictures in square cells of `side` pixels, row by row, and the number of columns.

    The sheet has as many rows as columns, as TensorBoard wants it; smaller pictures are enlarged, and one that is not square has a grey
    border.
    """
    columns = max(1, math.ceil(math.sqrt(len(pictures))))
    mode = pictures[0].mode
    sheet = Image.new(mode, (columns * side, columns * side), 128 if mode == "L" else (128, 128, 128))
    for i, picture in enumerate(pictures):
        factor, image = side / max(picture.size), picture
        if factor != 1:
            image = picture.resize(
                (max(1, round(picture.width * factor)), max(1, round(picture.height * factor))), Image.Resampling.NEAREST
            )
        left, top = (side - image.width) // 2, (side - image.height) // 2
        sheet.paste(image, (i % columns * side + left, i // columns * side + top))
    return sheet, columns
