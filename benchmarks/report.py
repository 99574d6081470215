"""How benchmarks are asked and say what they found: lists of numbers, the commit, Markdown tables, and the same as CSV beside them."""

from __future__ import annotations

import csv
import io
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nvisa_tf.io.files import write_text

# Of every library that the benchmarks run; to be set before it is loaded.
ONE_THREAD = dict.fromkeys(
    (
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)


def numbers(text: str) -> list[int]:
    """Parse "5,15,50"."""
    return [int(part) for part in text.split(",")]


def commit() -> str:
    """The checkout's commit, short; empty outside one."""
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()


def cores() -> str:
    """How many cores this process may use, and of what kind."""
    n = len(os.sched_getaffinity(0))
    return f"{n} core{'s' if n > 1 else ''}, {platform.machine()}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, without a newline at its end."""
    return "\n".join([f"| {' | '.join(header)} |", "|" + "---|" * len(header), *(f"| {' | '.join(row)} |" for row in rows)])


def write(path: str, title: str, about: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write title, paragraph and table to `path`, a .md file, and the table as .csv beside it."""
    write_text(Path(path), f"# {title}\n\n{about}\n\n{markdown(header, rows)}\n")
    with open(Path(path).with_suffix(".csv"), "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def rows_of(path: Path, fields: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a .csv file that `write_rows` wrote, all values as text; none where there is no file.

    Raises:
      ValueError: the file has other fields, so that its rows cannot be kept beside new ones.
    """
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        if list(table.fieldnames or []) != list(fields):
            raise ValueError(f"{path} has the columns {', '.join(table.fieldnames or [])}; give another --output, or remove it.")
        return list(table)


def write_rows(path: Path, fields: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Write rows, by the names of their fields, to a .csv file; whole or not at all."""
    text = io.StringIO()
    table = csv.DictWriter(text, fields, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())
