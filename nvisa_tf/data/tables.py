"""A table as a data set: its columns become vectors, labels and identifiers, and how they did is kept for other tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nvisa_tf.config.options import near
from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.columns import Column, Table, is_number, none_in, shortened
from nvisa_tf.data.dataset import Dataset, Origin
from nvisa_tf.data.roles import Roles, choose_roles, describe

NAMELESS_ID = "name"  # what identifiers are called whose column has no name


def dataset_of(table: Table, config: DataConfig, schema: Mapping[str, Any] | None = None) -> Dataset:
    """The examples of a table: a vector for each row, float64 [n, d].

    A column of numbers or truth values gives one value, a column of text one of 0 and 1 for each of its categories.

    Args:
      table: the columns.
      config: which are used, what for, and what becomes of missing values.
      schema: `Origin.table` of an earlier data set whose columns are to be made again, by name whatever their order, or by place where
        that table had no names; its labels and identifiers may be absent. None: as `config` says.

    Raises:
      ValueError: columns that are not there or cannot be used, missing values that are to be refused, or no row that is left; one sentence
        names the column and the line.
    """
    if schema:
        features, roles, remarks = _roles_again(table, schema)
    else:
        roles = choose_roles(table, config)
        features = [_feature(table, table.columns[i], config) for i in roles.features]
        remarks = describe(table, roles)
    used = [table.columns[i] for i in roles.features]
    for column, feature in zip(used, features, strict=True):
        _check_usable(table, column, feature)
    kept, left_out = _complete_rows(table, used, config, roles, bool(schema))
    if len(left_out):
        remarks.append(f"{len(left_out):,} of {len(table):,} rows were left out, as they have missing values.")
    rows = dataclasses.replace(table, columns=tuple(c.take(kept) for c in table.columns), places=table.places[kept]) if left_out else table
    columns = [rows.columns[i] for i in roles.features]
    x = np.empty((len(rows), sum(len(feature.get("categories", [0])) for feature in features)))
    done = 0
    for column, feature in zip(columns, features, strict=True):
        part, remark = _encoded(rows, column, feature)
        x[:, done : done + part.shape[1]] = part
        done += part.shape[1]
        remarks += remark
    named = schema["named"] if schema else table.named
    names = tuple(name for feature in features for name in _names(feature, named))
    remarks += _filled(columns, features, config)
    if not schema:
        remarks += _remarks_on_values(x, names, features)
    y, class_names, remark = _labels(rows, roles, schema)
    ids, id_name = _identifiers(rows, roles)
    schema = schema or {
        "named": table.named,
        "columns": features,
        "width": len(table.columns),
        "places": list(roles.features),
        "label": "" if roles.label is None else table.columns[roles.label].name,
        "id": "" if roles.id is None else table.columns[roles.id].name,
        "classes": list(class_names),
    }
    origin = Origin("table", id_name, names, class_names, tuple(left_out), (*table.remarks, *remarks, *remark), dict(schema))
    return Dataset(Path(table.source).name, x, y, None, ids, kept if left_out else None, origin)


def feature_names(schema: Mapping[str, Any]) -> list[str]:
    """The names of the values that a table's columns become, [d]."""
    return [name for feature in schema["columns"] for name in _names(feature, schema["named"])]


def check_width(dataset: Dataset, schema: Mapping[str, Any]) -> None:
    """Raise ValueError for an array that has not the values that a table's columns became."""
    names = feature_names(schema)
    if dataset.shape != (len(names),):
        raise ValueError(
            f"{dataset.name} has examples of shape {list(dataset.shape)}, and the model was trained on a table of {len(names)} values: "
            f"{shortened(names)}; give these, in that order."
        )


def _names(feature: Mapping[str, Any], named: bool) -> list[str]:
    name = feature["name"] if named else f"column {feature['name']}"
    return [f"{name} = {category}" for category in feature["categories"]] if "categories" in feature else [name]


def _feature(table: Table, column: Column, config: DataConfig) -> dict[str, Any]:
    """How a column becomes values, plain: its name, its categories if it is text, and what is filled in where there is none."""
    feature: dict[str, Any] = {"name": column.name}
    _check_usable(table, column, feature | ({"categories": []} if column.kind == "text" else {}))
    present = column.values[~column.missing()]
    if column.kind == "text":
        categories, counts = np.unique(present.astype(str), return_counts=True)
        feature["categories"] = categories.tolist()
        if config.missing in ("mean", "median"):
            feature["fill"] = str(categories[counts.argmax()])
    elif config.missing in ("mean", "median"):
        feature["fill"] = float(np.mean(present) if config.missing == "mean" else np.median(present))
    return feature


