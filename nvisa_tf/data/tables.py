"""A table as a data set: its columns become vectors, labels and identifiers, and how they did is kept for other tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.columns import Column, Table, quoted, shortened, suggestion
from nvisa_tf.data.dataset import Dataset, Origin
from nvisa_tf.data.encoding import (
    check_usable,
    complete_rows,
    encoded,
    feature_names,
    feature_of,
    remarks_on_gaps,
    remarks_on_values,
    texts_as_known,
    value_names,
)
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
        features = [feature_of(table, table.columns[i], config) for i in roles.features]
        remarks = describe(table, roles)
    used = [table.columns[i] for i in roles.features]
    for column, feature in zip(used, features, strict=True):
        check_usable(table, column, feature)
    kept, left_out = complete_rows(table, used, config, roles, bool(schema))
    if len(left_out):
        remarks.append(f"Left out for missing values: {len(left_out):,} of {len(table):,} rows.")
    rows = dataclasses.replace(table, columns=tuple(c.take(kept) for c in table.columns), places=table.places[kept]) if left_out else table
    columns = [rows.columns[i] for i in roles.features]
    x = np.empty((len(rows), sum(len(feature.get("categories", [0])) for feature in features)))
    done = 0
    for column, feature in zip(columns, features, strict=True):
        part, remark = encoded(rows, column, feature)
        x[:, done : done + part.shape[1]] = part
        done += part.shape[1]
        remarks += remark
    named = schema["named"] if schema else table.named
    names = tuple(name for feature in features for name in value_names(feature, named))
    remarks += remarks_on_gaps(columns, features, config)
    if not schema:
        remarks += remarks_on_values(x, names, features)
    y, class_names, remark = _labels(rows, roles, schema)
    ids, id_name = _identifiers(rows, roles)
    schema = schema or {
        "named": table.named,
        "columns": features,
        "width": len(table.columns),
        "places": list(roles.features),
        "label": "" if roles.label is None else table.columns[roles.label].name,
        "id": None if roles.id is None else table.columns[roles.id].name,
        "classes": list(class_names),
    }
    origin = Origin("table", id_name, names, class_names, tuple(left_out), (*table.remarks, *remarks, *remark), dict(schema))
    return Dataset(Path(table.source).name, x, y, None, ids, kept if left_out else None, origin)


def check_width(dataset: Dataset, schema: Mapping[str, Any]) -> None:
    """Raise ValueError for an array that has not the values that a table's columns became."""
    names = feature_names(schema)
    if dataset.shape != (len(names),):
        raise ValueError(
            f"{dataset.name} has {' x '.join(map(str, dataset.shape))} values for each example, and the model was trained on the "
            f"{len(names)} of a table's columns: {shortened(names)}; give these, in that order."
        )


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
    texts = texts_as_known(column, known)
    new = sorted(set(texts) - set(known))
    names = [*known, *new]
    index = {text: i for i, text in enumerate(names)}
    remarks = [f"Labels that training had not: {shortened([quoted(text) for text in new])}."] if known and new else []
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
    index = {column.name: i for i, column in reversed(list(enumerate(columns)))}  # of several without a name, the first
    wanted = [feature["name"] for feature in features]
    missing = [name for name in wanted if name not in index]
    if missing:
        several = "s" if len(missing) > 1 else ""
        hint = suggestion(missing[0], [name for name in index if name not in set(wanted)]) if len(missing) == 1 else ""
        raise ValueError(f"{source} lacks the column{several} {shortened(missing)}, which the model was trained on{hint}.")
    label, identifier = index.get(schema["label"]) if schema["label"] else None, index.get(schema["id"])
    places = tuple(index[name] for name in wanted)
    used = {*places, label, identifier}
    new = [i for i in range(len(columns)) if i not in used]
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
    remarks = []
    if table.named:
        remarks = ["The model was trained on columns without names, so these are taken by their place, whatever their names."]
    if given == width:
        label, identifier = (int(schema[role]) - 1 if schema[role] else None for role in ("label", "id"))  # their names are numbers
        return Roles(places, label, identifier, {}), remarks
    if given == len(places):  # the same without labels and what else was left out
        return Roles(tuple(range(given)), None, None, {}), remarks
    raise ValueError(
        f"{table.source} has {given} columns, and the model was trained on {width} without names; give as many, in that order."
    )
