"""ablation.csv, and the Markdown table beside the paper's figures."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence

from nvisa_tf.reproduce.ablation import Row
from nvisa_tf.runs.jobs import Job, Outcome

COLUMNS = ("row", "seed", "status", "epoch", "accuracy", "nmi", "ari", "held_out_iw_bound", "minutes", "run")


def as_csv(results: Sequence[tuple[Job, Outcome]]) -> str:
    """One line a run; accuracy, NMI and ARI in [0, 1], the bound in nats."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for job, found in results:
        values = (getattr(found, name) for name in COLUMNS[3:-1])
        numbers = ["" if value is None else f"{value:.6g}" for value in values]
        writer.writerow([job.name, job.seed, found.status, *numbers, job.folder.name])
    return text.getvalue()


def as_markdown(rows: Mapping[str, Row], results: Sequence[tuple[Job, Outcome]]) -> str:
    """One line a row: the paper's accuracy, ours as mean, sd, best and n, and the run with the best held-out bound."""
    lines = [
        "| method | configuration | paper, % | mean +- sd, % | best, % | by the bound, % | n | minutes a run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        found = [outcome for job, outcome in results if job.name == name]
        configuration = row.configuration.replace("|", "\\|")  # of p(x|z)
        lines.append(f"| {row.method} | {configuration} | {row.paper or '-'} | {_cells(found)} |")
    return "\n".join(lines) + "\n"


def _cells(found: Sequence[Outcome]) -> str:
    done = [o for o in found if o.status == "done"]
    scored = [100 * o.accuracy for o in done if o.accuracy is not None]
    diverged = diverged_at(found)
    mean = best = chosen = "-"
    if scored:
        mean = mean_and_sd(scored)
        best = f"{max(scored):.2f}"
        by_bound = max(done, key=lambda o: -float("inf") if o.held_out_iw_bound is None else o.held_out_iw_bound)
        chosen = f"{100 * by_bound.accuracy:.2f}" if by_bound.accuracy is not None else "-"
    mean = "; ".join(([mean] if scored else []) + diverged) or "-"
    missing = len(found) - len(done) - len(diverged)
    count = f"{len(done)} of {len(found)}" if len(done) < len(found) else str(len(done))
    if missing:
        count += f", {missing} not run"
    minutes = [o.minutes for o in done if o.minutes is not None]
    return " | ".join([mean, best, chosen, count, f"{statistics.mean(minutes):.0f}" if minutes else "-"])


def mean_and_sd(values: Sequence[float]) -> str:
    """Such as "75.00 +- 7.07"; of one value that alone, of none "-"."""
    if not values:
        return "-"
    return f"{statistics.mean(values):.2f}" + (f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else "")


def diverged_at(found: Sequence[Outcome]) -> list[str]:
    """Of those that diverged, when, in words."""
    return [f"diverged at epoch {o.epoch:.1f}" for o in found if o.status == "diverged"]
