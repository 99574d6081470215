"""How columns become values: numbers as they are, text as 0 and 1 for each category, gaps refused, left out or filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.columns import GROUPED, TRUTH, Column, Table, as_objects, is_number, none_in, plain_number, quoted, shortened
from nvisa_tf.data.dataset import FLOAT32_MAX
from nvisa_tf.data.roles import Roles


def feature_names(schema: Mapping[str, Any]) -> list[str]:
    """The names of the values that a table's columns become, [d]."""
    return [name for feature in schema["columns"] for name in value_names(feature, schema["named"])]


def value_names(feature: Mapping[str, Any], named: bool) -> list[str]:
    """The names of the values that one column becomes, in a table with names or without."""
    name = feature["name"] if named else f"column {feature['name']}"
    return [f"{name} = {category}" for category in feature["categories"]] if "categories" in feature else [name]


def feature_of(table: Table, column: Column, config: DataConfig) -> dict[str, Any]:
    """How a column becomes values, plain: its name, its categories if it is text, and what is filled in where there is none."""
    feature: dict[str, Any] = {"name": column.name}
    check_usable(table, column, feature | ({"categories": []} if column.kind == "text" else {}))
    present = column.values[~column.missing()]
    if column.kind == "text":
        categories, counts = np.unique(present.astype(str), return_counts=True)
        feature["categories"] = categories.tolist()
        if config.missing in ("mean", "median"):
            feature["fill"] = str(categories[counts.argmax()])
    elif config.missing in ("mean", "median"):
        feature["fill"] = float(np.mean(present) if config.missing == "mean" else np.median(present))
    return feature


def check_usable(table: Table, column: Column, feature: Mapping[str, Any]) -> None:
    """Raise ValueError for a value that is not what its column should hold, with its line."""
    name, source = column.name, table.source
    if "categories" in feature:
        return
    if not column.numeric:
        if column.kind == "marked":
            row = next(i for i, cell in enumerate(column.values) if cell is not None)
            raise ValueError(
                f"{source}: column {name} has {column.values[row]!r} in {table.where(row)}; write plain numbers, without other "
                f"signs, or leave the column out by --drop {name}."
            )
        if column.kind == "grouped":
            row = next(i for i, cell in enumerate(column.values) if cell is not None and GROUPED.fullmatch(cell))
            raise ValueError(
                f"{source}: column {name} has {column.values[row]!r} in {table.where(row)}, which may have a separator of thousands; write "
                f"numbers without such, or leave the column out by --drop {name}."
            )
        row = next((i for i, cell in enumerate(column.values) if cell is not None and not is_number(str(cell))), 0)
        raise ValueError(
            f"{source}: column {name} has {quoted(column.values[row])} in {table.where(row)}, where a number should be; correct "
            "it, leave it empty if it is missing, or leave the column out by --drop."
        )
    infinite = np.abs(column.values) > FLOAT32_MAX
    if infinite.any():
        row = int(np.argmax(infinite))
        raise ValueError(
            f"{source}: column {name} has a number in {table.where(row)} that is infinite or too large for 32-bit numbers; correct it or "
            "leave the row out."
        )


