"""Files that are either the old one or the new one, whole, whatever happens."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, with its ending, to write to; put in place when the block ends without an error.

    After an error, or a kill, `path` is what it was before; after an error the temporary file is gone.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """`replacing` for a folder, made anew; what was in the old one goes with it, once the new one is in place."""
    temporary, old = (target.with_name(f".{target.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if target.exists():
            os.replace(target, old)
        os.replace(temporary, target)
    finally:
        if old.exists() and not target.exists():
            os.replace(old, target)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def description_of(path: str | os.PathLike[str]) -> Path:
    """The file beside a file of features that says what it is."""
    return Path(f"{os.fspath(path)}.json")


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, which may be larger than memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Lines:
    """Takes the rows of a `csv.writer` of the default dialect, and ends them by a line feed alone."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


def csv_writer(file: TextIO) -> Any:
    """A `csv.writer` with Unix line ends, that reads back as it was whatever is in a field.

    With a line feed as its terminator Python 3.11 leaves a field with a carriage return unquoted, which readers take for two rows.
    """
    return csv.writer(_Lines(file))


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 by `replacing`, its newlines as they are."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")  # file names need not be text
