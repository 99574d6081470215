"""Text files of separated values as tables: their line of names, and their columns."""

from __future__ import annotations

import io
import itertools
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from nvisa_tf.data.columns import Column, KeepRaw, Table, column_of_text, is_missing, is_number, numbers_of, settle_commas, shortened
from nvisa_tf.data.header import Header, find_header, has_text_above_numbers, is_index
from nvisa_tf.data.text_files import Record, TextLines, read_lines

SAMPLE = 1000  # lines by which it is found whether the first has names
BLOCK = 20_000  # lines that are held as text at a time


def read_delimited(path: str, header: str = "auto", keep_raw: KeepRaw = lambda name: False, known: Collection[str] | None = None) -> Table:
    """The columns of a text file, compressed by gzip where its name ends in .gz.

    Commas, semicolons, tabs, bars or spaces may stand between values, quotation marks around them, and a decimal comma for a point.

    Args:
      path: of the file.
      header: "yes" or "no", whether its first line has the columns' names; "auto": as `find_header` finds.
      keep_raw: for which columns, by name, the texts are kept beside the numbers.
      known: names of columns that are looked for: a first line with half of them has names, and one that is in doubt has none; empty: the
        columns had no names, so that a first line of numbers is an example; None: any, and what is in doubt is refused.

    Raises:
      ValueError: no text, no examples, lines of different lengths, names that are not unique, or a first line of which it cannot be told
        what it is; one sentence says where.
    """
    lines = read_lines(path)
    sample = list(itertools.islice(lines.records(), SAMPLE))
    names, skipped, remarks = _names(lines, sample, header, known)
    widths = {len(fields) for _, fields in sample[skipped:]}
    if names is not None and widths == {len(names) + 1}:
        if all(is_missing(fields[-1]) for _, fields in sample[skipped:]):  # a delimiter after each line's last value
            names = [*names, ""]
        elif _has_row_names(lines, sample):
            names = ["", *names]
    named = names is not None
    passed_over = lines.comments - (named and not skipped)  # the last of them had the names
    if passed_over:
        remarks.append(f"Lines that begin with # and were passed over as comments: {passed_over:,}.")
    if names is None:
        names = [str(i + 1) for i in range(len(sample[0][1]))]
    _check_names(path, names)
    places, columns = _columns(lines, names, skipped, {i for i, name in enumerate(names) if keep_raw(name)})
    if not len(places):
        raise ValueError(f"{path} has the columns' names alone; a table has a line for each example below them.")
    return Table(path, tuple(columns), named, places, "line", tuple(remarks))


def _names(lines: TextLines, sample: list[Record], header: str, known: Collection[str] | None) -> tuple[list[str] | None, int, list[str]]:
    """The columns' names, None without them; how many lines they take; what to say of it."""
    first = [cell.strip() for cell in sample[0][1]]
    body = [fields for _, fields in sample[1:]]
    comment = [cell.strip() for cell in lines.comment_fields()]
    if header == "no":
        return None, 0, []
    names_in_comment = comment and len(comment) == len(first) and not any(map(is_number, comment))
    if names_in_comment and any(map(is_number, first)):  # as NumPy and others write them
        return comment, 0, []
    matching = [fields for fields in body if len(fields) == len(first)]
    if header == "yes" or (known and 2 * len(set(first) & set(known)) >= len(known)):
        return first, 1, []
    if not matching and body and all(len(fields) == len(first) + 1 for fields in body):
        matching = [fields[1:] for fields in body]
    answer = find_header(first, matching)
    above_numbers = has_text_above_numbers(first, matching)
    if known is not None and not known and not above_numbers:
        return None, 0, []
    if answer is Header.UNSURE and known is None:
        shown = shortened(first, 5)
        raise ValueError(
            f"{lines.path}: line {sample[0][0]} ({shown}) may have the columns' names or an example; say --header yes or --header no."
        )
    if answer is not Header.NAMES:
        return None, 0, []
    remarks = []
    if any(is_number(cell) for cell in first if cell) or (known is None and not above_numbers):
        remarks.append(f"The first line ({shortened(first, 5)}) was taken for the columns' names; if it is an example, say --header no.")
    return first, 1, remarks


def _has_row_names(lines: TextLines, sample: Sequence[Record]) -> bool:
    """Whether a first line is shorter by one as R leaves out the name of its rows' names, which differ and stand in quotation marks.

    Without these marks it may as well be that every line has a decimal comma between commas, or a value too many.
    """
    first = [fields[0].strip() for _, fields in sample[1:]]
    text = list(itertools.islice(io.StringIO(lines.text, newline=""), sample[-1][0] - lines.first_line + 1))
    if not all(text[line - lines.first_line].lstrip().startswith('"') for line, _ in sample):
        return False
    return len(set(first)) == len(first) and (is_index(first) or not any(map(is_number, first)))


def _check_names(path: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            raise ValueError(f"{path} has two columns named {name}; give each column a name of its own.")
        seen.add(name)


def _columns(lines: TextLines, names: Sequence[str], skipped: int, keep: set[int]) -> tuple[np.ndarray, list[Column]]:
    """The line number of each example, int64 [n], and the columns."""
    as_text = set(keep)
    while True:
        places, parts, text_after_numbers, with_points = _parsed(lines, names, skipped, as_text)
        if not text_after_numbers:
            break
        as_text |= text_after_numbers  # their numbers are needed as they were written
    columns = []
    for i, name in enumerate(names):
        if parts[i] and isinstance(parts[i][0], np.ndarray):
            columns.append(Column(name, "number", np.concatenate(parts[i])))
        else:
            columns.append(column_of_text(name, [cell for part in parts[i] for cell in part], i in keep))
    return places, settle_commas(columns, with_points, lines.path)


Parts = list[list[np.ndarray | list[str]]]  # of each column, block by block: numbers, or texts


def _parsed(lines: TextLines, names: Sequence[str], skipped: int, as_text: set[int]) -> tuple[np.ndarray, Parts, set[int], set[int]]:
    """Once through the file: line numbers, columns, those that are text after blocks of numbers, those with decimal points."""
    parts: Parts = [[] for _ in names]
    places: list[int] = []
    as_text, late, with_points = set(as_text), set[int](), set[int]()
    memo: dict[str, str] = {}  # the same text is held once
    for block in _blocks(itertools.islice(lines.records(), skipped, None)):
        _check_widths(lines, block, names, skipped)
        places.extend(line for line, _ in block)
        for i, cells in enumerate(zip(*(fields for _, fields in block), strict=True)):
            numbers = None if i in as_text else numbers_of(cells)
            if numbers is not None:
                parts[i].append(numbers)
                if i not in with_points and "." in "".join(cells):
                    with_points.add(i)
                continue
            if i not in as_text and parts[i]:
                late.add(i)
            as_text.add(i)
            parts[i].append([memo.setdefault(cell, cell) for cell in cells])
    return np.array(places, np.int64), parts, late, with_points


def _blocks(records: Iterator[Record]) -> Iterator[list[Record]]:
    while block := list(itertools.islice(records, BLOCK)):
        yield block


def _check_widths(lines: TextLines, block: list[Record], names: Sequence[str], skipped: int) -> None:
    for line, fields in block:
        if len(fields) != len(names):
            before = "the line of names" if skipped else f"line {lines.first_line}"
            raise ValueError(
                f"{lines.path}: line {line} has {len(fields)} value{'s' if len(fields) > 1 else ''} where {before} has {len(names)}; "
                f"{'complete it' if len(fields) < len(names) else 'name every column'}, or put values that contain the delimiter in "
                "quotation marks."
            )
