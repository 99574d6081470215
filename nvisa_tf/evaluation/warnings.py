"""What looks wrong in a run that has ended, and what to try: sentences from its report and the rows of its metrics.csv.

Pure functions of numbers that are there anyway; nothing here looks at a label. The rules are made to be silent on healthy runs, and
tests hold them against real ones.

Shapes: n examples, K clusters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.run import section_of

NEARLY_EMPTY = 0.1  # of n/K, under which a cluster counts as nearly empty
LEAST_EXPECTED = 10.0  # n/K under which an empty or nearly empty cluster can be chance
DOMINATING = 0.6  # of the examples beyond 1/K's share, above which one cluster dominates
FEW_EXAMPLES = 20  # training examples a cluster, under which there are few
UNCERTAIN = 0.5  # of the examples, above which assignments are mostly uncertain
FALL = 0.05  # of the held-out bound's range, and at least `LEAST_FALL`, by which it ends below its best
LEAST_FALL = 2.0  # nats
LOST_CLUSTERS = 0.1  # nats by which the entropy of the clusters' sizes ends below that before training; two of ten made one: 0.14
AGREEMENT = 0.05  # of mean NMI, by which restarts agree less than those of k-means do


class Point(NamedTuple):
    """Of a row of metrics.csv: the held-out and the training bound, nats, and the eps of x; NaN where it has none."""

    epoch: float
    held_out: float
    trained: float
    eps: float


def warnings_of(
    report: Mapping[str, Any],
    metrics_rows: Sequence[Mapping[str, Any]],
    *,
    n_train: int | None = None,
    sizes: Sequence[int] | None = None,
) -> list[str]:
    """What is wrong with a run and what to try, a sentence each; empty where nothing is.

    Args:
      report: of the run, as report.json has it. Of its keys are used, where they are there: cluster_sizes, low_confidence_fraction,
        low_confidence_threshold, method, step, nonfinite_steps, held_out, held_out_iw_bound, eps, initialization.
      metrics_rows: of the run's metrics.csv, in order; values as text or as numbers.
      n_train: how many examples it was trained on; None: not known.
      sizes: the number of examples in each cluster, [K], where more were assigned than the report's "cluster_sizes" are of.
    """
    sizes = list(report.get("cluster_sizes", [])) if sizes is None else [int(size) for size in sizes]
    method = report.get("method", "nvisa")  # which runs of before do not say
    uncertain = 0.0 if METHODS[method].is_soft else report.get("low_confidence_fraction", 0.0)
    return [
        *of_skipped_steps(report.get("step", 0), report.get("nonfinite_steps", 0), annealed="eps" in report),
        *of_bounds(
            metrics_rows,
            report.get("held_out_iw_bound"),
            report.get("initialization", {}).get("held_out_iw_bound"),
            "held-out bound" if report.get("held_out", True) else "bound",
            report.get("initialization", {}).get("model", ""),
            annealed="eps" in report,
        ),
        *of_clusters(metrics_rows, report.get("initialization", {}), balanced="balance_weight" in section_of(method)),
        *of_sizes(sizes),
        *of_confidence(uncertain, report.get("low_confidence_threshold", 0.8)),
        *(of_number(n_train, len(sizes)) if n_train is not None and sizes else []),
    ]


def of_skipped_steps(step: int, skipped: int, annealed: bool = True) -> list[str]:
    """Of steps whose loss or gradient was not finite, and that were skipped; a run in which they are many has failed before."""
    if not skipped:
        return []
    share = f" of {step:,} ({skipped / step:.1%})" if step else ""
    return [
        f"{skipped:,} steps{share} were skipped, because their loss or gradient was not finite; "
        f"try a smaller --learning-rate{', --hold-scales or a larger --eps-floor' if annealed else ' or another --scaling'}."
    ]


def of_sizes(sizes: Sequence[int]) -> list[str]:
    """Of clusters without examples or with hardly any, and of one that has nearly all of them.

    Where fewer than `LEAST_EXPECTED` examples a cluster are to be expected, an empty one may be chance, and only clusters that are
    empty together beyond chance are told of.
    """
    n, k = sum(sizes), len(sizes)
    if n == 0 or k < 2:
        return []
    found = []
    limit = max(1.0, NEARLY_EMPTY * n / k)
    small = {number: size for number, size in enumerate(sizes) if size < limit}
    if small and n / k >= LEAST_EXPECTED:
        empty, nearly = [number for number, size in small.items() if size == 0], [number for number, size in small.items() if size]
        what = " and ".join(
            part
            for part in (
                f"{_clusters(empty)} no examples" if empty else "",
                f"{_clusters(nearly)} only {_joined([str(small[number]) for number in nearly])}" if nearly else "",
            )
            if part
        )
        found.append(f"Of {n:,} examples in {k} clusters, {what}; try a smaller --n-clusters, another --seed, or --restarts 5.")
    elif small and 2 * len(small) > k:
        found.append(f"{len(small)} of {k} clusters have no examples; try a smaller --n-clusters, another --seed, or --restarts 5.")
    largest = int(np.argmax(sizes))
    if sizes[largest] / n > DOMINATING + (1 - DOMINATING) / k:
        found.append(
            f"Cluster {largest} has {sizes[largest] / n:.0%} of the examples; "
            "try a smaller --learning-rate, another --preset, or --restarts 5."
        )
    return found


def of_bounds(
    rows: Sequence[Mapping[str, Any]],
    held_out: float | None = None,
    before: float | None = None,
    name: str = "held-out bound",
    kept: str = "",
    *,
    annealed: bool = True,
) -> list[str]:
    """Of a held-out bound that is no number, that ended below that before training, or well below its best.

    The bound moves with eps while annealing goes on, down for a while even in healthy runs; so its end alone is compared with its best.
    Where the training bound kept rising the model is overfitted; where that fell too, eps fell faster than the model could learn.

    Args:
      rows: of metrics.csv.
      held_out: the bound on all held-out examples at the end; None where the method has none.
      before: the bound before the first step; None: not known.
      name: of the bound; where nothing is held out it is that of the training data.
      kept: the file in the run with the model of before the first step; "": there is none.
      annealed: whether the method has std annealing.
    """
    way_back = _way_back(kept)
    if held_out is not None and not math.isfinite(held_out):
        return [
            f"The {name} is {held_out:g}, so the model cannot be trusted; "
            "try --scaling auto, a smaller --learning-rate or another --preset."
        ]
    course = [Point(*(_number(row, column) for column in ("epoch", "held_out_iw_bound", "bound", "eps_x"))) for row in rows]
    course = [point for point in course if math.isfinite(point.held_out)]
    if not course:
        return []
    first, last = course[0], course[-1]
    best, lowest = max(course, key=lambda point: point.held_out), first.held_out
    if before is not None and best.held_out < before:
        if last.held_out < before - LEAST_FALL and last.trained < before:
            return [
                f"The {name} ended at {last.held_out:,.0f} nats, lower than before training ({before:,.0f}), so training did harm"
                f"{way_back}; try a smaller --learning-rate, more --epochs or another --preset."
            ]
        best = first._replace(epoch=0.0, held_out=before)
    if before is not None:
        lowest = before
    if best.held_out - last.held_out <= max(LEAST_FALL, FALL * (best.held_out - lowest)):
        return []
    told = f"The {name} fell from {best.held_out:,.0f} nats at epoch {best.epoch:g} to {last.held_out:,.0f}"
    go_back = "" if best.epoch else way_back
    floor = f"--eps-floor {best.eps:.2g}, " if math.isfinite(best.eps) else ""  # the eps at which it was best
    if last.trained > best.trained:
        return [
            f"{told} while the training bound rose, so the model is overfitted and its scores of new examples are unsure{go_back}; "
            f"try {floor}fewer --epochs or narrower layers (--encoder-units, --decoder-units)."
        ]
    if not annealed:
        return [f"{told}, and the training bound fell too{go_back}; try a smaller --learning-rate, fewer --epochs or another --preset."]
    return [
        f"{told}, and the training bound fell too, so the model did not follow the annealing{go_back}; "
        f"try {floor}--hold-scales or a larger --eps-halving-epochs."
    ]


def of_clusters(rows: Sequence[Mapping[str, Any]], initialization: Mapping[str, Any], balanced: bool = True) -> list[str]:
    """Of clusters that became much more unequal in size, or ran empty, since before the last stage.

    Args:
      rows: of metrics.csv.
      initialization: what init.json has.
      balanced: whether the method has a term that keeps sizes equal.
    """
    before = _number(initialization, "cluster_size_entropy")
    after = _number(rows[-1], "cluster_size_entropy") if rows else math.nan
    if not after < before - LOST_CLUSTERS:  # NaN: one is not known
        return []
    return [
        f"The entropy of the clusters' sizes fell from {before:.3f} to {after:.3f} nats in training, so training merged or emptied "
        f"clusters{_way_back(initialization.get('model', ''))}; "
        f"try fewer --epochs, a smaller --learning-rate or {'a larger --balance-weight' if balanced else 'another --preset'}."
    ]


def _way_back(kept: str) -> str:
    return f"; the model of before training answers where RUN/{kept} is given to predict, report or export in place of RUN" if kept else ""


def of_confidence(fraction: float, threshold: float) -> list[str]:
    """Of assignments that are mostly uncertain. `fraction` of the examples have a largest probability under `threshold`."""
    if fraction <= UNCERTAIN:
        return []
    return [
        f"{fraction:.0%} of the examples belong to their cluster with a probability under {threshold:g}; "
        "try another --n-clusters, more --epochs, or another --preset."
    ]


def of_number(n_train: int, n_clusters: int) -> list[str]:
    """Of few training examples a cluster."""
    if n_train >= FEW_EXAMPLES * n_clusters:
        return []
    return [
        f"There are only {n_train / n_clusters:.0f} training examples for each of {n_clusters} clusters; "
        "try a smaller --n-clusters, and see with --restarts 5 whether the clusters come again."
    ]


def of_restarts(agreement: float, baseline: float) -> list[str]:
    """Of clusters that agree less with each other over restarts than those of k-means do.

    Args:
      agreement: the mean NMI of pairs of restarts, in [0, 1].
      baseline: that of k-means on the same inputs from the same seeds.
    """
    if agreement >= baseline - AGREEMENT:
        return []
    return [
        f"The restarts agree less with each other (mean pairwise NMI {agreement:.2f}) than k-means on the same inputs does "
        f"({baseline:.2f}); try another --preset or --n-clusters, or use k-means."
    ]


def _clusters(numbers: Sequence[int]) -> str:
    return f"cluster {numbers[0]} has" if len(numbers) == 1 else f"clusters {_joined([str(number) for number in numbers])} have"


def _joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _number(row: Mapping[str, Any], name: str) -> float:
    """A row's value; NaN where it has none."""
    value = row.get(name)
    return math.nan if value in (None, "") else float(value)
