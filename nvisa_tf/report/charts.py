"""Drawings as inline SVG, which colours by classes of the style sheet alone."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from nvisa_tf.report.text import number

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 10, 30
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
