"""nvisa-tf evaluate."""

from __future__ import annotations

import argparse
import json
from typing import Any

from nvisa_tf.cli.files import MOVED, check_writable
from nvisa_tf.cli.main import quiet_stderr
from nvisa_tf.cli.train import print_report
from nvisa_tf.io.files import write_text
from nvisa_tf.io.run_directory import RunDirectory

MEASURES = ("accuracy", "majority_accuracy", "exemplar_accuracy")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of evaluate."""
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--samples", type=int, default=50, metavar="N", help="samples per example for the bound (default 50)")
    parser.add_argument("--examples", type=int, default=None, metavar="N", help="examples for the bound (default: all held out)")
    parser.add_argument("--data-dir", default=None, metavar="DIR", help=MOVED)
    parser.add_argument("--output", metavar="FILE", help="write the scores here too, as JSON (default: only print)")


def run(flags: argparse.Namespace) -> int:
    """Score a run."""
    RunDirectory.open(flags.run)
    for name in ("samples", "examples"):
        if getattr(flags, name) is not None and getattr(flags, name) < 1:
            raise ValueError(f"--{name} is {getattr(flags, name)}; it must be at least 1.")
    output = check_writable(flags.output, (".json",)) if flags.output else None
    with quiet_stderr():
        from nvisa_tf.runs import workflows
    model, config, directory = workflows.load_run(flags.run)
    splits = workflows.load_run_splits(directory, config, flags.data_dir or "")
    directory.check_data(splits.train.fingerprint())  # else what was trained on could be scored as held out
    report = workflows.score(model, splits, config, flags.samples, flags.examples)
    print(f"{flags.run}, method {report['method']}" + (f", at step {report['step']}" if "step" in report else ""))
    print_report(report)
    for text in _measured(report):
        print(text)
    if output:
        write_text(output, json.dumps(report, indent=2) + "\n")
    return 0


def _measured(report: dict[str, Any]) -> list[str]:
    """What other papers report, where there are labels: of the scored examples, and of the training data."""
    found = []
    for of, whose in ((report, "scored examples"), (report.get("training_data"), "training data")):
        if of and "accuracy" in of:
            values = ", ".join(f"{name.replace('_', ' ')} {100 * of[name]:.2f}%" for name in MEASURES)
            found.append(f"Of the {whose}: {values}.")
    return found
