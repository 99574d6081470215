"""Seconds an epoch of DEC, IDEC, VaDE and their autoencoder, against ClustPy's (PyTorch) with the same widths and batches on one thread.

    python benchmarks/methods.py --clustpy-python PYTHON --output results/methods.md

Both train on the same MNIST images, one process at a time, taking turns. The time is CPU time, so that it is what an idle core would take
whatever else the machine does. Ours includes what lies between two steps, such as DEC's renewals of its target from all examples, which
ClustPy makes of each batch alone; compiling and the first call are left out of both.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import report

from nvisa_tf import Monitor, RunConfig, Trainer, load_dataset
from nvisa_tf.config.presets import preset
from nvisa_tf.data import Dataset, Splits
from nvisa_tf.runs.workflows import build_model
from nvisa_tf.training import Progress

METHODS = {"dec": "DEC", "idec": "IDEC", "vade": "VaDE"}
STEPS_A_CALL = 25


class Clock(Monitor):
    """Notes the CPU time after every call of steps, by stage."""

    def __init__(self) -> None:
        self.marks: dict[str, list[tuple[int, float]]] = {}

    def on_progress(self, progress: Progress) -> None:
        """Note the step and the time."""
        self.marks.setdefault(progress.stage, []).append((progress.step, time.process_time()))

    def seconds_a_step(self, stage: str) -> float:
        """From the end of the first call to that of the last."""
        (first, began), (last, ended) = self.marks[stage][0], self.marks[stage][-1]
        return (ended - began) / (last - first)


def ours(method: str, data: str, batch: int, epochs: int) -> dict[str, float]:
    """Our seconds an epoch, by "autoencoder" and "clustering"; run in a process of its own."""
    with np.load(data) as arrays:
        train = Dataset("mnist", arrays["train"].reshape(-1, 28, 28))
    changed = {"batch_size": batch, "pretrain_epochs": epochs, "epochs": epochs, "steps_per_call": STEPS_A_CALL, "eval_epochs": 1000.0}
    if method != "vade":
        changed["tolerance"] = 0.0
    config = RunConfig().replace({**preset(method), **changed})
    clock = Clock()
    Trainer(build_model(config, Splits(train, train, "")), config, train, train.take(np.arange(100)), monitors=[clock]).train()
    steps = len(train) // batch
    return {name: steps * clock.seconds_a_step(stage) for name, stage in (("autoencoder", "autoencoder"), ("clustering", method))}


def run(python: str, words: Sequence[str]) -> dict[str, float]:
    """What a script prints, with one thread."""
    environment = {**os.environ, **report.ONE_THREAD}
    done = subprocess.run([python, *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clustpy-python", default=sys.executable, metavar="PYTHON", help="that of an environment with ClustPy")
    parser.add_argument("--methods", default=",".join(METHODS), metavar="NAME,NAME", help="(default %(default)s)")
    parser.add_argument("--examples", type=int, default=20_000, metavar="N", help="(default 20,000)")
    parser.add_argument("--batch-size", type=int, default=256, metavar="N", help="(default 256)")
    parser.add_argument("--epochs", type=int, default=2, metavar="N", help="of each stage and turn (default 2)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns (default 3)")
    parser.add_argument("--output", required=True, metavar="FILE", help="a .md file; the same is written as .csv beside it")
    parser.add_argument("--ours", nargs=2, help=argparse.SUPPRESS)  # a method and the data: what the process of a turn does
    flags = parser.parse_args()
    if flags.ours:
        print(json.dumps(ours(*flags.ours, flags.batch_size, flags.epochs)))
        return
    here, splits = Path(__file__), load_dataset("mnist")
    spent: dict[tuple[str, str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "data.npz")
        x = np.asarray(splits.train.x[: flags.examples], np.float32).reshape(flags.examples, -1) / 255
        np.savez(data, train=x, n_clusters=10)
        lengths = ["--batch-size", str(flags.batch_size), "--epochs", str(flags.epochs), "--output", flags.output]
        for turn in range(flags.rounds):
            for method in flags.methods.split(","):
                mine = (sys.executable, [str(here), "--ours", method, data, *lengths])
                theirs = [str(here.with_name("clustpy_epochs.py")), METHODS[method], data, str(flags.batch_size), str(flags.epochs)]
                both = {"nvisa-tf": mine, "ClustPy": (flags.clustpy_python, theirs)}
                for name in list(both)[:: 1 if turn % 2 == 0 else -1]:
                    for stage, seconds in run(*both[name]).items():
                        spent.setdefault((method, stage, name), []).append(seconds)
                        print(method, stage, name, f"{seconds:.2f} s an epoch", flush=True)
    rows = []
    for method, stage in dict.fromkeys((method, stage) for method, stage, _ in spent):
        mine, its = (spent[method, stage, name] for name in ("nvisa-tf", "ClustPy"))
        ratios = [b / a for a, b in zip(mine, its, strict=True)]
        speeds = [flags.examples / statistics.median(seconds) for seconds in (mine, its)]
        what = f"{METHODS[method]}, its autoencoder" if stage == "autoencoder" else METHODS[method]
        numbers = [f"{speed:,.0f}" for speed in speeds]
        rows.append([what, *numbers, f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"])
    about = (
        f"Examples a second of CPU time on one thread: {flags.examples:,} MNIST images, batches of {flags.batch_size}, widths of 500, 500, "
        f"2000 and 10, float32. Medians of {flags.rounds} turns of {flags.epochs} epochs each, taken in alternation. "
        f"{datetime.date.today()}, commit {report.commit()}, {report.cores()}. Made by `benchmarks/methods.py`."
    )
    report.write(flags.output, "Speed of the methods against ClustPy", about, ["method", "nvisa-tf", "ClustPy", "ratio", "range"], rows)


if __name__ == "__main__":
    main()
