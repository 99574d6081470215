"""nvisa-tf train --restarts: the same run from several seeds, and the choice among them."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nvisa_tf.cli.main import EXIT_FAILURE, quiet_stderr
from nvisa_tf.cli.next_steps import next_steps
from nvisa_tf.cli.process import end_on_signals, repeat_exactly, stop_on_signals, train_command
from nvisa_tf.cli.remarks import remarks
from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.run import CRITERIA, RunConfig
from nvisa_tf.data import Splits
from nvisa_tf.io.files import write_text
from nvisa_tf.io.run_directory import RESTARTS, RunDirectory, free_name
from nvisa_tf.runs.jobs import Job, outcome, run_all


def check_flags(flags: argparse.Namespace, config: RunConfig) -> None:
    """Raise ValueError for flags that make no sense together, before anything is loaded."""
    for name in ("jobs", "batched", "choose_by"):
        if flags.restarts is None and getattr(flags, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} goes with --restarts; give that too, or leave it out.")
    if flags.jobs is not None and flags.jobs < 1:
        raise ValueError(f"--jobs is {flags.jobs}; it must be at least 1.")
    if str(flags.choose_by).endswith("bound") and not METHODS[config.method].has_density:
        raise ValueError(f"The method {config.method} has no density, so no {flags.choose_by}; choose by another criterion.")
    if flags.batched and flags.jobs is not None:
        raise ValueError("--batched trains all restarts in one program, --jobs in so many; choose one of them.")


def by_processes(flags: argparse.Namespace, config: RunConfig) -> bool:
    """Whether it is known before the data that every restart is a process of its own."""
    return flags.batched is False or flags.jobs is not None or config.train.pipeline == "stream" or config.model.has_convolutions


def run(flags: argparse.Namespace, config: RunConfig, splits: Splits, number_of_clusters: dict[str, Any] | None = None) -> int:
    """Run every seed that is not done, compare those that are, choose; 1 where a run ended before its end.

    How the number of clusters was found, plain values, is kept beside the choice.
    """
    with quiet_stderr():
        import tensorflow as tf

        from nvisa_tf.models.base import check_n_clusters
        from nvisa_tf.runs import restarts, workflows
        from nvisa_tf.training.lockstep import why_not_together
    why_not = why_not_together(config, splits.train.x)
    if flags.batched and why_not:
        raise ValueError(f"{why_not}; leave --batched out.")
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    batched = not why_not and not by_processes(flags, config) and (flags.batched or on_gpu)
    if batched:
        repeat_exactly()
    else:
        _leave_gpu(tf)
    tf.get_logger().setLevel("ERROR")  # it warns of a program for each model, which is what is wanted
    out = Path(flags.out) if flags.out else free_name(config, "-restarts")
    jobs = restarts.jobs_of(config, flags.restarts, out)
    new = any(outcome(job).status == "missing" for job in jobs)
    check_n_clusters(config.model, splits.train)
    model = workflows.build_model(config, splits, start=new)  # what every run would refuse is refused once
    _prepare(out, jobs)
    again = f"with --out {shlex.quote(str(out))} the same command goes on"
    print(f"{splits.train.name}: {splits.description}; {len(jobs)} restarts of {config.train.epochs} epochs in {out}.", flush=True)
    for remark in [*splits.train.origin.remarks, *remarks(config, splits, model)]:
        print(remark, flush=True)
    try:
        failed = (_run_batched if batched else _run_processes)(jobs, splits, flags)
    except KeyboardInterrupt:
        print(f"The restarts stop at their last checkpoints; {again}.")
        raise
    outcomes = [outcome(job).status for job in jobs]
    diverged = [job.seed for job, status in zip(jobs, outcomes, strict=True) if status == "diverged"]
    if done := [job.folder for job, status in zip(jobs, outcomes, strict=True) if status == "done"]:
        found = restarts.compare(done, splits.test.x)
        criterion = flags.choose_by or restarts.default_criterion(found)
        chosen = restarts.choose(found, criterion)
        about = {**restarts.summary(found, chosen, criterion), "diverged_seeds": diverged, "warnings": []}
        if number_of_clusters is not None:
            about["number_of_clusters"] = number_of_clusters
        if len(found) > 1:
            agreement, about["warnings"] = restarts.against_kmeans(found, splits, config)
            about.update(agreement)
        write_text(out / "restarts.csv", restarts.as_csv(found, chosen))
        write_text(out / RESTARTS, json.dumps(about, indent=2) + "\n")
        _print(found, chosen, about, next_steps(chosen.path, config.data.dataset, splits.train, ()))
    if failed:
        print(f"{failed} restart(s) ended before their end and are left out; {again}.")
        return EXIT_FAILURE
    if not done:
        raise RuntimeError(
            "Every restart diverged; try slower annealing (--eps-halving-epochs) or a smaller --learning-rate, in a new --out."
        )
    return 0


def _run_processes(jobs: list[Job], splits: Splits, flags: argparse.Namespace) -> int:
    end_on_signals()  # the runs save a checkpoint and end
    return run_all(jobs, flags.jobs or 1, _tell, train_command)


def _leave_gpu(tf: Any) -> None:
    """Leave the GPU's memory to the runs, which are processes of their own."""
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:  # loading the data has taken it already, when nothing but their size said that they are streamed
        raise ValueError("These data are too large for restarts in one program; add --no-batched.") from None


