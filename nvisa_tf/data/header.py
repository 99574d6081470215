"""Whether the first line of a table has the columns' names or an example."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import numpy as np

from nvisa_tf.data.columns import is_missing, is_number, plain_number

LOOKED_AT = 100  # rows that are asked whether they too count up evenly
CONVINCING = 8  # columns: so many numbers that count up evenly are names, whatever the other rows hold


class Header(enum.Enum):
    """What the first line holds."""

    NAMES = enum.auto()
    EXAMPLE = enum.auto()
    UNSURE = enum.auto()


def find_header(first: Sequence[str], body: Sequence[Sequence[str]]) -> Header:
    """What the first line holds, by comparing it with the lines below.

    Text above numbers is a name. Numbers are names where they count up evenly (0, 1, 2; years; wavelengths), no other line does so, and
    they differ from what is below in format or range. Where evidence stands against evidence, the answer is UNSURE.

    Args:
      first: the fields of the first line.
      body: the fields of lines below it, as many in each.
    """
    columns = list(zip(*body, strict=True))
    text = [i for i, cell in enumerate(first) if not is_missing(cell) and not is_number(cell)]
    if not columns:
        return Header.NAMES if len(text) == sum(not is_missing(cell) for cell in first) > 0 else Header.EXAMPLE
    numeric = {i for i, column in enumerate(columns) if _mostly_numbers(column)}
    filled = {i for i, column in enumerate(columns) if any(not is_missing(cell) for cell in column)}
    numbers = [i for i, cell in enumerate(first) if is_number(cell) and not is_missing(cell)]
    if not numbers:
        return _of_text(first, columns, text, numeric, filled)
    above_numbers = [i for i in numbers if i in numeric]
    counting = _counts_evenly([first[i] for i in numbers], alone=len(first) > len(numbers) or len(first) == 1)
    if any(i in numeric for i in text):  # a name beside numbers: either those are names too, or it is a gap of an unusual kind
        return Header.NAMES if counting or not above_numbers else Header.UNSURE
    if any(first[i] in columns[i] for i in text):  # a category that comes again
        return Header.UNSURE if counting and len(numbers) >= 3 else Header.EXAMPLE
    if not above_numbers:
        return Header.NAMES if counting else Header.UNSURE
    if is_missing(first[0]) and is_index(columns[0]):  # as pandas writes a frame with its index
        return Header.NAMES
    cells = [first[i] for i in above_numbers]
    return _of_numbers(cells, [columns[i] for i in above_numbers], counting)


def has_text_above_numbers(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether a field of the first line is text and those below it are mostly numbers; arguments as of `find_header`."""
    columns = zip(*body, strict=True)
    return any(
        not is_missing(cell) and not is_number(cell) and _mostly_numbers(column) for cell, column in zip(first, columns, strict=False)
    )


def _of_text(first: Sequence[str], columns: list[tuple[str, ...]], text: list[int], numeric: set[int], filled: set[int]) -> Header:
    if any(i in numeric for i in text):
        return Header.NAMES
    again = sum(first[i] in columns[i] for i in text if i in filled)
    if not again:
        return Header.NAMES if text else Header.EXAMPLE
    return Header.EXAMPLE if 2 * again >= len(text) else Header.UNSURE


def _of_numbers(cells: list[str], columns: list[tuple[str, ...]], counting: bool) -> Header:
    """What a first line of numbers is, given those above columns of numbers."""
    first = np.array([_value(cell) for cell in cells])
    values = [np.array([_value(cell) for cell in column if not is_missing(cell)]) for column in columns]
    outside = np.array([not v.min() <= x <= v.max() for x, v in zip(first, values, strict=True)])
    if not counting:
        ascending = len(first) >= 3 and (np.diff(first) > 0).all()
        return Header.UNSURE if ascending and outside.all() and len(values[0]) > 2 else Header.EXAMPLE
    whole = all(cell.strip().lstrip("+-").isdigit() for cell in cells)
    rows = list(zip(*(column[:LOOKED_AT] for column in columns), strict=True))
    if whole and all("." in cell or "e" in cell.lower() or is_missing(cell) for column in columns for cell in column):
        return Header.NAMES
    if len(first) >= 3 and any(_counts_evenly(row) for row in rows):
        return Header.UNSURE
    fractions = np.array([any("." in cell or "e" in cell.lower() or "," in cell for cell in column) for column in columns])
    if len(first) >= 3:
        convincing = outside.mean() >= 0.9 or len(first) >= CONVINCING or (whole and fractions.mean() >= 0.5)
        return Header.NAMES if convincing else Header.UNSURE
    return Header.UNSURE if whole and (first[0] in (0, 1) or outside.all()) else Header.EXAMPLE


def _counts_evenly(cells: Sequence[str], alone: bool = False) -> bool:
    """Whether the cells are numbers of even distances other than 0: of two, whole ones, 1; a single one is 0 where `alone`."""
    if any(is_missing(cell) or not is_number(cell) for cell in cells):
        return False
    values = np.array([_value(cell) for cell in cells])
    if not np.isfinite(values).all():
        return False
    if len(values) < 2:
        return alone and values[0] == 0
    steps = np.diff(values)
    if len(values) == 2:
        return bool(steps[0] == 1 and values[0] == np.floor(values[0]))
    return bool(steps[0] and np.allclose(steps, steps[0], rtol=1e-6, atol=0))


def is_index(column: Sequence[str]) -> bool:
    """Whether the cells are 0, 1, 2, ... or 1, 2, 3, ...."""
    return all(cell.strip().isdigit() for cell in column) and [int(cell) for cell in column] in (
        list(range(len(column))),
        list(range(1, len(column) + 1)),
    )


def _mostly_numbers(column: Sequence[str]) -> bool:
    present = [cell for cell in column if not is_missing(cell)]
    return bool(present) and sum(map(is_number, present)) > len(present) / 2


def _value(cell: str) -> float:
    value = plain_number(cell)
    if value is None:
        value = plain_number(cell.replace(",", "."))
    return np.nan if value is None else value
