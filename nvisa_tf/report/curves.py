"""Training curves as plain values, from the rows of metrics.csv and stages.csv."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

POINTS = 300  # of a curve at most
CHARTS = (  # of the last stage: title, unit, what is drawn by its column
    ("Scores against the labels", "%", {"accuracy": "accuracy", "nmi": "NMI", "ari": "ARI"}),
    ("Bound of log p(x)", "nats", {"bound": "training", "held_out_iw_bound": "held out"}),
    ("Clusters in use", "", {"used_clusters": "of the scored examples"}),
    ("Annealing", "", {"eps_x": "eps of x", "eps_z": "eps of z"}),
)
UNDRAWN = {"stage", "epoch", "step", "minutes", "learning_rate", "nonfinite_steps"}


def curves(metrics: Sequence[Mapping[str, str]], stages: Sequence[Mapping[str, str]], held_out: bool = True) -> list[dict[str, Any]]:
    """Charts in the order in which they matter: {"title", "unit", "series": [{"name", "x", "y"}]}; x are epochs.

    Curves of which there is less than two points are left out. Without `held_out` what was scored is what was trained on.
    """
    charts = [_chart(title, unit, names if held_out else {**names, **_of_all(names)}, metrics) for title, unit, names in CHARTS]
    if not charts[1]["series"]:
        charts.append(_chart("Training", "", {"loss": "loss"}, metrics))
    for stage, rows in itertools.groupby(stages, lambda row: row["stage"]):
        here = list(rows)
        for name in dict.fromkeys(name for row in here for name in row if name not in UNDRAWN):
            charts.append(_chart(f"{stage}: {name.replace('_', ' ')}", "", {name: name.replace("_", " ")}, here))
    return [chart for chart in charts if chart["series"]]


def _of_all(names: Mapping[str, str]) -> dict[str, str]:
    return {column: "all data" for column in names if column == "held_out_iw_bound"}


def _chart(title: str, unit: str, names: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    series: list[dict[str, Any]] = []
    for column, name in names.items():
        points = [(float(row["epoch"]), _value(row.get(column))) for row in rows]
        points = [(x, y * (100 if unit == "%" else 1)) for x, y in points if math.isfinite(y)]
        if len(points) >= 2:
            step = -(-len(points) // POINTS)
            kept = points[:-1:step] + points[-1:]
            series.append({"name": name, "x": [x for x, _ in kept], "y": [float(f"{y:.6g}") for _, y in kept]})
    if len(series) == 2 and series[0]["y"] == series[1]["y"]:  # the two eps, as a rule
        series = [{**series[0], "name": series[0]["name"].split()[0]}]
    return {"title": title, "unit": unit, "series": series}


def _value(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