def _check_usable(table: Table, column: Column, feature: Mapping[str, Any]) -> None:
    """Raise ValueError for a value that is not what its column should hold, with its line."""
    name, source = column.name, table.source
    if "categories" in feature:
        return
    if not column.numeric:
        if column.kind == "marked":
            row = next(i for i, cell in enumerate(column.values) if cell is not None)
            raise ValueError(
                f"{source}: column {name} has {column.values[row]!r} in {table.where(row)}; write numbers without signs of a unit, or "
                f"leave the column out by --drop {name}."
            )
        if column.kind == "grouped":
            row = next(i for i, cell in enumerate(column.values) if cell is not None and ("," in cell or "." in cell))
            raise ValueError(
                f"{source}: column {name} has {column.values[row]!r} in {table.where(row)}, of which it cannot be told whether it has "
                "thousands or decimals; write numbers without separators of thousands."
            )
        row = next((i for i, cell in enumerate(column.values) if cell is not None and not is_number(str(cell))), 0)
        raise ValueError(
            f"{source}: column {name} has {_cut(column.values[row])} in {table.where(row)}, where a number should be; correct it, leave it "
            "empty if it is missing, or leave the column out by --drop."
        )
    infinite = np.isinf(column.values)
    if infinite.any():
        row = int(np.argmax(infinite))
        raise ValueError(
            f"{source}: column {name} has a number in {table.where(row)} that is infinite or too large; correct it or leave the row out."
        )


