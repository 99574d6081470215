"""Numbers and words for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def number(value: float, digits: int = 4) -> str:
    """A number with so many significant digits, without an exponent where it is of usual size."""
    if not math.isfinite(value):
        return "none"
    size = abs(value)
    if value == 0:
        return "0"
    if not 1e-4 <= size < 1e9:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float) -> str:
    """A share as percent: 7%, 0.4%, under 0.1%, 99.6%; never 0 or 100 unless it is."""
    value = 100 * share
    if value in (0, 100):
        return f"{value:.0f}%"
    if value < 0.1:
        return "under 0.1%"
    if value > 99.9:
        return "over 99.9%"
    return f"{value:.1f}".removesuffix(".0") + "%" if value < 10 or value > 99 else f"{value:.0f}%"


def score(value: float) -> str:
    """A score as percent with one decimal, but for 100%."""
    return "100%" if value == 1 else "under 100%" if value > 0.9995 else f"{100 * value:.1f}%"


def beside(value: float, sd: float) -> str:
    """A number with as many decimals as make sense beside a standard deviation, which has two digits."""
    if not (math.isfinite(value) and math.isfinite(sd)) or not 1e-4 <= sd < 1e9 or abs(value) >= 1e9:
        return number(value)
    return f"{value:,.{max(0, 1 - math.floor(math.log10(sd)))}f}"


def counted(n: int, word: str) -> str:
    """1 row, 1,797 rows."""
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def tried(initialization: Mapping[str, Any]) -> str:
    """Of an initialization that tried several networks, as init.json has it: how each did, and which give the clusters; else ""."""
    best = initialization.get("best", initialization.get("means"))  # runs of November 2026 have means of the groups
    if best is None:  # another initialization, or one of a version before
        return ""
    heads = ", ".join(f"{count} of {name}" for name, count in initialization["heads"].items())
    what = "small clusters, linked" if initialization["clusters"] == "linked" else "clusters, matched"
    error = initialization.get("standard_error")
    told = f"best {_in_order(best)}" if "best" in initialization else f"means: {_in_order(best)}"
    told += "" if error is None else f", standard error of the difference {number(error, 2)}"
    if not initialization.get("told_apart", True):
        told += "; these differ by under two standard errors, so both answer"
    return (
        f"nats that a changed image tells about the cluster of an image, held out, higher is better: {_in_order(initialization['tries'])}; "
        f"{told}; what was taken: {what}: {heads}"
    )


def stopped_paying(report: Mapping[str, Any]) -> str:
    """Which stages of a run, as its report or its init.json has it, ended before their limit, and why; else ""."""
    own = report.get("ended_early")
    ends = dict(own if isinstance(own, Mapping) else report.get("initialization", {}).get("ended_early", {}))
    if isinstance(own, str):
        ends["training"] = own
    return "; ".join(f"{name} {why}" for name, why in ends.items())


def _in_order(information: Mapping[str, float | None]) -> str:
    """By name, the highest first; None is of what is not finite."""
    found = sorted(information.items(), key=lambda pair: math.inf if pair[1] is None else -pair[1])
    return ", ".join(f"{name} {'not finite' if value is None else format(value, '.3f')}" for name, value in found)
