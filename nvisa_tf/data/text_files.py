"""Text files of separated values as lines of fields: compression, encoding, delimiter, quotation marks."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from nvisa_tf.data.columns import is_number

DELIMITERS = (",", ";", "\t", "|", " ")  # of two that fit alike, the first
SAMPLE = 200  # lines by which the delimiter is found
CONSISTENT = 0.8  # share of lines with the same number of fields from which on a delimiter fits
Record = tuple[int, list[str]]  # the number of its line in the file, its fields


class TextLines(NamedTuple):
    """The text of a file and how it is cut.

    Attributes:
      path: of the file.
      text: from its first line that is no comment.
      first_line: the number of that line in the file.
      delimiter: between fields.
      comment: the last line of the comments before it, without its #; None: none.
      comments: how many lines of comments there are.
    """

    path: str
    text: str
    first_line: int
    delimiter: str
    comment: str | None
    comments: int

    def records(self) -> Iterator[Record]:
        """The lines that are not blank, cut at the delimiter; raises ValueError for quotation marks that do not match."""
        return _records(self.path, self.text, self.delimiter, self.first_line)

    def comment_fields(self) -> list[str]:
        """The last comment, cut as the lines are; [] without one."""
        return [] if self.comment is None else next(iter(_records(self.path, self.comment, self.delimiter, 1)), (1, [""]))[1]


def read_lines(path: str) -> TextLines:
    """A text file, compressed by gzip where its name ends in .gz, in UTF-8 or, if it says so, UTF-16.

    Lines that begin with # before all others are comments, but for rows of the table (`_rows_in_comments`); `sep=;`, as spreadsheets
    write it, names the delimiter.

    Raises:
      ValueError: no text in these encodings, a damaged file, or nothing in it; one sentence says where.
    """
    lines = _decoded(path).splitlines(keepends=True)
    delimiter, comments, skipped = "", list[int](), 0
    for line in lines:
        content = line.strip()
        if skipped == 0 and content.lower().startswith("sep=") and len(content) == 5:
            delimiter = content[4]
        elif skipped == 0 and line.rstrip("\r\n") == "sep=\t":
            delimiter = "\t"
        elif content.startswith("#"):
            comments.append(skipped)
        elif content:
            break
        skipped += 1
    text = "".join(lines[skipped:])
    if rows := _rows_in_comments(path, [lines[i] for i in comments], text, delimiter):
        comments, skipped = comments[:-rows], comments[-rows]
        text = "".join(lines[skipped:])
    if not text.strip():
        raise ValueError(f"{path} is empty; a table has a line for each example.")
    if other := _other_format(text.lstrip()):
        raise ValueError(f"{path} is {other}, and no table; save the table as CSV.")
    delimiter = delimiter or _delimiter(path, text)
    end = len(text.rstrip(f"{delimiter} \t\r\n"))  # spreadsheets leave lines of nothing but delimiters at the end
    line_end = text.find("\n", end)
    comment = lines[comments[-1]].strip().lstrip("#").strip(" ") + "\n" if comments else None
    return TextLines(path, text if line_end < 0 else text[: line_end + 1], skipped + 1, delimiter, comment, len(comments))


def _rows_in_comments(path: str, comments: list[str], rest: str, delimiter: str) -> int:
    """How many of the last lines that begin with # are rows, such as #ff0000,1,2: as many fields as the lines below, numbers among them."""
    if not comments:
        return 0
    below = rest if rest.strip() else comments[-1]
    delimiter = delimiter or _delimiter(path, below)
    width = len(next(_records(path, below, delimiter, 1, strict=False))[1])
    count = 0
    for line in reversed(comments):
        fields = next(_records(path, line.lstrip(), delimiter, 1, strict=False))[1]
        if line.strip()[1:2] in ("", " ", "\t", "#") or len(fields) != width or not any(map(is_number, fields[1:])):
            break
        count += 1
    return count


def _other_format(text: str) -> str:
    """What else than a table the text is, "" if nothing is known."""
    if text[:9].casefold().startswith(("<!doctype", "<html")):
        return "a web page"
    if text[0] not in "{[":
        return ""
    for part in (text.partition("\n")[0], text):  # an object in each line, or one in all
        try:
            json.loads(part)
        except (ValueError, RecursionError):
            continue
        return "JSON"
    return ""


def _decoded(path: str) -> str:
    try:
        with gzip.open(path, "rb") if path.lower().endswith(".gz") else open(path, "rb") as file:
            content = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is cut off, damaged or not compressed by gzip; copy it again.") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; check its permissions.") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
        if b"\0" in content[:100_000]:
            raise ValueError(f"{path} is not a text file; save the table as CSV (UTF-8).")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = f"0x{content[error.start]:02x}"
        called = "UTF-16, as its first bytes say" if encoding == "utf-16" else "UTF-8"
        raise ValueError(f"{path} is not in {called}: line {line} has the byte {byte}; save it as CSV in UTF-8.") from error


def _delimiter(path: str, text: str) -> str:
    """The delimiter that cuts the first lines into as many fields each, and into most numbers."""
    end = 0
    for _ in range(SAMPLE):
        end = text.find("\n", end) + 1
        if not end:
            break
    sample = text[:end] if end else text
    found = []
    for order, delimiter in enumerate(DELIMITERS):
        try:
            rows = [fields for _, fields in _records(path, sample, delimiter, 1, strict=False)]
        except ValueError:
            continue
        rows = rows[:-1] if end and len(rows) > 1 else rows  # a field over several lines may be cut
        width, count = Counter(map(len, rows)).most_common(1)[0]
        if width > 1 and count >= CONSISTENT * len(rows):
            cells = [cell for fields in rows for cell in fields if cell.strip()]
            found.append((sum(map(is_number, cells)) / max(1, len(cells)), -order, delimiter))
        elif width > 1:
            found.append((-1 + count / len(rows) / 2, -order, delimiter))
    return max(found)[2] if found else ","


def _records(path: str, text: str, delimiter: str, first_line: int, strict: bool = True) -> Iterator[Record]:
    lines: Iterator[str] = io.StringIO(text, newline="")
    if delimiter == " ":  # any number of them
        lines = (line.strip().replace("\t", " ") for line in lines)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)
    before = 0
    try:
        for fields in reader:
            if fields:
                yield first_line + before, fields
            before = reader.line_num
    except csv.Error as error:
        what = "a quotation mark that is not closed, or text after a closing one"
        if "limit" in str(error):
            what = f"a value of more than {csv.field_size_limit():,} characters, or a quotation mark that is not closed"
        raise ValueError(f"{path}: line {first_line + before} has {what}; correct it.") from error
