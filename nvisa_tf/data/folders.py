"""A folder of images as a data set: its files' names, the shape that its images come to, and its class folders."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.dataset import Dataset, Origin
from nvisa_tf.io.image_folders import Found, Tally, find_images, left_out_sentences, without_images
from nvisa_tf.io.images import Header, NotAnImageError, read_header, read_image

KEPT_SIDE = 64  # the longest side that a size of the images' own may have
LONGEST_SIDE, SHORTEST_SIDE = 32, 8  # else; dense layers see a pixel a weight: of 32 x 32 x 3 values they learn from hundreds of images
MOST = 0.9  # the share of images that makes a size or an aspect ratio the one of the folder
SAME_ASPECT = 1.1  # aspect ratios up to this factor apart count as one
SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})  # folders of these names are no classes
LISTED = 10  # classes at most in a sentence
HOW = {"pad": "scaled with a border", "crop": "scaled and cut", "stretch": "stretched"}


def read_folder(path: str, config: DataConfig) -> Dataset:
    """The images in a folder and the folders in it, unchecked: uint8 [n, h, w], grey, or [n, h, w, 3].

    `ids` are the files' paths below the folder. Labels are the folders that the images lie in, where all lie in two or more; those in
    train/ and test/ are told by the folders within. Files that cannot be read are in `origin.left_out`.

    Args:
      path: of the folder.
      config: its image_shape, () for the images' own, and resize count.

    Raises:
      ValueError: there is no image that can be read, the shape is none of an image's, or the folder is a whole file system.
    """
    found = find_images(path)
    headers = [] if config.image_shape else _headers(found)
    shape = config.image_shape or (*choose_size(headers), 3)[: 3 if any(header.colour for header in headers) else 2]
    x, places, left_out, tally = _read(found, shape, config.resizing)
    if not len(x):
        raise ValueError(without_images(path, left_out, found.others))
    remarks = []
    if not config.image_shape:
        if shape[2:] and not any((image != image[..., :1]).any() for image in x):
            x = np.ascontiguousarray(x[..., 0])  # grey in three channels, which their headers do not tell
        remarks.append(_shape_sentence(headers, x.shape[1:], config.resizing))
    names = [found.files[place][0].name for place in places]
    y, class_names, said = classes([name.split("/") for name in names])
    remarks += [*said, *tally.sentences(), *left_out_sentences(left_out, found.others)]
    origin = Origin("folder", "file", class_names=class_names, left_out=tuple(left_out), remarks=tuple(remarks))
    rows = np.array(places) if left_out else None
    return Dataset(Path(path).name or Path(path).resolve().name, x, y, 255.0, ids=np.array(names), rows=rows, origin=origin)


def choose_size(headers: Sequence[Header]) -> tuple[int, int]:
    """Height and width for images of these sizes, pixels.

    The size that at least `MOST` of them have, where it is at most `KEPT_SIDE` on a side. Else at most `LONGEST_SIDE` on a side, in the
    median aspect ratio where at least `MOST` of them are within a factor of `SAME_ASPECT` of it, and square otherwise.
    """
    if not headers:
        return LONGEST_SIDE, LONGEST_SIDE
    (size, number), *_ = Counter((header.height, header.width) for header in headers).most_common(1)
    if number >= MOST * len(headers) and max(size) <= KEPT_SIDE:
        return size
    longest = min(LONGEST_SIDE, int(np.median([max(header.height, header.width) for header in headers])))
    aspects = np.log([header.width / header.height for header in headers])
    aspect = float(np.median(aspects))
    if np.mean(np.abs(aspects - aspect) <= np.log(SAME_ASPECT)) < MOST:
        aspect = 0.0
    other = max(min(SHORTEST_SIDE, longest), round(longest * np.exp(-abs(aspect))))
    return (other, longest) if aspect > 0 else (longest, other)


def classes(parts: Sequence[Sequence[str]]) -> tuple[np.ndarray | None, tuple[str, ...], list[str]]:
    """Labels, int64 [n], and the classes' names, of files by their parts below a folder; and what there is to say of it.

    A class is the first folder, or within train/, test/ and the like the second. Where not all files lie in one, or in one alone, there
    are no labels: None and ().
    """
    said = []
    depth = 0
    if {file[0] for file in parts} <= SPLITS and all(len(file) > 1 for file in parts):
        said.append(f"The folders {', '.join(sorted({file[0] for file in parts}))} are taken together.")
        depth = 1
    groups = [file[depth] if len(file) > depth + 1 else "" for file in parts]
    names, labels = np.unique(groups, return_inverse=True)
    beside = groups.count("")
    if len(names) - bool(beside) > 1 and beside:
        lie = "1 image lies" if beside == 1 else f"{beside:,} images lie"
        said.append(f"The folders are not taken as labels, as {lie} in none of them, such as {'/'.join(parts[groups.index('')])}.")
    if beside or len(names) < 2:
        return None, (), said
    listed = ", ".join(map(str, names[:LISTED])) + (f" and {len(names) - LISTED:,} more" if len(names) > LISTED else "")
    said.append(f"The folders are labels, which only score: {listed}.")
    return labels.astype(np.int64), tuple(map(str, names)), said


def _headers(found: Found) -> list[Header]:
    """Those that can be read; what cannot is said where its pixels are read."""
    headers = []
    for file, why in found.files:
        if not why:
            with contextlib.suppress(NotAnImageError):
                headers.append(read_header(file.path))
    return headers


def _read(found: Found, shape: tuple[int, ...], resize: str) -> tuple[np.ndarray, list[int], list[tuple[str, str]], Tally]:
    """The pixels uint8 [n, *shape] of what can be read, its places among the files, why the rest cannot, and what there is to say."""
    x, places, left_out, tally = np.empty((0, *shape), np.uint8), list[int](), list[tuple[str, str]](), Tally()
    for place, (file, why) in enumerate(found.files):
        try:
            if why:
                raise NotAnImageError(file.path, why)
            values = tally.add(read_image(file.path, shape, resize=resize))
        except NotAnImageError as error:
            left_out.append((file.name, error.why))
            continue
        if not len(x):  # not before `read_image` has looked at the shape
            x = np.empty((len(found.files), *shape), np.uint8)
        x[len(places)] = values
        places.append(place)
    return x[: len(places)], places, left_out, tally


def _shape_sentence(headers: Sequence[Header], shape: tuple[int, ...], resize: str) -> str:
    option = f"--image-shape {','.join(map(str, shape))} ({'height, width, colour' if shape[2:] else 'height, width'})"
    same = sum((header.height, header.width) == shape[:2] for header in headers)
    if same == len(headers):
        return f"All images have {option}."
    if same >= MOST * len(headers):
        return f"Images come to {option}, as {same:,} of {len(headers):,} are; the others are {HOW[resize]} (--resize {resize})."
    return f"Images of other sizes come to {option}, {HOW[resize]} (--resize {resize})."