def _run_batched(jobs: list[Job], splits: Splits, flags: argparse.Namespace) -> int:
    from nvisa_tf.runs import restarts
    from nvisa_tf.training.console import ConsoleMonitor

    monitors: list[ConsoleMonitor] = []
    came: list[str] = []

    def monitor_of(job: Job) -> ConsoleMonitor:
        monitors.append(ConsoleMonitor(job.folder.name, monitors[0] if monitors else None, held_out=splits.test is not splits.train))
        return monitors[-1]

    def before(trainers: Sequence[Any]) -> None:
        nonlocal came
        came = stop_on_signals(trainers)

    try:
        failed = restarts.run_in_lockstep(jobs, splits, monitor_of, _tell, before, shlex.join(["nvisa-tf", *sys.argv[1:]]))
    finally:
        end_on_signals()
        for monitor in monitors:
            monitor.close()
    if came and failed:
        raise KeyboardInterrupt
    return failed


def _tell(text: str) -> None:
    print(text, flush=True)


def _prepare(out: Path, jobs: list[Job]) -> None:
    """Make the folder, or refuse it before anything starts."""
    if (out / "run.json").exists():
        raise ValueError(f"{out} is a run; choose another --out for restarts.")
    for job in jobs:
        outcome(job)  # refuses a folder of other runs
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ValueError(f"The restarts cannot be written to {out} ({error.strerror}); choose another --out.") from error


def _print(found: list[Any], chosen: Any, about: dict[str, Any], steps: list[str]) -> None:
    known = [name for name in CRITERIA if not all(math.isnan(restart.criteria[name]) for restart in found)]
    print("  ".join([f"{'seed':>6}", *known, f"{'accuracy':>8}"]))
    for restart in found:
        accuracy = "" if restart.accuracy is None else f"{100 * restart.accuracy:.2f}%"
        values = "  ".join(f"{restart.criteria[name]:{len(name)}.4g}" for name in known)
        print(f"{restart.seed:6}  {values}  {accuracy:>8}{'  <- chosen' if restart is chosen else ''}")
    if about["diverged_seeds"]:
        print(f"Diverged and left out: seed {', '.join(map(str, about['diverged_seeds']))}.")
    path = shlex.quote(str(chosen.path))
    print(f"Chosen without labels, by {about['criterion']} ({CRITERIA[about['criterion']]}): seed {about['seed']}, run {path}.")
    if "accuracy" in about:
        own, best, mean = (f"{100 * about[name]:.2f}%" for name in ("accuracy", "best", "mean"))
        print(f"Its accuracy is {own}; of the {about['restarts']} restarts, the best has {best} and the mean is {mean}.")
    if about.get("rank_correlation"):
        ranks = ", ".join(f"{name} {value:.2f}" for name, value in about["rank_correlation"].items())
        print(f"Rank correlation with accuracy, of {about['restarts']} restarts: {ranks}.")
    for warning in RunDirectory.open(chosen.path).report().get("warnings", ()):
        print(f"Warning: {warning}")
    for warning in about["warnings"]:
        print(f"Warning: {warning}")
    print("Next:")
    for step in steps:
        print(f"  {step}")
