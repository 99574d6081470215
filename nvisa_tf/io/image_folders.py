"""The images that lie in a folder and in those within it, and what there is to say of them; needs NumPy and Pillow alone."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nvisa_tf.io.images import SUFFIXES, ImageRead, NotAnImageError, read_header

DARK = 64  # bytes of 255; an image has a brighter value somewhere
NAMED = 5  # files at most in one sentence


def printable(path: str) -> str:
    """A path as text for any file: bytes in it that are no UTF-8 are written in hexadecimal."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class ImageFile(NamedTuple):
    """A file that should be an image: its parts below the folder, and where it is."""

    parts: tuple[str, ...]
    path: Path

    @property
    def name(self) -> str:
        """The path below the folder, with slashes, `printable`."""
        return printable("/".join(self.parts))


class Found(NamedTuple):
    """What lies in a folder.

    Attributes:
      files: what should be images, in the order of the paths, each with the reason why it cannot be one, or "".
      others: how many files are no images, by the suffixes of their names.
    """

    files: list[tuple[ImageFile, str]]
    others: Counter[str]


def find_images(folder: str | os.PathLike[str]) -> Found:
    """All images in a folder and the folders within, links being followed.

    A file is one by the end of its name, or else by its first bytes. What begins with a dot is passed over. A file that can be reached
    by two paths is found at both; a folder is not entered within itself.

    Raises:
      ValueError: the folder is the root of a file system.
    """
    folder = Path(folder)
    if folder.resolve() == folder.resolve().parent:
        raise ValueError(f"{folder} is the whole file system; give the folder of your images.")
    files, others = list[tuple[ImageFile, str]](), Counter[str]()
    for file, why in _files(folder, (), frozenset()):
        if why or file.path.suffix.lower() in SUFFIXES or _is_image(file.path):
            files.append((file, why))
        else:
            others[file.path.suffix.lower() or "without a suffix"] += 1
    return Found(files, others)


def _files(folder: Path, parts: tuple[str, ...], above: frozenset[tuple[int, int]]) -> Iterator[tuple[ImageFile, str]]:
    """Every file below a folder, and what cannot be followed with the reason why; `above` are the folders it is in, by their inodes."""
    try:
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        names = [] if here in above else sorted(os.listdir(folder))
    except OSError as error:
        yield ImageFile(parts, folder), f"the folder cannot be opened ({error.strerror})"
        return
    if here in above:
        yield ImageFile(parts, folder), "it links to a folder that it lies in"
    for name in names:
        path = folder / name
        if name.startswith("."):
            continue
        if os.path.isdir(path):
            yield from _files(path, (*parts, name), above | {here})
        elif os.path.isfile(path):
            yield ImageFile((*parts, name), path), ""
        elif path.is_symlink():
            yield ImageFile((*parts, name), path), "it links to what is not there"


def _is_image(path: Path) -> bool:
    try:
        read_header(path)
    except NotAnImageError:
        return False
    return True


@dataclasses.dataclass
class Tally:
    """What there is to say of the images read so far, once for all of them."""

    deep: int = 0
    brightest: int = 0
    frames: int = 0

    def add(self, image: ImageRead) -> np.ndarray:
        """Count an image, and give its values."""
        self.frames += image.frames
        self.deep += image.deep
        if image.deep:
            self.brightest = max(self.brightest, int(image.values.max()))
        return image.values

    def sentences(self) -> list[str]:
        """One for each kind of file that was not taken as it is."""
        said = []
        if self.deep:
            said.append(f"Images of more than 8 bits a value are scaled to 8 bits, by the range of their format: {self.deep:,}.")
            if self.brightest < DARK:
                said.append(
                    f"Their largest value is then {self.brightest} of 255, so they are nearly black; "
                    "scale them to the whole range first, or give a .npy file."
                )
        if self.frames:
            said.append(f"Of files with several pages or frames the first is taken: {self.frames:,}.")
        return said


def left_out_sentences(left_out: Sequence[tuple[str, str]], others: Counter[str]) -> list[str]:
    """What was left out of a folder: the first files by name with the reason, and how many are no images at all."""
    said = []
    if left_out:
        named = ", ".join(f"{name} ({why})" for name, why in left_out[:NAMED])
        more = f" and {len(left_out) - NAMED:,} more" if len(left_out) > NAMED else ""
        said.append(f"Left out, as unreadable: {named}{more}.")
    if others:
        said.append(f"Passed over, as no images: {_kinds(others)}.")
    return said


def without_images(folder: str | os.PathLike[str], left_out: Sequence[tuple[str, str]], others: Counter[str]) -> str:
    """A sentence for a folder in which no image can be read."""
    if left_out:
        name, why = left_out[0]
        return f"The folder {folder} has no image that can be read; of {len(left_out):,} files the first is {name} ({why})."
    but = f", but {_kinds(others)}" if others else ""
    return f"The folder {folder} has no images{but}; give one with images in it, or in the folders within."


def _kinds(others: Counter[str]) -> str:
    """The most frequent ends of names and how many there are of each."""
    rest = others.total() - sum(count for _, count in others.most_common(NAMED))
    listed = ", ".join(f"{count:,} {suffix}" for suffix, count in others.most_common(NAMED))
    return f"{listed} and {rest:,} more" if rest else listed
