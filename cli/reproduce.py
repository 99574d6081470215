"""nvisa-tf reproduce: the paper's tables and figures."""

from __future__ import annotations

import argparse
import functools
import re
from pathlib import Path
from typing import Any

from nvisa_tf.cli import table1
from nvisa_tf.cli.main import EXIT_FAILURE, quiet_stderr
from nvisa_tf.cli.process import end_on_signals, train_command
from nvisa_tf.config.presets import PRESETS
from nvisa_tf.io.files import write_text
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.reproduce import ablation, table1_csv, tables
from nvisa_tf.reproduce.ablation import Row, run_config
from nvisa_tf.reproduce.table1 import OF_PIXELS
from nvisa_tf.runs.jobs import Job, Outcome, outcome, run_all

PICTURES = "losses.png, samples.png, latent.png"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of reproduce."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    text = "train on the data sets of the paper's table of accuracies from several seeds, and set the results beside it"
    of_table1 = commands.add_parser("table1", help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    of_table1.add_argument(
        "--datasets", type=names, default=OF_PIXELS, metavar="NAME,NAME", help=f"as for train (default {','.join(OF_PIXELS)})"
    )
    of_table1.add_argument("--methods", type=names, default=("all",), metavar="NAME,NAME", help="which, or all (default all)")
    of_table1.add_argument(
        "--presets", type=names, default=(), metavar="NAME,NAME", help="in place of the presets that the methods have for so many examples"
    )
    of_table1.add_argument(
        "--results",
        type=names,
        default=(),
        metavar="FILE,FILE",
        help="table1.csv of the same runs elsewhere, as on another machine; those are taken over, not run",
    )
    text_of_features = "take vectors for features of photos, as those of a file that names their backbone are taken anyway"
    of_table1.add_argument("--features", action="store_true", help=text_of_features)
    of_table1.add_argument(
        "--pretrain-epochs", type=int, metavar="N", help="of the autoencoders that methods begin with (default: the preset's)"
    )
    text = "run every row of the paper's ablation table, and the methods beyond it"
    of_ablation = commands.add_parser("ablation", help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    of_ablation.add_argument("--dataset", default="mnist", metavar="NAME", help="as for train (default mnist)")
    of_ablation.add_argument("--rows", type=names, default=(), metavar="ROW,ROW", help="which rows (default: all)")
    of_ablation.add_argument(
        "--preset", choices=list(PRESETS), default="random_fast", help="options that the rows change (default random_fast)"
    )
    of_ablation.add_argument(
        "--points", type=int, default=10_000, metavar="N", help="examples in the map of the latent space (default 10,000)"
    )
    for table in (of_table1, of_ablation):
        table.add_argument(
            "--out",
            required=True,
            metavar="DIR",
            help="where runs, table and figures go; runs that are done there are not run again",
        )
        table.add_argument("--data-dir", default="", metavar="DIR", help="tensorflow-datasets folder (default: TFDS_DATA_DIR)")
        table.add_argument(
            "--epochs", type=int, default=None, metavar="N", help="of every row; schedules scale with it (default: the preset's)"
        )
        table.add_argument("--seeds", type=seeds, default=(0,), metavar="N-N", help="such as 0-4 or 0,3 (default 0)")
        table.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time, each with its share of the cores (default 1)")
        table.add_argument("--dry-run", action="store_true", help="list the runs with a time estimate, and stop (default: run them)")
    text = "draw the loss curves, samples and latent space of runs"
    figures = commands.add_parser("figures", help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    figures.add_argument("runs", nargs="+", metavar="RUN", help="run directories; the latent space is the last one's")
    figures.add_argument("--out", default=".", metavar="DIR", help="where losses.png, samples.png and latent.png go (default: here)")
    figures.add_argument("--points", type=int, default=10_000, metavar="N", help="examples in the latent space's picture (default 10,000)")


def names(text: str) -> tuple[str, ...]:
    """Parse "a,b"."""
    return tuple(dict.fromkeys(text.split(",")))


def seeds(text: str) -> tuple[int, ...]:
    """Parse "0-4" and "0,3,7"; argparse turns the error into its own sentence."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of seeds such as 0-4 or 0,3")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(dict.fromkeys(found))


def run(flags: argparse.Namespace) -> int:
    """Run the table, or draw."""
    if getattr(flags, "jobs", 1) < 1:
        raise ValueError(f"--jobs is {flags.jobs}; it must be at least 1.")
    if flags.what == "table1":
        return _table1(flags)
    if flags.points < 10:
        raise ValueError(f"--points is {flags.points}; it must be at least 10.")
    if flags.what == "figures":
        return _figures(flags, Path(flags.out))
    return _table(flags, Path(flags.out), ablation.choose(flags.rows), {"dataset": flags.dataset, "data_dir": flags.data_dir})


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"The folder {folder} cannot be made: {error.strerror}.") from error


def _table1(flags: argparse.Namespace) -> int:
    plans = table1.plans_of(flags)
    known = table1_csv.read(flags.results, plans)
    jobs = [job for part in table1.jobs_of([plan for plan in plans if plan not in known]) for job in part]
    before = {job: outcome(job) for job in jobs}  # refuses a folder of other runs before anything starts
    if flags.dry_run:
        return _list(jobs, before)
    _make(Path(flags.out))
    return table1.run(plans, known, flags)


def _table(flags: argparse.Namespace, out: Path, rows: dict[str, Row], common: dict[str, Any]) -> int:
    jobs = [
        Job(name, seed, run_config(row, flags.preset, seed, flags.epochs, common), out / "runs" / f"{name}-seed{seed}")
        for name, row in rows.items()
        for seed in flags.seeds
    ]
    before = {job: outcome(job) for job in jobs}  # refuses a folder of other runs before anything starts
    if flags.dry_run:
        return _list(jobs, before)
    _make(out)
    end_on_signals()  # the runs save a checkpoint and end
    failed = run_all(jobs, flags.jobs, lambda text: print(text, flush=True), train_command)
    outcomes = {job: outcome(job) for job in jobs}
    results = list(outcomes.items())
    table = tables.as_markdown(rows, results)
    write_text(out / f"{flags.what}.csv", tables.as_csv(results))
    write_text(out / f"{flags.what}.md", table)
    print(table)
    finished = [job for job, found in results if found.status in ("done", "diverged")]
    finished.sort(key=lambda job: outcomes[job].status)  # "done" before "diverged"
    drawn = ""
    if finished:
        first: dict[str, RunDirectory] = {}
        for job in finished:
            first.setdefault(f"{rows[job.name].method} {rows[job.name].configuration}", RunDirectory.open(job.folder))
        _draw(first, out, flags.points, last="VIMCO NVISA*, 15 samples")
        drawn = f", {PICTURES}"
    print(f"Written to {out}: {flags.what}.csv, {flags.what}.md{drawn}.")
    if failed:
        print(f"{failed} run(s) ended before their end; the same command goes on with them.")
    return EXIT_FAILURE if failed else 0


def _list(jobs: list[Job], before: dict[Job, Outcome]) -> int:
    with quiet_stderr():
        import tensorflow as tf

        from nvisa_tf.data import load_splits
        from nvisa_tf.reproduce.timing import minutes_of_training
    tf.get_logger().setLevel("ERROR")  # it warns of a program for each row, which is what is wanted
    splits = functools.lru_cache(maxsize=1)(load_splits)  # jobs of one data set follow each other
    total, minutes = 0.0, dict[str, float]()
    for job in jobs:
        found = before[job]
        if found.status in ("done", "diverged"):
            print(f"{job.folder.name:36} {found.status}")
            continue
        if job.name not in minutes:
            minutes[job.name] = minutes_of_training(job.config, splits(job.config.data))
        left = minutes[job.name] * (1 - (found.epoch or 0.0) / job.config.train.epochs)
        total += left
        print(f"{job.folder.name:36} {found.status:8} about {left:6.1f} minutes for {job.config.train.epochs} epochs")
    print(f"{total:.0f} minutes of training steps in all, one run after the other with all cores.")
    return 0


def _figures(flags: argparse.Namespace, out: Path) -> int:
    opened = [RunDirectory.open(path) for path in flags.runs]
    _make(out)
    with quiet_stderr():
        from nvisa_tf.reproduce.figures import labels_of
    _draw(labels_of(opened), out, flags.points)
    print(f"Written to {out}: {PICTURES}.")
    return 0


def _draw(opened: dict[str, RunDirectory], out: Path, points: int, last: str | None = None) -> None:
    with quiet_stderr():
        from nvisa_tf.data import load_splits
        from nvisa_tf.reproduce import figures
        from nvisa_tf.runs.workflows import load_run
    figures.save_losses(out / "losses.png", opened)
    models = {label: load_run(run.path)[0] for label, run in opened.items()}
    figures.save_samples(out / "samples.png", models)
    shown = last if last in models else list(models)[-1]
    test = load_splits(opened[shown].config().data).test
    figures.save_latent_space(out / "latent.png", models[shown], test.x[:points])
