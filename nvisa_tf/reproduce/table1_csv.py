"""The table of accuracies as CSV, a line for each run: written, and read again on another machine."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nvisa_tf.config.presets import UNFELT
from nvisa_tf.config.run import RunConfig
from nvisa_tf.reproduce.table1 import Entry, Plan
from nvisa_tf.reproduce.table1_results import SCORES, Result
from nvisa_tf.runs.jobs import Outcome

KEY = ("dataset", "method", "preset", "seed")
NUMBERS = ("epoch", *SCORES, *(f"training_{name}" for name in SCORES), "held_out_iw_bound", "minutes", "autoencoder_minutes")
COLUMNS = (*KEY, "status", *NUMBERS, "chosen", "run", "options")


def as_csv(results: Sequence[Result]) -> str:
    """One line for each run; scores in [0, 1], the bound in nats."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for one in results:
        found = one.outcome
        row: dict[str, Any] = {"epoch": found.epoch, "held_out_iw_bound": found.held_out_iw_bound, "minutes": found.minutes}
        row["autoencoder_minutes"] = one.autoencoder_minutes
        for name in SCORES:
            row[name] = one.report.get(name)
            row[f"training_{name}"] = one.report.get("training_data", {}).get(name)
        numbers = {name: "" if value is None else f"{value:.6g}" for name, value in row.items()}
        words = dict(zip(KEY, _key(one.entry, one.job.seed), strict=True))
        about = {"status": found.status, "chosen": int(one.chosen), "run": one.job.folder.name, "options": digest(one.job.config)}
        writer.writerow({**words, **numbers, **about})
    return text.getvalue()


def read(paths: Sequence[str], plans: Sequence[Plan]) -> dict[Plan, Result]:
    """What came of those plans that have ended in such files; other lines of the files are not looked at.

    A row's choice without labels is known only where one file has all its seeds, as it is made among models.

    Raises:
      ValueError: a file that cannot be read or is no such table, a run that stands in two lines, or one made with other options.
    """
    by_key = {_key(plan.entry, plan.job.seed): plan for plan in plans}
    found: dict[Plan, Result] = {}
    sources: dict[Entry, list[str]] = {}
    for path in paths:
        for line, row in _rows(path):
            plan = by_key.get(tuple(row[name] for name in KEY))
            if plan is None or row["status"] not in ("done", "diverged"):
                continue
            where = f"{path}, line {line}: the run {row['run']}"
            if plan in found:
                raise ValueError(f"{where} stands in the tables twice; leave one out.")
            if row["options"] != digest(plan.job.config):
                raise ValueError(f"{where} was made with other options, so it does not belong into this table; leave the file out.")
            try:
                found[plan] = _result(plan, row)
            except ValueError as error:
                raise ValueError(f"{where} has a value that is no number: {error}.") from error
            sources.setdefault(plan.entry, []).append(path)
    seeds = Counter(plan.entry for plan in plans)
    whole = {entry for entry, of_entry in sources.items() if len(of_entry) == seeds[entry] and len(set(of_entry)) == 1}
    return {plan: one if plan.entry in whole else one._replace(chosen=False) for plan, one in found.items()}


def digest(config: RunConfig) -> str:
    """A short name for the method and those options that change what comes of it, wherever its files are.

    Options at their defaults do not count, so that a later version with options more knows the same run.
    """
    apart, default = UNFELT | {"autoencoder_from"}, RunConfig.of(config.method).options()
    told = {name: value for name, value in config.options().items() if name not in apart and value != default[name]}
    return hashlib.sha256(json.dumps([config.method, told], sort_keys=True).encode()).hexdigest()[:12]


def _key(entry: Entry, seed: int) -> tuple[str, ...]:
    return Path(entry.dataset).stem, entry.method, entry.preset, str(seed)


def _rows(path: str) -> list[tuple[int, dict[str, str]]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a table of results: {error}.") from error
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"{path} is not a table1.csv that this version wrote: it has no column {missing[0]}.")
    short = next((line for line, row in rows if None in row or None in row.values()), None)
    if short is not None:
        raise ValueError(f"{path}, line {short}: it has not as many values as the first line has names.")
    return rows


def _result(plan: Plan, row: dict[str, str]) -> Result:
    numbers = {name: float(row[name]) for name in NUMBERS if row[name]}
    scores = {name: numbers[name] for name in SCORES if name in numbers}
    of_training = {name: numbers[f"training_{name}"] for name in SCORES if f"training_{name}" in numbers}
    after = Outcome(row["status"], *(numbers.get(name) for name in ("epoch", "accuracy", "nmi", "ari", "held_out_iw_bound", "minutes")))
    report = {**scores, "training_data": of_training} if of_training else scores
    return Result(plan.entry, plan.job, after, report, numbers.get("autoencoder_minutes", 0.0), row["chosen"] == "1")
