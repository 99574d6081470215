"""Which of a table's columns are clustered by, which are labels, identifiers, or left out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.columns import Column, Table, quoted, shortened, suggestion

LABELS = (
    "y",
    "label",
    "labels",
    "class",
    "classes",
    "target",
    "targets",
    "class_name",
    "class_label",
    "ground_truth",
    "species",
    "diagnosis",
)  # in lower case
IDENTIFIER = re.compile(r"(?i:id|index|idx|uuid|guid|row_?id)|.+(?i:[_ .-](id|uuid|guid))|.*[a-z](Id|ID|Uuid|UUID)")
PLAIN_IDENTIFIER = re.compile(r"(?i:id|index|idx|uuid|guid|row_?id)")  # of these none is clustered by, whatever it holds
CATEGORIES = 20  # different texts up to which a column becomes one of 0 and 1 for each
FEW = 10  # rows below which labels may well differ in all
NONE = "none"  # as the name of a label or id column: there is none


@dataclasses.dataclass(frozen=True)
class Roles:
    """What each column of a table is for, as indices of its columns.

    Attributes:
      features: what is clustered by, in order.
      label: None: no labels.
      id: None: no identifiers.
      left_out: why, by index.
      remarks: what else a person should know.
    """

    features: tuple[int, ...]
    label: int | None
    id: int | None
    left_out: dict[int, str]
    remarks: tuple[str, ...] = ()


def may_be_text(name: str, config: DataConfig, schema: Mapping[str, Any] | None = None) -> bool:
    """Whether a column of this name may hold identifiers, labels or an earlier table's categories, which are needed as they were written.

    `schema` is that table's `Origin.table`. Without names a column may stand in another place, so any may have categories.
    """
    folded = name.strip().casefold()
    if IDENTIFIER.fullmatch(name) or folded in LABELS or folded in (config.id.strip().casefold(), config.label.strip().casefold()):
        return True
    if schema is None:
        return False
    categories = [feature["name"] for feature in schema["columns"] if "categories" in feature]
    return name in (schema["label"], schema["id"]) or (name in categories if schema["named"] else bool(categories))


def choose_roles(table: Table, config: DataConfig) -> Roles:
    """The columns' roles by their names and kinds, and by what a person said.

    Raises:
      ValueError: a name that no column has, several columns that may be labels, labels that are all different, or nothing to cluster by.
    """
    columns, source = table.columns, table.source
    dropped = {find_column(table, name, "drop") for name in config.drop}
    asked = [find_column(table, name, "columns") for name in config.columns]
    if both := dropped & set(asked):
        raise ValueError(f"{source}: column {columns[min(both)].name} stands in columns and in drop; take it out of one.")
    left_out = dict.fromkeys(sorted(dropped), "as you said")
    free = [i for i in range(len(columns)) if i not in dropped and i not in asked]
    label = _label(table, config, free, asked, dropped)
    free = [i for i in free if i != label]
    unique = {i for i in free if (columns[i].kind == "text" or IDENTIFIER.fullmatch(columns[i].name)) and _unique(columns[i])}
    identifier = _identifier(table, config, free, unique)
    features, remarks = [], []
    for i, column in enumerate(columns):
        if i in left_out or i in (label, identifier):
            continue
        reason = "" if i in asked else _why_not(column, asked, i in unique, config)
        reason = reason or _unusable(column, config)
        if i in asked and reason:
            raise ValueError(f"{source}: column {column.name} cannot be clustered by: it is left out as {reason}; take it out of columns.")
        if reason:
            left_out[i] = reason
            continue
        if i not in asked and _counts_rows(column):
            if not table.named:  # an index, whose name was left out with the others
                left_out[i] = "it counts the rows"
                continue
            remarks.append(f"Column {column.name} is clustered by, though it counts the rows; --drop {column.name} leaves it out.")
        elif i not in asked and IDENTIFIER.fullmatch(column.name):
            remarks.append(
                f"Column {column.name} is clustered by, though its name is that of an identifier; --drop {column.name} leaves it out."
            )
        features.append(i)
    if not features:
        why = "; ".join(f"{columns[i].name or 'a column'}: {reason}" for i, reason in list(left_out.items())[:4])
        why = f"left out are {why}" if why else "it has labels and identifiers alone"
        raise ValueError(f"{source} has no column to cluster by ({why}); add columns of numbers.")
    return Roles(tuple(features), label, identifier, left_out, tuple(remarks))


def find_column(table: Table, name: str, option: str) -> int:
    """The index of a column by its name, whatever its case if no other is written so; in a table without names that is its number.

    Raises:
      ValueError: no such column; those with names alike are named.
    """
    names = [column.name for column in table.columns]
    if name in names:
        return names.index(name)
    alike = [i for i, other in enumerate(names) if other.casefold() == name.strip().casefold()]
    if len(alike) == 1:
        return alike[0]
    if not table.named:
        raise ValueError(f"{table.source} has {len(names)} columns without names, so {option} takes numbers from 1, and not {name!r}.")
    raise ValueError(f"{table.source} has no column {name!r}, which {option} names{suggestion(name, names)}.")


def _label(table: Table, config: DataConfig, free: list[int], asked: list[int], dropped: set[int]) -> int | None:
    columns = table.columns
    if config.label == NONE:
        return None
    if config.label:
        label = find_column(table, config.label, "label")
        if label in dropped or label in asked:
            raise ValueError(
                f"{table.source}: column {columns[label].name} stands in label and in {'drop' if label in dropped else 'columns'}; "
                "take it out of one."
            )
    else:
        found = [i for i in free if columns[i].name.casefold() in LABELS and table.named]
        if len(found) > 1:
            names = [columns[i].name for i in found]
            raise ValueError(
                f"{table.source}: columns {' and '.join(names)} may all be labels; name one by --label and the others by --drop."
            )
        if not found:
            return None
        label = found[0]
    if len(table) >= FEW and _unique(columns[label]):
        name = columns[label].name
        raise ValueError(
            f"{table.source}: column {name} has another value in each row, so it holds no labels; leave it out by --drop {name}, or "
            "cluster by it with --label none."
            if not config.label
            else f"{table.source}: column {name}, which label names, has another value in each row; name a column of labels."
        )
    return label


def _identifier(table: Table, config: DataConfig, free: list[int], unique: set[int]) -> int | None:
    columns = table.columns
    if config.id == NONE:
        return None
    if config.id:
        found = find_column(table, config.id, "id")
        if found not in free:
            raise ValueError(f"{table.source}: column {columns[found].name}, which id names, is also the label, or in drop or columns.")
        if (missing := columns[found].missing()).any():
            raise ValueError(
                f"{table.source}: {table.where(int(np.argmax(missing)))} has no value in {columns[found].name}, which id names."
            )
        return found
    named = [i for i in free if i in unique and table.named]
    by_name = [i for i in named if IDENTIFIER.fullmatch(columns[i].name)]
    plain = [i for i in by_name if PLAIN_IDENTIFIER.fullmatch(columns[i].name)]
    texts = [i for i in named if columns[i].kind == "text" and (_nameless(columns[i]) or len(table) > CATEGORIES)]  # names of rows
    return next(iter(plain + by_name + texts), None)


def _why_not(column: Column, asked: Sequence[int], unique: bool, config: DataConfig) -> str:
    """Why a column that no one asked for is left out; "" if it is not."""
    if asked:
        return "not among --columns"
    if _nameless(column):
        return "without a name"
    if config.label not in ("", NONE) and column.name.casefold() in LABELS:
        return "named as labels are"
    if config.id != NONE and (PLAIN_IDENTIFIER.fullmatch(column.name) or (unique and IDENTIFIER.fullmatch(column.name))):
        return "an identifier"
    return ""


def _unusable(column: Column, config: DataConfig) -> str:
    """Why a column's values cannot be clustered by; "" if they can."""
    if column.missing().all():
        return "without values"
    if column.kind == "date":
        return "dates or times"
    if column.kind == "other":
        return "neither numbers nor text"
    if column.kind == "text":
        present = [cell for cell in column.values if cell is not None]
        different = len(set(present))
        if config.text_columns == "drop" or different > CATEGORIES:
            return f"text, such as {quoted(present[0])}" + (f", {different:,} different" if different > 1 else "")
        if different == 1:
            return f"always {quoted(present[0])}"
    return ""


