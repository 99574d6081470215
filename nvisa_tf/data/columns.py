"""A table in memory: named columns of numbers, truth values, text or dates, whatever file or frame they come from."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from nvisa_tf.config.options import near

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "null", "?"})  # what stands for no value, in lower case
TRUTH = {"true": 1.0, "false": 0.0}
CLOCK = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?(Z|[+-]\d{2}:?\d{2})?"
DATE = re.compile(rf"(\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}})([ T]{CLOCK})?|{CLOCK}")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
MARKS = "%$€£¥\u2212()"  # a unit, a minus sign of typesetters, an accountant's minus
MARKED = re.compile(rf"[{MARKS}]?[+-]?[{MARKS}]? ?[+-]?\d[\d.,]* ?[{MARKS}]{{0,2}}")
GROUPED = re.compile(  # with separators of thousands, or what may be such: 1,234  1.234,5  1.234.567  1 234,5
    r"[+-]?[1-9]\d{0,2}((,\d{3})+(\.\d*)?|(\.\d{3})+,\d+|(\.\d{3}){2,}|([ '\u00a0\u202f]\d{3})+([.,]\d+)?)"
)


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
      name: "" where the table has names and this column has none.
      kind: "number", "bool", "text", "date"; "mixed", mostly numbers with text among them; "grouped", numbers such as 1,234 that
        may have separators of thousands; "marked", numbers with signs such as % or $; "other", values that are none of
        these, such as lists.
      values: float64 [n], NaN where missing, of numbers and truth values; of the other kinds str [n] as objects, None where missing.
      raw: what stands in the file, str [n] as objects, kept for what may be identifiers or labels; None: not kept.
    """

    name: str
    kind: str
    values: np.ndarray
    raw: np.ndarray | None = None

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers."""
        return self.values.dtype == np.float64

    def missing(self) -> np.ndarray:
        """Where there is no value, bool [n]."""
        return np.isnan(self.values) if self.numeric else none_in(self.values)

    def text(self) -> np.ndarray:
        """The values as a person would write them, str [n] as objects, None where missing."""
        if self.raw is not None or not self.numeric:
            return self.values if self.raw is None else self.raw
        if self.kind == "bool":
            return as_objects(None if np.isnan(v) else str(bool(v)) for v in self.values)
        return as_objects(
            None if np.isnan(v) else f"{int(v)}" if v == np.floor(v) and abs(v) < 2**53 else repr(float(v)) for v in self.values
        )

    def take(self, rows: np.ndarray) -> Column:
        """The same column with these rows only."""
        return dataclasses.replace(self, values=self.values[rows], raw=None if self.raw is None else self.raw[rows])


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of one length, and what it takes to speak of them.

    Attributes:
      source: the path of the file, or what else the table is called in messages.
      columns: at least one; the names that are not "" differ.
      named: whether the table has names; without them the names are "1", "2", ...
      places: the number of the line of each row in the file, or of the row, int64 [n].
      unit: "line" or "row", what `places` count.
      remarks: sentences that say how the table was read.
    """

    source: str
    columns: tuple[Column, ...]
    named: bool
    places: np.ndarray
    unit: str = "line"
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.places)

    def where(self, row: int) -> str:
        """Such as "line 17"."""
        return f"{self.unit} {self.places[row]}"


def as_objects(values: Iterable[str | None]) -> np.ndarray:
    """Strings and None as an array of objects, [n]."""
    listed = list(values)
    array = np.empty(len(listed), object)
    array[:] = listed
    return array


def none_in(values: np.ndarray) -> np.ndarray:
    """Where objects are None, bool [n]."""
    return np.fromiter((value is None for value in values), bool, len(values))


def is_missing(cell: str) -> bool:
    """Whether a cell's text stands for no value."""
    return cell.strip().casefold() in MISSING


def is_number(cell: str) -> bool:
    """Whether a cell's text is one number, with a point or a comma."""
    return plain_number(cell) is not None or bool(DECIMAL_COMMA.fullmatch(cell.strip()))