def complete_rows(
    table: Table, used: Sequence[Column], config: DataConfig, roles: Roles, again: bool
) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Which rows are kept, int64; and the others with their reasons.

    Raises:
      ValueError: a missing value that is to be refused, or no row without one.
    """
    everything = np.arange(len(table))
    if config.missing in ("mean", "median"):
        return everything, []
    gaps = {column.name: missing for column in used if (missing := column.missing()).any()}
    if not gaps:
        return everything, []
    bad = np.any(list(gaps.values()), axis=0)
    if config.missing == "refuse":
        name, row = min(((name, int(np.argmax(missing))) for name, missing in gaps.items()), key=lambda gap: gap[1])
        more = sum(int(missing.sum()) for missing in gaps.values())
        others = "" if more == 1 else f" ({more:,} values are missing in {len(gaps)} column{'s' if len(gaps) > 1 else ''})"
        advice = "say --missing drop, mean or median, or leave the column out by --drop"
        if again:
            advice = "complete them, or train with --missing drop, mean or median"
        raise ValueError(f"{table.source}: column {name} has no value in {table.where(row)}{others}; {advice}.")
    if bad.all():
        raise ValueError(
            f"{table.source}: every row has a missing value, so --missing drop leaves none; columns with many are "
            f"{shortened([name for name, _ in sorted(gaps.items(), key=lambda gap: -int(gap[1].sum()))], 4)}."
        )
    identifiers = table.columns[roles.id].text() if roles.id is not None else None
    left_out = []
    for row in np.flatnonzero(bad).tolist():
        called = str(row) if identifiers is None else str(identifiers[row])
        column = next(name for name, missing in gaps.items() if missing[row])
        left_out.append((called, f"no value in column {column}, {table.where(row)}"))
    return np.flatnonzero(~bad), left_out


def encoded(table: Table, column: Column, feature: Mapping[str, Any]) -> tuple[np.ndarray, list[str]]:
    """A column's values, float64 [n, 1 or the number of categories], and what to say of them."""
    if "categories" not in feature:
        values = column.values
        return np.where(np.isnan(values), feature["fill"], values)[:, None] if "fill" in feature else values[:, None], []
    categories = feature["categories"]
    texts = texts_as_known(column, categories)
    if "fill" in feature:
        texts = np.where(none_in(texts), feature["fill"], texts)
    index = {category: i for i, category in enumerate(categories)}
    codes = np.array([index.get(text, -1) for text in texts])
    values = np.zeros((len(texts), len(categories)))
    values[codes >= 0, codes[codes >= 0]] = 1.0
    unseen = sorted({texts[row] for row in np.flatnonzero(codes < 0)})
    if not unseen:
        return values, []
    first = int(np.argmax(codes < 0))
    shown = shortened([quoted(text) for text in unseen], 4)
    return values, [
        f"Column {feature['name']} has values that training had not: {shown}, first in {table.where(first)}; "
        f"those {int((codes < 0).sum()):,} rows are in none of its categories."
    ]


def texts_as_known(column: Column, known: Sequence[str]) -> np.ndarray:
    """A column's texts, str [n] as objects, None where missing, written as the `known` ones where just one of these says the same.

    True, TRUE and true say the same. So do 7 and 007 where 7 is a number of a frame; in a file they are different texts.
    """
    texts = column.text()
    typed = column.kind == "number" and column.raw is None
    written = {}
    for text in {text for text in texts if text is not None} - set(known):
        if text.casefold() in TRUTH:
            alike = [other for other in known if other.casefold() == text.casefold()]
        else:
            alike = [other for other in known if plain_number(other) == float(text)] if typed else []
        if len(alike) == 1:
            written[text] = alike[0]
    return as_objects(None if text is None else written.get(text, text) for text in texts)


def remarks_on_values(x: np.ndarray, names: Sequence[str], features: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to say of columns of text, and of values, float64 [n, d], that are the same in every row."""
    found = []
    for feature in features:
        if categories := [quoted(category)[1:-1] for category in feature.get("categories", ())]:
            found.append(
                f"Column {feature['name']} became {len(categories)} columns of 0 and 1 ({shortened(categories, 4)}); if it holds labels, "
                f"say --label {feature['name']}."
            )
    found = found if len(found) <= 4 else [f"{len(found)} columns of text became one of 0 and 1 for each of their values."]
    constant = [name for name, low, high in zip(names, x.min(0), x.max(0), strict=True) if low == high]
    if constant and len(constant) < len(names):  # a table of nothing else is refused
        found.append(f"The same in every row, so of no use: {shortened(constant)}.")
    return found


def remarks_on_gaps(columns: Sequence[Column], features: Sequence[Mapping[str, Any]], config: DataConfig) -> list[str]:
    """What to say of missing values that were filled in."""
    gaps = {feature["name"]: int(column.missing().sum()) for column, feature in zip(columns, features, strict=True) if "fill" in feature}
    shown = [f"{name} ({count:,})" for name, count in gaps.items() if count]
    what = f"the column's {config.missing}, or of text its commonest value"
    return [f"Missing values were filled in with {what}: {shortened(shown)}."] if shown else []