def _cut(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _complete_rows(
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


def _encoded(table: Table, column: Column, feature: Mapping[str, Any]) -> tuple[np.ndarray, list[str]]:
    """A column's values, float64 [n, 1 or the number of categories], and what to say of them."""
    if "categories" not in feature:
        values = column.values
        return np.where(np.isnan(values), feature["fill"], values)[:, None] if "fill" in feature else values[:, None], []
    texts = column.text()
    if "fill" in feature:
        texts = np.where(none_in(texts), feature["fill"], texts)
    categories = feature["categories"]
    index = {category: i for i, category in enumerate(categories)}
    codes = np.array([index.get(text, -1) for text in texts])
    values = np.zeros((len(texts), len(categories)))
    values[codes >= 0, codes[codes >= 0]] = 1.0
    unseen = sorted({texts[row] for row in np.flatnonzero(codes < 0)})
    if not unseen:
        return values, []
    first = int(np.argmax(codes < 0))
    shown = shortened([_cut(text) for text in unseen], 4)
    return values, [
        f"Column {feature['name']} has values that training had not: {shown}, first in {table.where(first)}; "
        f"those {int((codes < 0).sum()):,} rows are in none of its categories."
    ]


def _remarks_on_values(x: np.ndarray, names: Sequence[str], features: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [
        f"Column {feature['name']} became {len(feature['categories'])} columns of 0 and 1: "
        f"{shortened([_cut(category)[1:-1] for category in feature['categories']])}."
        for feature in features
        if "categories" in feature
    ]
    found = found if len(found) <= 4 else [f"{len(found)} columns of text became columns of 0 and 1, one for each of their values."]
    constant = [name for name, low, high in zip(names, x.min(0), x.max(0), strict=True) if low == high]
    if constant and len(constant) < len(names):  # a table of nothing else is refused
        found.append(f"The same in every row, so of no use: {shortened(constant)}.")
    return found


def _filled(columns: Sequence[Column], features: Sequence[Mapping[str, Any]], config: DataConfig) -> list[str]:
    """What to say of missing values that were filled in."""
    gaps = {feature["name"]: int(column.missing().sum()) for column, feature in zip(columns, features, strict=True) if "fill" in feature}
    shown = [f"{name} ({count:,})" for name, count in gaps.items() if count]
    what = f"the column's {config.missing}, or of text its commonest value"
    return [f"Missing values were filled in with {what}: {shortened(shown)}."] if shown else []


def _labels(table: Table, roles: Roles, schema: Mapping[str, Any] | None) -> tuple[np.ndarray | None, tuple[str, ...], list[str]]:
    """Labels, int64 [n], their names, and what to say of them.

    Raises:
      ValueError: a label that is missing or not whole; in data that a trained model gets these leave the labels out, with a remark.
    """
    if roles.label is None:
        return None, tuple(schema["classes"]) if schema else (), []
    try:
        return read_labels(table, table.columns[roles.label], list(schema["classes"]) if schema else [])
    except ValueError as error:
        if not schema:
            raise
        return None, tuple(schema["classes"]), [f"There are no scores: {error}"]


def read_labels(table: Table, column: Column, known: list[str]) -> tuple[np.ndarray, tuple[str, ...], list[str]]:
    """A column of labels, int64 [n]; the names of 0, 1, ... where they are text; what to say of those that are not among the `known` names.

    Raises:
      ValueError: one that is missing, or a number that is not whole.
    """
    name, source = column.name, table.source
    missing = column.missing()
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(
            f"{source}: column {name} has no label in {table.where(row)} ({int(missing.sum()):,} missing in all); complete it, or leave "
            f"the column out by --drop {name}."
        )
    if column.kind == "number" and not known:
        odd = (column.values != np.round(column.values)) | (np.abs(column.values) >= 2**53)
        if odd.any():
            row = int(np.argmax(odd))
            raise ValueError(
                f"{source}: column {name} has {column.values[row]:g} in {table.where(row)}, and labels must be whole numbers or "
                f"text; leave it out by --drop {name}, or cluster by it with --label none."
            )
        return column.values.astype(np.int64), (), []
    texts = column.text()
    new = sorted(set(texts) - set(known))
    names = [*known, *new]
    index = {text: i for i, text in enumerate(names)}
    remarks = [f"Labels that training had not: {shortened([_cut(text) for text in new])}."] if known and new else []
    return np.array([index[text] for text in texts], np.int64), tuple(names), remarks


def _identifiers(table: Table, roles: Roles) -> tuple[np.ndarray | None, str]:
    if roles.id is None:
        return None, "row"
    column = table.columns[roles.id]
    texts = column.text()
    return np.array(["" if text is None else text for text in texts], str), column.name or NAMELESS_ID


def _roles_again(table: Table, schema: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Roles, list[str]]:
    """How training took its columns, their roles in this table, and what to say of the others."""
    features = [dict(feature) for feature in schema["columns"]]
    columns, source = table.columns, table.source
    if not schema["named"]:
        return features, *_by_place(table, schema)
    if not table.named:
        raise ValueError(
            f"{source} has no line of names, and the model was trained on columns by name: "
            f"{shortened([feature['name'] for feature in features])}; add that line."
        )
    index = {column.name: i for i, column in enumerate(columns)}
    wanted = [feature["name"] for feature in features]
    missing = [name for name in wanted if name not in index]
    if missing:
        several = "s" if len(missing) > 1 else ""
        hint = near(missing[0], [name for name in index if name and name not in wanted]) if len(missing) == 1 else ""
        raise ValueError(f"{source} lacks the column{several} {shortened(missing)}, which the model was trained on{hint}.")
    label, identifier = index.get(schema["label"]) if schema["label"] else None, index.get(schema["id"]) if schema["id"] else None
    places = tuple(index[name] for name in wanted)
    new = [i for i in range(len(columns)) if i not in places and i not in (label, identifier)]
    remarks = []
    if new:
        shown = shortened([columns[i].name or "one without a name" for i in new])
        remarks.append(f"Left out, as the model was not trained on {'them' if len(new) > 1 else 'it'}: {shown}.")
    if identifier is not None and columns[identifier].missing().any():
        identifier = None
    return features, Roles(places, label, identifier, {}), remarks


def _by_place(table: Table, schema: Mapping[str, Any]) -> tuple[Roles, list[str]]:
    width, places = schema["width"], tuple(schema["places"])
    given = len(table.columns)
    if given == width:
        label, identifier = (int(schema[role]) - 1 if schema[role] else None for role in ("label", "id"))  # their names are numbers
        return Roles(places, label, identifier, {}), []
    if given == len(places):  # the same without labels and what else was left out
        return Roles(tuple(range(given)), None, None, {}), []
    raise ValueError(
        f"{table.source} has {given} columns, and the model was trained on {width} without names; give as many, in that order."
    )
