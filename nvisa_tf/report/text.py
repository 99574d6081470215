"""Numbers and words for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MEASURES = {  # of `nvisa_tf.clustering.metrics.measures`: the name, and what it is
    "accuracy": ("accuracy", "one cluster for each class; the measure of most papers"),
    "nmi": ("NMI", "normalized mutual information of clusters and classes"),
    "ari": ("ARI", "adjusted Rand index; 0 by chance"),
    "majority_accuracy": ("majority accuracy", "a cluster stands for its commonest class; reported for LTVAE, and called purity"),
    "exemplar_accuracy": ("exemplar accuracy", "a cluster stands for the class of its surest example; reported for GMVAE"),
}
GROUPS = {"taught contrastive clusters": "that were taught contrastive clusters"}  # of networks, as init.json names them, in a sentence


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
    """Of an initialization that tried several networks, as init.json has it: how each did, which were taken and why; else ""."""
    best = initialization.get("best", initialization.get("means"))  # runs of November 2026 have means of the groups
    if best is None:  # another initialization, or one of a version before
        return ""
    each = f"{_in_order(initialization['tries'])} nats that a slightly changed image tells of the image's cluster; higher is better."
    measured = "It is measured on training images that these networks do not learn from."
    heads = ", ".join(f"{count} of {name}" for name, count in initialization["heads"].items())
    is_linked = initialization["clusters"] == "linked"
    taken = f"Taken are {'large clusters, linked from the small ones' if is_linked else 'the clusters, matched,'} of the heads {heads}."
    return " ".join([each, measured, *_why(best, initialization), taken])


def _why(best: Mapping[str, float | None], initialization: Mapping[str, Any]) -> list[str]:
    """The groups of networks, the better one first, and whether they differ; nothing where there is one group."""
    if len(best) < 2:
        return []
    (first, more), (second, less) = _sorted(best)
    which = "at best" if "best" in initialization else "on average"
    values = f"Networks {GROUPS.get(first, first)} have {_value(more)} {which} and those {GROUPS.get(second, second)} {_value(less)}"
    error = initialization.get("standard_error")
    if error is None or "told_apart" not in initialization:  # of a version before
        return [f"{values}."]
    is_clear = initialization["told_apart"]
    what = "more" if is_clear else "less"
    so = "so the former answer alone" if is_clear else "so both answer together"
    return [f"{values}; they differ by {what} than two standard errors of the difference ({number(error, 2)} each), {so}."]


def number_of_clusters(found: Mapping[str, Any]) -> str:
    """How many clusters were found, how clear that is, and which numbers are as plausible.

    Args:
      found: of `nvisa_tf.clustering.number_of_clusters.NumberOfClusters.as_dict`.
    """
    parts, chosen = found["found"], found["chosen"]
    same = parts.count(chosen)
    text = f"{counted(chosen, 'cluster')}: so many are found in {same} of {len(parts)} random parts of the data"
    others = sorted({number for number in parts if number != chosen})
    if others:
        text += f", and {' or '.join(map(str, others))} in the others, which {'is' if len(others) == 1 else 'are'} plausible too"
    limits = "" if found["fewest"] is None else f" It was to be from {found['fewest']} to {found['most']}."
    highest = max(modularity for _, modularity, _ in found["curve"])
    return (
        f"{text}. Between the two clusters that are the least apart the density falls by {percent(found['separation'])}. "
        f"Modularity is {highest:.2f}; of one Gaussian of the same covariance it is {found['modularity_of_gaussian']:.2f}.{limits}"
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
    return ", ".join(f"{name} {_value(value)}" for name, value in _sorted(information))


def _sorted(information: Mapping[str, float | None]) -> list[tuple[str, float | None]]:
    return sorted(information.items(), key=lambda pair: math.inf if pair[1] is None else -pair[1])


def _value(value: float | None) -> str:
    return "not finite" if value is None else format(value, ".3f")