def plain_number(cell: str) -> float | None:
    """The number that a cell's text is, with a point if it has one; None: it is none."""
    try:
        return None if "_" in cell else float(cell)  # Python takes 1_000 for a number
    except ValueError:
        return None


def numbers_of(cells: Sequence[str]) -> np.ndarray | None:
    """Texts as numbers, float64 [n], NaN where missing; None where one of them is neither."""
    if "_" in "".join(cells):
        return None
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        pass  # gaps, or no numbers
    try:
        return np.fromiter((np.nan if is_missing(cell) else float(cell) for cell in cells), np.float64, len(cells))
    except ValueError:
        return None


def column_of_text(name: str, cells: Sequence[str], keep_raw: bool = False) -> Column:
    """A column of texts as what they stand for; commas in numbers are not yet looked at (`settle_commas`)."""
    raw = as_objects(None if is_missing(cell) else cell.strip() for cell in cells) if keep_raw else None
    values = numbers_of(cells)
    if values is not None:
        return Column(name, "number", values, raw)
    given = raw if raw is not None else as_objects(None if is_missing(cell) else cell.strip() for cell in cells)
    present = [cell for cell in given if cell is not None]
    if all(cell.casefold() in TRUTH for cell in set(present)):
        truth = (np.nan if cell is None else TRUTH[cell.casefold()] for cell in given)
        return Column(name, "bool", np.fromiter(truth, np.float64, len(given)), raw)
    numbers = sum(map(is_number, present))
    if numbers > len(present) / 2:
        return Column(name, "mixed", given, raw)
    if all(map(DATE.fullmatch, present)):
        return Column(name, "date", given, raw)
    marked = all(map(MARKED.fullmatch, present)) and any(cell[0] in MARKS or cell[-1] in MARKS for cell in present)
    return Column(name, "marked" if marked else "text", given, raw)


def settle_commas(columns: Sequence[Column], with_points: set[int], source: str) -> list[Column]:
    """The columns with numbers such as 1,5 made numbers, where the table leaves no doubt that the comma is a decimal one.

    Args:
      columns: of one table.
      with_points: the indices of columns of numbers that have a point.
      source: what the table is called.

    Raises:
      ValueError: some numbers have a decimal comma, others a point.
    """
    found: dict[int, list[str]] = {}
    for i, column in enumerate(columns):
        if column.kind in ("mixed", "text"):
            present = [cell for cell in column.values if cell is not None]
            if all(is_number(cell) or GROUPED.fullmatch(cell) for cell in present):
                found[i] = [cell for cell in present if "," in cell or GROUPED.fullmatch(cell)]
    cells = [cell for some in found.values() for cell in some]
    settled = list(columns)
    if not any(DECIMAL_COMMA.fullmatch(cell) and not GROUPED.fullmatch(cell) for cell in cells):
        for i in found:
            settled[i] = dataclasses.replace(columns[i], kind="grouped")
        return settled
    with_points = with_points | {i for i in found if any("." in cell for cell in columns[i].values if cell is not None)}
    if with_points:
        comma = columns[next(i for i in found if found[i])].name
        raise ValueError(
            f"{source}: column {columns[min(with_points)].name} has numbers with a point and column {comma} numbers with a comma; "
            "write all decimals alike, without separators of thousands."
        )
    for i in found:
        values = np.array([np.nan if cell is None else float(cell.replace(",", ".")) for cell in columns[i].values])
        settled[i] = dataclasses.replace(columns[i], kind="number", values=values)
    return settled


def quoted(text: str) -> str:
    """A cell's text for a sentence, in quotation marks and cut."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def suggestion(name: str, known: Iterable[str]) -> str:
    """A clause with the known names nearest to `name`, or with all if they are few; "" where there are none."""
    names = [other for other in known if other]
    return near(name, names) if names else ""


def shortened(names: Sequence[str], most: int = 6) -> str:
    """Names for a sentence: all, or the first few and how many more."""
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[: most - 1])} and {len(names) - most + 1:,} more"


KeepRaw = Callable[[str], bool]  # whether a column of this name may be of identifiers or labels
