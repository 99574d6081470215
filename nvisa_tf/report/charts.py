"""Drawings as inline SVG, which colours by classes of the style sheet alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from nvisa_tf.report.text import number

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 10, 30
LETTERS = 22  # of a cluster's name beside a dendrogram
NAMES, TREE, ROW = 150, 400, 24  # of a dendrogram: the names' width, the tree's, and the height of a line
EARLY, FAR_OFF = 0.1, 4.0  # the first tenth of a curve does not set the limits where it makes the range so many times as wide


def bar(share: float, cluster: int) -> Markup:
    """A bar as long as a share of the largest, in the colour of a cluster."""
    template = '<svg class="bar c{}" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">' + (
        '<rect class="track" width="100" height="10"/><rect class="fill" width="{:.2f}" height="10"/></svg>'
    )
    return Markup(template).format(cluster, max(0.0, 100 * share))


def difference_bar(difference: float, largest: float, cluster: int) -> Markup:
    """A bar to the right for a mean above the whole's, to the left for one below."""
    length = 50 * min(1.0, abs(difference) / largest)
    template = '<svg class="difference c{}" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">' + (
        '<rect class="track" width="100" height="10"/><rect class="fill" x="{:.2f}" width="{:.2f}" height="10"/>'
        '<rect class="axis" x="49.6" width="0.8" height="10"/></svg>'
    )
    return Markup(template).format(cluster, 50 if difference >= 0 else 50 - length, length)


def line_chart(chart: dict[str, Any], number_of_chart: int) -> Markup:
    """A chart of curves with its legend, as a figure."""
    series, unit, across_is = chart["series"], chart["unit"], chart.get("across", "epoch")
    xs = [x for one in series for x in one["x"]]
    x_low, x_high = min(xs), max(xs)
    y_low, y_high = _limits(series, unit)
    y_ticks, x_ticks = ticks(y_low, y_high, 4), ticks(x_low, x_high, 4)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / ((x_high - x_low) or 1)
        up = (y - y_low) / ((y_high - y_low) or 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [
        Markup('<defs><clipPath id="clip{}"><rect x="{}" y="{}" width="{}" height="{}"/></clipPath></defs>').format(
            number_of_chart, LEFT, TOP - 2, WIDTH - LEFT - RIGHT + 2, HEIGHT - TOP - BOTTOM + 4
        )
    ]
    for y in y_ticks:
        _, at = place(x_low, y)
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(LEFT, WIDTH - RIGHT, at, at))
        parts.append(Markup('<text class="tick end" x="{}" y="{:.1f}">{}</text>').format(LEFT - 6, at + 4, number(y, digits(y_ticks))))
    for x in x_ticks:
        at, _ = place(x, y_low)
        parts.append(Markup('<text class="tick middle" x="{:.1f}" y="{}">{}</text>').format(at, HEIGHT - BOTTOM + 15, number(x)))
    parts.append(Markup('<text class="tick end" x="{}" y="{}">{}</text>').format(WIDTH - RIGHT, HEIGHT - 2, across_is))
    for i, one in enumerate(series):
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in zip(one["x"], one["y"], strict=True))
        parts.append(Markup('<polyline class="curve s{}" clip-path="url(#clip{})" points="{}"/>').format(i, number_of_chart, path))
    unit_text = unit if unit in ("", "%") else f" {unit}"
    last = ", ".join(f"{one['name']} {number(one['y'][-1])}{unit_text}" for one in series)
    drawing = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, f"{chart['title']} against the {across_is}; at the end {last}", Markup("").join(parts)
    )
    keys = Markup("").join(
        Markup(
            '<li><svg class="key" viewBox="0 0 24 6" aria-hidden="true"><line class="curve s{}" x1="0" x2="24" y1="3" y2="3"/></svg>'
            "{} <b>{}{}</b></li>"
        ).format(i, one["name"], number(one["y"][-1]), unit_text)
        for i, one in enumerate(series)
    )
    return Markup('<figure class="card"><h3>{}</h3>{}<ul class="keys">{}</ul></figure>').format(chart["title"], drawing, keys)


