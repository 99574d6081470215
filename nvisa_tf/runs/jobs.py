"""Many runs as processes: which are done, run the others, a few at a time."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nvisa_tf.config.run import RunConfig
from nvisa_tf.io.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Job:
    """One run to be done: a name for what sets it apart from others of its seed, its seed, its configuration and its folder."""

    name: str
    seed: int
    config: RunConfig
    folder: Path


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What is known of a job.

    Attributes:
      status: "done", "diverged", "started" or "missing".
      epoch: epochs trained, or at which it diverged.
      accuracy, nmi, ari: in [0, 1], None without labels or before the end.
      held_out_iw_bound: nats; None of a method without a density.
      minutes: of training.
    """

    status: str
    epoch: float | None = None
    accuracy: float | None = None
    nmi: float | None = None
    ari: float | None = None
    held_out_iw_bound: float | None = None
    minutes: float | None = None


def outcome(job: Job) -> Outcome:
    """Read a job's run directory.

    Raises:
      ValueError: its folder holds a run of another configuration, or something else.
    """
    if not (job.folder / "run.json").is_file():
        RunDirectory(job.folder).check_vacant()
        return Outcome("missing")
    run = RunDirectory.open(job.folder)
    _check_same(run, job)
    report = run.report()
    if "diverged_at_epoch" in report:
        return Outcome("diverged", report["diverged_at_epoch"], minutes=report.get("minutes"))
    if report.get("epoch", -1) < job.config.train.epochs and "ended_early" not in report:
        rows = run.metrics()
        return Outcome("started", float(rows[-1]["epoch"]) if rows else 0.0)
    return Outcome("done", *(report.get(name) for name in ("epoch", "accuracy", "nmi", "ari", "held_out_iw_bound", "minutes")))


def _check_same(run: RunDirectory, job: Job) -> None:
    """Refuse a folder whose run has other options than the job's, those apart that change nothing and the input's shape."""

    def comparable(config: RunConfig) -> tuple[object, ...]:
        config = config.with_absolute_paths()
        return (
            config.method,
            dataclasses.replace(config.model, input_shape=()),
            dataclasses.replace(config.train, checkpoint_minutes=0.0),
            dataclasses.replace(config.data, data_dir="", resize=config.data.resizing),
        )

    made = run.config()
    if made.method == job.config.method and job.config.options().get("forward_precision") == "auto":
        made = made.replace({"forward_precision": "auto"})  # it was decided where the run began
    if comparable(made) != comparable(job.config):
        raise ValueError(f"{run.path} holds a run with other options; choose another --out, or the options it was made with.")


def unfinished(jobs: Sequence[Job]) -> list[Job]:
    """Those that are neither done nor diverged."""
    return [job for job in jobs if outcome(job).status in ("started", "missing")]


def said_of(job: Job, after: Outcome) -> str:
    """A line on how a job ended, "" where it did not."""
    if after.status == "done":
        scored = "" if after.accuracy is None else f", accuracy {100 * after.accuracy:.2f}%"
        return f"{job.folder.name}: done{scored}, {after.minutes:.1f} minutes"
    return f"{job.folder.name}: diverged at epoch {after.epoch:.1f}" if after.status == "diverged" else ""


def run_all(jobs: Sequence[Job], parallel: int, tell: Callable[[str], None], command_of: Callable[[Job], list[str]]) -> int:
    """Run every job that is neither done nor diverged; a started one goes on. Gives how many failed.

    When interrupted, the running ones are told to end, and waited for.

    Each run is a process of its own with its share of the cores, its output in `<folder>.log`.

    Args:
      jobs: what to do.
      parallel: how many at a time, at least 1.
      tell: is told when a run starts and ends.
      command_of: the words of the command that begins a job, or goes on with it.
    """
    todo = unfinished(jobs)
    cores = str(max(1, (os.cpu_count() or 1) // parallel))
    threads = {"TF_NUM_INTRAOP_THREADS": cores, "TF_NUM_INTEROP_THREADS": cores}
    # On a GPU the runs share its memory, of which TensorFlow would take all for the first.
    environment = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", **os.environ, **threads}
    stop, failed, processes = threading.Event(), list[Job](), list[subprocess.Popen[bytes]]()

    def run(job: Job) -> None:
        if stop.is_set():
            return
        log = job.folder.with_name(job.folder.name + ".log")
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        tell(f"{job.folder.name}: started, log in {log}")
        with open(log, "ab") as output:
            process = subprocess.Popen(command_of(job), stdout=output, stderr=output, env=environment)
            processes.append(process)
            if stop.is_set():  # set since the run was let through
                process.terminate()
            code = process.wait()
        ended = said_of(job, outcome(job))
        if not ended:
            failed.append(job)
        tell(ended or f"{job.folder.name}: ended with exit code {code} before its end; see {log}")

    with ThreadPoolExecutor(parallel) as pool:
        try:
            for future in [pool.submit(run, job) for job in todo]:
                future.result()
        except BaseException:
            stop.set()
            for process in processes:  # they save a checkpoint and end; Ctrl-C on a terminal has told them already
                process.terminate()
            raise
    return len(failed)
