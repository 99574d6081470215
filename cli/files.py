"""Output files: refused before the work, never after it; never half-written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO


def check_writable(path: str, endings: Sequence[str]) -> Path:
    """The path, if a file with one of these endings can be written there.

    Raises:
      ValueError: another ending, no such folder, or it cannot be written to.
    """
    target = Path(path)
    if target.suffix not in endings:
        raise ValueError(f"The output {path} must end in {' or '.join(endings)}.")
    if target.is_dir() or not target.parent.is_dir():
        raise ValueError(
            f"The output {path} cannot be written: {'it is a folder' if target.is_dir() else f'there is no folder {target.parent}'}."
        )
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise ValueError(f"The output {path} cannot be written: {error.strerror}.") from error
    return target


def write_binary(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let `write` fill a temporary file, and put it in place once it is whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