def dendrogram(clusters: Sequence[int], joins: Sequence[Sequence[float]], names: Sequence[str]) -> Markup:
    """A tree that joins clusters, each on a line of its own with its name; joins are drawn at the root of their distance.

    Args:
      clusters: the numbers of those that are leaves, [C].
      joins: [first, second, distance] each, as `nvisa_tf.evaluation.hierarchy.Hierarchy` has them, [C - 1].
      names: what clusters are called, [K].
    """
    order = _leaves(len(clusters) + len(joins) - 1, len(clusters), joins)
    farthest = math.sqrt(max(distance for *_, distance in joins)) or 1.0
    at = {leaf: (0.0, TOP + ROW * (row + 0.5)) for row, leaf in enumerate(order)}
    parts = [
        Markup('<text class="tick end" x="{}" y="{:.1f}">{}</text>').format(NAMES - 8, at[leaf][1] + 4, _short(names[clusters[leaf]]))
        for leaf in order
    ]
    for place, (first, second, distance) in enumerate(joins):
        across = math.sqrt(max(0.0, distance)) / farthest
        (x_a, y_a), (x_b, y_b) = at[int(first)], at[int(second)]
        points = " ".join(f"{NAMES + TREE * x:.1f},{y:.1f}" for x, y in ((x_a, y_a), (across, y_a), (across, y_b), (x_b, y_b)))
        parts.append(Markup('<polyline class="curve s0" points="{}"/>').format(points))
        at[len(clusters) + place] = (across, (y_a + y_b) / 2)
    said = "; ".join(_joined(clusters, joins, names))
    return Markup('<svg class="tree" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        NAMES + TREE + RIGHT, 2 * TOP + ROW * len(order), f"Which clusters join first: {said}", Markup("").join(parts)
    )


def _short(name: str) -> str:
    """A name as long as there is room for beside a tree."""
    return name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"


def _leaves(node: int, n_leaves: int, joins: Sequence[Sequence[float]]) -> list[int]:
    """The leaves under a node, as they are drawn."""
    if node < n_leaves:
        return [node]
    first, second = (int(child) for child in joins[node - n_leaves][:2])
    return _leaves(first, n_leaves, joins) + _leaves(second, n_leaves, joins)


def _joined(clusters: Sequence[int], joins: Sequence[Sequence[float]], names: Sequence[str]) -> list[str]:
    """Each join in words, the nearest first."""
    parts = [[names[k]] for k in clusters]
    found = []
    for first, second, _ in joins:
        a, b = parts[int(first)], parts[int(second)]
        found.append(f"{', '.join(a)} with {', '.join(b)}")
        parts.append(a + b)
    return found


def _limits(series: list[dict[str, Any]], unit: str) -> tuple[float, float]:
    """The range of the values, but for the first ones where these alone are far off; of percents within 0 to 100."""
    values = [y for one in series for y in one["y"]]
    low, high = min(values), max(values)
    late = [y for one in series for y in one["y"][int(EARLY * len(one["y"])) if len(one["y"]) >= 10 else 0 :]]
    if high - low > FAR_OFF * (max(late) - min(late)):
        low, high = min(late), max(late)
    margin = 0.05 * (high - low) or max(1.0, 0.05 * abs(high))
    low, high = low - margin, high + margin
    return (max(0.0, low), min(100.0, high)) if unit == "%" else (low, high)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers in a range, about so many."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def digits(of_ticks: list[float]) -> int:
    """How many significant digits tell ticks apart, at least four."""
    largest = max(map(abs, of_ticks), default=0.0)
    if len(of_ticks) < 2 or not largest:
        return 4
    step = of_ticks[1] - of_ticks[0]
    return max(4, math.floor(math.log10(largest)) - math.floor(math.log10(step)) + 2)