def _counts_rows(column: Column) -> bool:
    """Whether the values are 0, 1, 2, ... or 1, 2, 3, ..., of so many rows that it is no chance."""
    values = column.values
    return column.numeric and len(values) >= FEW and values[0] in (0, 1) and np.array_equal(values, np.arange(len(values)) + values[0])


def _nameless(column: Column) -> bool:
    return not column.name or bool(re.fullmatch(r"Unnamed: \d+", column.name))  # the latter by pandas, when it wrote the file again


def _unique(column: Column) -> bool:
    """Whether every row has a value of its own, as identifiers have: of numbers, whole ones."""
    if column.missing().any() or column.kind == "other":
        return False
    values = column.values if column.raw is None else column.raw
    return len(set(values.tolist())) == len(values)


def describe(table: Table, roles: Roles) -> list[str]:
    """Sentences that say what the columns are used for."""
    columns = table.columns
    features = [columns[i].name for i in roles.features]
    found = [f"Clustered by {len(features)} column{'s' if len(features) > 1 else ''}: {shortened(features)}."]
    if not table.named:
        found = [f"Clustered by {len(features)} of {len(columns)} columns, which have no names."]
    if roles.label is not None:
        found.append(f"Labels, for scoring alone: column {columns[roles.label].name}.")
    if roles.id is not None:
        name = columns[roles.id].name
        found.append(
            f"Examples are identified by {f'column {name}' if name else f'the {_ordinal(roles.id + 1)} column, which has no name'}."
        )
    if roles.left_out:
        reasons: dict[str, list[str]] = {}
        for i, reason in roles.left_out.items():
            name = columns[i].name if table.named else f"column {i + 1}"
            reasons.setdefault(reason, []).append(name or f"the {_ordinal(i + 1)} column")
        parts = [f"{shortened(names, 4)} ({reason})" for reason, names in reasons.items()]
        found.append(f"Left out: {'; '.join(parts[:6])}{f' and {len(parts) - 6} more' if len(parts) > 6 else ''}.")
    return found + list(roles.remarks)


def _ordinal(number: int) -> str:
    last = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{last}"
