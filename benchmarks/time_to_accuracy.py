"""Accuracy against time of `nvisa-tf train` with no option but the data set, and of what else could be done: a table and a picture.

    python benchmarks/time_to_accuracy.py --datasets mnist,fashion_mnist --seeds 0,1,2 --output results/time_to_accuracy.csv

Everything learns from the training split, without labels, and is scored on the test split. Each runs in a process of its own, one at a
time, with one thread, and its time is that process's CPU time: what it would take on an idle core, whatever else the machine does. Start
and end are included; ours also writes its report and its files in that time. With --all-cores each has all cores, the time is wall time,
and the machine must be idle. The contenders (`benchmarks/contenders.py`) take turns, one seed of all, then the next; rows that the file
has already are not measured again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import report
from contenders import CONTENDERS
from matplotlib.figure import Figure

from nvisa_tf import clustering_accuracy, load_dataset

OURS = "nvisa-tf train"
FIELDS = ("dataset", "method", "seed", "accuracy", "seconds", "cpu_seconds", "gigabytes", "threads", "date", "commit", "machine")


def run(command: list[str], threads: str) -> dict[str, Any]:
    """A process's wall and CPU seconds and its largest memory, with `threads` "one" or "all"; CalledProcessError if it fails."""
    environment = {**os.environ, **(report.ONE_THREAD if threads == "one" else {})}
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise subprocess.CalledProcessError(status, command, stderr=said[-2000:].decode(errors="replace"))
    return {
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "gigabytes": round(usage.ru_maxrss / 2**20, 2),
        "threads": threads,
    }


def measure(dataset: str, method: str, seed: int, threads: str, pythons: dict[str, str]) -> dict[str, Any]:
    """A row of one run; accuracy in percent."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        if method == OURS:
            words = ["train", "--dataset", dataset, "--seed", str(seed), "--out", str(where / "run")]
            used = run([sys.executable, "-P", "-m", "nvisa_tf", *words], threads)
            accuracy = json.loads((where / "run" / "report.json").read_text())["accuracy"]
        else:
            splits = load_dataset(dataset)
            train, test = (np.asarray(part.x, np.float32).reshape(len(part), -1) for part in (splits.train, splits.test))
            scale = train.max()
            np.savez(where / "data.npz", train=train / scale, test=test / scale, n_clusters=len(np.unique(splits.test.y)))
            script = Path(__file__).parent / "contenders.py"
            files = [str(where / "data.npz"), str(seed), str(where / "out.npy")]
            used = run([pythons.get(method, sys.executable), str(script), method, *files], threads)
            accuracy = clustering_accuracy(splits.test.y, np.load(where / "out.npy"))
    row = {"dataset": dataset, "method": method, "seed": seed, "accuracy": round(100 * accuracy, 2)}
    about = {"date": datetime.date.today(), "commit": report.commit(), "machine": report.cores()}
    return {**row, **used, **about}


def draw(rows: list[dict[str, Any]], threads: str, path: Path) -> None:
    """Accuracy against minutes, on a logarithmic scale, one panel for each data set: a point for each run."""
    column, axis = ("cpu_seconds", "minutes on one core") if threads == "one" else ("seconds", "minutes on all cores")
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    methods = [method for method in (OURS, *CONTENDERS) if method in {row["method"] for row in rows}]
    times = [float(row[column]) / 60 for row in rows]
    shortest, longest = min(times) / 1.5, max(times) * 1.5
    figure = Figure(figsize=(4.2 * len(datasets), 4.2), layout="constrained")
    panels = figure.subplots(1, len(datasets), squeeze=False)[0]
    for panel, dataset in zip(panels, datasets, strict=True):
        for number, method in enumerate(methods):
            found = [row for row in rows if (row["dataset"], row["method"]) == (dataset, method)]
            minutes, accuracies = [float(row[column]) / 60 for row in found], [float(row["accuracy"]) for row in found]
            look = {"marker": "*", "s": 110, "zorder": 3} if method == OURS else {"marker": "o", "s": 30}
            panel.scatter(minutes, accuracies, color=f"C{number}", label=method, **look)
        panel.set(title=dataset, xlabel=axis, xscale="log", ylim=(None, 100))
        panel.set_xticks([minutes for minutes in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if shortest < minutes < longest])
        panel.set_xticks([], minor=True)
        panel.set_xlim(shortest, longest)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy on test images, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure what is asked for, and write after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default="mnist,fashion_mnist")
    parser.add_argument("--methods", default=";".join([OURS, *CONTENDERS]), help="with semicolons between them")
    parser.add_argument("--seeds", type=report.numbers, default=[0, 1, 2])
    parser.add_argument("--clustpy-python", default=sys.executable, help="an interpreter that has clustpy (pip install clustpy)")
    parser.add_argument("--all-cores", action="store_true", help="all cores instead of one thread; nothing else may run then")
    parser.add_argument("--output", default="results/time_to_accuracy.csv")
    flags = parser.parse_args()
    threads = "all" if flags.all_cores else "one"
    output, pythons = Path(flags.output), {name: flags.clustpy_python for name in CONTENDERS if name.startswith("ClustPy")}
    rows = report.rows_of(output, FIELDS)
    done = {(row["dataset"], row["method"], int(row["seed"])) for row in rows if row["threads"] == threads}
    for seed in flags.seeds:
        for dataset in flags.datasets.split(","):
            for method in flags.methods.split(";"):
                if (dataset, method, seed) in done:
                    continue
                rows.append(measure(dataset, method, seed, threads, pythons))
                print({name: rows[-1][name] for name in FIELDS[:7]}, flush=True)
                report.write_rows(output, FIELDS, rows)
                draw([row for row in rows if row["threads"] == threads], threads, output.with_suffix(".png"))


if __name__ == "__main__":
    main()
