"""What came of the runs beside the paper's table of accuracies: Markdown and a picture."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nvisa_tf.io.files import replacing
from nvisa_tf.reproduce.table1 import Entry, PaperRow
from nvisa_tf.reproduce.tables import diverged_at, mean_and_sd
from nvisa_tf.runs.jobs import Job, Outcome

SCORES = ("accuracy", "majority_accuracy", "exemplar_accuracy", "nmi", "ari")


class Result(NamedTuple):
    """One run.

    Attributes:
      entry: its row of the table.
      job, outcome: of the run.
      report: its report.json, empty where there is none.
      autoencoder_minutes: of training the autoencoder that it began with; 0: it had none, or trained it itself.
      chosen: whether the criterion without labels chose it among the seeds of its row.
    """

    entry: Entry
    job: Job
    outcome: Outcome
    report: Mapping[str, Any]
    autoencoder_minutes: float
    chosen: bool = False

    @property
    def is_done(self) -> bool:
        """Whether it ended as it should."""
        return self.outcome.status == "done"

    @property
    def minutes(self) -> float:
        """Of training, the autoencoder's included; NaN where it is not known."""
        return math.nan if self.outcome.minutes is None else self.outcome.minutes + self.autoencoder_minutes

    def measure(self, name: str, of_training_data: bool = False) -> float | None:
        """A measure in percent; None where there are no labels. Where nothing was held out, the two are the same."""
        scores = self.report.get("training_data", self.report) if of_training_data else self.report
        return 100 * scores[name] if name in scores else None


def as_markdown(results: Sequence[Result]) -> str:
    """One line for each row of the table: the paper's accuracy and ours, in percent."""
    lines = [
        "| data set | method | preset | paper | its measure | ours by it | accuracy, mean +- sd | best | chosen | n | minutes a run |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry, found in by_entry(results).items():
        paper = entry.paper
        done = [one for one in found if one.is_done]
        by_paper = [one.measure(paper.measure, paper.of_training_data) for one in done]
        figure = paper.figures.get(Path(entry.dataset).stem, "-")
        cells = [Path(entry.dataset).stem, paper.title, f"`{entry.preset}`", figure]
        cells += [_words(paper), _mean(by_paper)] if figure != "-" else ["-", "-"]
        accuracies = [one.measure("accuracy") for one in done]
        known = [value for value in accuracies if value is not None]
        chosen = [one.measure("accuracy") for one in done if one.chosen]
        cells += [
            "; ".join([_mean(accuracies), *diverged_at([one.outcome for one in found])]),
            f"{max(known):.2f}" if known else "-",
            _mean(chosen),
        ]
        minutes = [one.minutes for one in done if math.isfinite(one.minutes)]
        cells += [_count(found), f"{statistics.mean(minutes):.1f}" if minutes else "-"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def by_entry(results: Sequence[Result]) -> dict[Entry, list[Result]]:
    """The runs of each row, in the table's order."""
    found: dict[Entry, list[Result]] = {}
    for one in results:
        found.setdefault(one.entry, []).append(one)
    return found


def _words(paper: PaperRow) -> str:
    return paper.measure.replace("_", " ") + (", training data" if paper.of_training_data else "")


def _mean(values: Sequence[float | None]) -> str:
    return mean_and_sd([value for value in values if value is not None])


def _count(found: Sequence[Result]) -> str:
    done = sum(one.is_done for one in found)
    return str(done) if done == len(found) else f"{done} of {len(found)}"


def save_picture(path: Path, results: Sequence[Result]) -> None:
    """A panel for each data set: for each row the accuracy of every seed, their mean, and the paper's figure.

    Raises:
      ValueError: no run has an accuracy.
    """
    from matplotlib.figure import Figure

    rows = {entry: [one.measure("accuracy") for one in found if one.is_done] for entry, found in by_entry(results).items()}
    scored = {entry: [value for value in values if value is not None] for entry, values in rows.items()}
    datasets = [name for name in dict.fromkeys(entry.dataset for entry in scored) if any(scored[e] for e in scored if e.dataset == name)]
    if not datasets:
        raise ValueError("No run has an accuracy, so there is nothing to draw.")
    tallest = max(sum(entry.dataset == name for entry in scored) for name in datasets)
    figure = Figure(figsize=(5.5 * len(datasets), 1.4 + 0.42 * tallest), layout="constrained")
    for panel, dataset in zip(figure.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True):
        shown = [entry for entry in scored if entry.dataset == dataset]
        for place, entry in enumerate(shown):
            values, paper = scored[entry], _first_number(entry.paper.figures.get(Path(dataset).stem, "-"))
            panel.plot(values, [place] * len(values), "o", color="tab:blue", alpha=0.35, label="a seed")
            if values:
                panel.plot(statistics.mean(values), place, "|", color="tab:blue", markersize=16, markeredgewidth=2.5, label="mean")
            if paper is not None:
                panel.plot(paper, place, "D", color="tab:orange", markersize=5, label="the paper")
        panel.set_yticks(range(len(shown)), [_label(entry) for entry in shown])
        panel.set(xlabel="accuracy, %", title=Path(dataset).stem, xlim=(0, 100), ylim=(len(shown) - 0.5, -0.5))
        panel.grid(axis="x", alpha=0.3)
    handles = {line.get_label(): line for panel in figure.axes for line in panel.lines}  # one of each name
    figure.legend(list(handles.values()), [str(name) for name in handles], loc="outside lower center", ncols=3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _label(entry: Entry) -> str:
    return entry.preset if entry.paper.title == entry.method else f"{entry.paper.title} ({entry.preset})"


def _first_number(text: str) -> float | None:
    return None if text == "-" else float(text.split()[0])
