"""Colours of clusters, as rules of the style sheet, for light and for dark backgrounds."""

from __future__ import annotations

import colorsys

LIGHT = ("#3b5fc9", "#c96a04", "#cf3a52", "#0d8a7f", "#4a8a1d", "#bd3f8a", "#7a4bd3", "#0280b3", "#8a5a3c", "#687080")
DARK = ("#86a2ff", "#f3a640", "#ff7d88", "#45c9b9", "#93cf60", "#f286c3", "#b699ff", "#55bef0", "#cc9e7d", "#a5afbd")
GOLDEN = 0.618034  # of a turn, which sets neighbours apart
LIGHTNESS = {"light": (0.40, 0.33, 0.46), "dark": (0.70, 0.78, 0.63)}


def colour_rules(n_clusters: int) -> str:
    """The rules .c0, .c1, ..., which set --c."""
    light, dark = (_colours(n_clusters, kind) for kind in ("light", "dark"))
    return f"\n{_rules(light)}\n@media screen and (prefers-color-scheme: dark) {{\n{_rules(dark)}\n}}\n"


def _rules(colours: list[str]) -> str:
    return "\n".join(f".c{k} {{ --c: {colour}; }}" for k, colour in enumerate(colours))


def _colours(n: int, kind: str) -> list[str]:
    if n <= len(LIGHT):
        return list((LIGHT if kind == "light" else DARK)[:n])
    lightness = LIGHTNESS[kind]
    return [_hex(colorsys.hls_to_rgb(k * GOLDEN % 1, lightness[k % 3], 0.62)) for k in range(n)]


def _hex(rgb: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * value):02x}" for value in rgb)
