"""Answers as a table: the examples in the order of the file, and what could not be read in its place among them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nvisa_tf.data import Dataset, Origin
from nvisa_tf.evaluation.assignments import Assignments
from nvisa_tf.io.names import OUTLIER_NAME, shown_names

NUMBER_OF_NONE = -1  # a cluster's, where there is none
OWN = {"split", "cluster", "name", "probability", "second", "second_probability", "typicality", "label", "error", "bound", "bound_se"}
OWN |= {"nearest", "novelty"}
OWN_WIDE = re.compile(r"[qz](_\d+)?|facet_\d+")  # of predict: --probabilities, --embedding, and clusters of other facets


class Table(NamedTuple):
    """A table of answers.

    Attributes:
      columns: by name, [n] or [n, k] each; the first has what the examples are called.
      blank: rows that could not be read, bool [n]: their clusters are -1, other numbers NaN.
    """

    columns: dict[str, np.ndarray]
    blank: np.ndarray


def table_of(
    found: Assignments,
    parts: Sequence[tuple[str, Dataset]],
    names: Mapping[int, str],
    n_clusters: int,
    *,
    split: bool = False,
    typicality: bool = True,
    more: Mapping[str, np.ndarray] | None = None,
) -> Table:
    """Answers, and a row with the reason in a column "error" for each file that could not be read.

    Args:
      found: what `assign` gave.
      parts: of what.
      names: that clusters were given, by cluster; {}: no column of names.
      n_clusters: K.
      split: whether to say which split an example is of.
      typicality: whether it was measured against training data.
      more: further columns, [n] or [n, k], in the order of `found`.
    """
    origin = parts[0][1].origin
    columns: dict[str, Any] = {_title(found.id_name): found.names}
    if split:
        columns["split"] = found.split
    columns["cluster"] = found.cluster
    if names:
        columns["name"] = np.array([*shown_names(names, n_clusters), OUTLIER_NAME])[found.cluster]  # the last one by OUTLIER
    columns.update(probability=found.probability, second=found.second, second_probability=found.second_probability)
    if typicality:
        columns["typicality"] = found.typicality
    if found.y is not None:
        columns["label"] = np.array(origin.class_names)[found.y] if origin.class_names else found.y
    columns.update(more or {})
    if not origin.left_out:
        return Table(columns, np.zeros(len(found.cluster), bool))
    return _with_left_out(columns, origin, np.sort(np.concatenate([data.places for _, data in parts])))


def _title(id_name: str) -> str:
    """The heading of the first column; one that is also ours would be told apart by nobody."""
    return f"id_{id_name}" if id_name in OWN or OWN_WIDE.fullmatch(id_name) else id_name


def _with_left_out(columns: Mapping[str, np.ndarray], origin: Origin, places: np.ndarray) -> Table:
    """The table with rows for what was left out: at the places that are missing if these are as many, else at the end."""
    n, left_out = len(places), origin.left_out
    missing = np.setdiff1d(np.arange(n + len(left_out)), places)
    at = missing if len(missing) == len(left_out) and n + len(left_out) > places.max() else np.arange(n, n + len(left_out))
    blank = np.zeros(n + len(left_out), bool)
    blank[at] = True
    filled: dict[str, np.ndarray] = {}
    called, reasons = (np.array(texts) for texts in zip(*left_out, strict=True))
    title = next(iter(columns))
    for name, values in [*columns.items(), ("error", np.full(n, ""))]:
        rest = {title: called, "error": reasons}.get(name, np.array({"i": NUMBER_OF_NONE, "f": np.nan}.get(values.dtype.kind, "")))
        values = values.astype(str) if name == title else values
        # Text is as long as the longest of both; a number's type stays.
        filled[name] = np.empty((len(blank), *values.shape[1:]), np.result_type(values, rest) if rest.dtype.kind == "U" else values.dtype)
        filled[name][~blank], filled[name][blank] = values, rest
    return Table(filled, blank)
