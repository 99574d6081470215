"""Restarts: the same run from several seeds, compared and chosen among without labels."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from nvisa_tf.clustering.metrics import cluster_size_entropy
from nvisa_tf.config.run import CRITERIA, RunConfig
from nvisa_tf.data import Array, Splits, input_scaling
from nvisa_tf.data.dataset import scaled
from nvisa_tf.evaluation.criteria import kmeans_agreement, mean_pairwise_nmi, silhouette
from nvisa_tf.evaluation.warnings import of_restarts
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.runs.jobs import Job, outcome, said_of, unfinished
from nvisa_tf.runs.workflows import finish_run, load_run, note_divergence, resume_run, start_run
from nvisa_tf.training import Monitor, Result, StopReason, Trainer, TrainingDiverged, train_in_lockstep

EARLY_EPS = 0.5  # of the early bound
KMEANS_EXAMPLES = 20_000  # so that it takes seconds


class Restart(NamedTuple):
    """One finished restart.

    Attributes:
      seed, path: of its run.
      criteria: by the names of `config.CRITERIA`; larger is taken for better.
      accuracy: in [0, 1], None without labels.
    """

    seed: int
    path: Path
    criteria: dict[str, float]
    accuracy: float | None


def jobs_of(config: RunConfig, n_restarts: int, out: Path) -> list[Job]:
    """The runs of seeds seed, seed + 1, ..., in folders under `out`.

    Raises:
      ValueError: fewer than 2 restarts, seeds that reach too far, or a limit of time.
    """
    if n_restarts < 2:
        raise ValueError(f"restarts is {n_restarts}; it must be at least 2, to have something to choose from.")
    if config.train.max_minutes:
        raise ValueError("max_minutes ends a single run, and restarts are compared at their end; choose fewer epochs instead.")
    first = config.train.seed
    return [Job("restart", seed, config.replace({"seed": seed}), out / f"seed{seed}") for seed in range(first, first + n_restarts)]


def run_in_lockstep(
    jobs: Sequence[Job],
    splits: Splits,
    monitor_of: Callable[[Job], Monitor],
    tell: Callable[[str], None],
    before: Callable[[Sequence[Trainer]], None] = lambda trainers: None,
    command: str = "",
) -> int:
    """Run every job that is neither done nor diverged in this process, the steps of all in one program; a started one goes on.

    Args:
      jobs: of one configuration but for the seed.
      splits: their data.
      monitor_of: who is told how a job goes.
      tell: is told when a run ends, or cannot go on.
      before: is called with the trainers before they train.
      command: for the run directories.

    Returns:
      How many ended before their end: stopped, failed, or not to be resumed.

    Raises:
      ValueError: the data are to be streamed.
    """
    jobs_of_trainers: dict[Trainer, Job] = {}
    failed = 0
    for job in unfinished(jobs):
        try:
            jobs_of_trainers[_trainer(job, splits, monitor_of(job), command)] = job
        except ValueError as error:  # its checkpoints cannot be read, or another process trains it; the others go on
            failed += 1
            tell(f"{job.folder.name}: {error}")
    before(list(jobs_of_trainers))

    def ended(trainer: Trainer, result: Result) -> None:
        nonlocal failed
        job = jobs_of_trainers[trainer]
        try:
            if isinstance(result, TrainingDiverged):
                note_divergence(trainer)
            elif result is StopReason.FINISHED:
                finish_run(trainer, job.config, splits)
        except OSError as error:
            result = error
        after = said_of(job, outcome(job))
        if after:
            tell(f"{after}. {result}" if isinstance(result, Exception) else after)
            return
        failed += 1
        where = f"stopped at epoch {trainer.epoch:.1f} of stage {trainer.stage.name}"
        why = result if isinstance(result, Exception) else f"{where}; {result.value}"
        tell(f"{job.folder.name}: {why}")

    train_in_lockstep(list(jobs_of_trainers), ended)
    return failed


def _trainer(job: Job, splits: Splits, monitor: Monitor, command: str) -> Trainer:
    if (job.folder / "run.json").is_file():
        run = RunDirectory.open(job.folder)
        config = run.config().replace({"checkpoint_minutes": job.config.train.checkpoint_minutes})
        return resume_run(run, config, splits, [monitor])
    return start_run(job.config, splits, str(job.folder), command, [monitor])


def compare(paths: Sequence[Path], x: Array) -> list[Restart]:
    """The criteria of finished runs, from their reports, their curves and what they make of held-out examples.

    Args:
      paths: run directories.
      x: raw examples [n, ...] that no run was trained on, where there are such.

    Raises:
      ValueError: a folder that is no run, or whose model cannot be loaded.
    """
    found, clusters = [], []
    for path in paths:
        model, config, run = load_run(path)
        clusters.append(model.predict_clusters(x))
        report = run.report()
        criteria = {
            "held_out_iw_bound": report.get("held_out_iw_bound", math.nan),
            "early_iw_bound": _early_bound(run, config),
            "silhouette": silhouette(model.embed(x), clusters[-1]),
            "cluster_size_entropy": cluster_size_entropy(clusters[-1], config.model.n_clusters),
        }
        found.append(Restart(config.train.seed, Path(path), criteria, report.get("accuracy")))
    return [
        restart._replace(criteria={**restart.criteria, "mean_pairwise_nmi": agreed})
        for restart, agreed in zip(found, mean_pairwise_nmi(clusters), strict=True)
    ]


def _early_bound(run: RunDirectory, config: RunConfig) -> float:
    # NaN where eps of x does not come down through it.
    options = config.options()
    if options.get("anneal") not in ("both", "x") or options["eps_start"] <= EARLY_EPS:
        return math.nan
    return next((float(row["held_out_iw_bound"]) for row in run.metrics() if float(row["eps_x"]) <= EARLY_EPS), math.nan)


def against_kmeans(restarts: Sequence[Restart], splits: Splits, config: RunConfig) -> tuple[dict[str, float], list[str]]:
    """How much the restarts agree, how much k-means does on the same inputs from the same seeds, and a warning where that is more.

    Args:
      restarts: at least two, of one configuration.
      splits: their data; k-means learns from the training examples, scaled as the models see them, and clusters the held-out ones; of
        more than `KMEANS_EXAMPLES` it takes an evenly spread part.
      config: theirs.
    """
    scale, shift = input_scaling(splits.train, config.data.scaling, config.model.unit_length)

    def seen(x: Array) -> np.ndarray:
        some = np.asarray(x[:: math.ceil(len(x) / KMEANS_EXAMPLES)], np.float32)
        return scaled(some, scale, shift, config.model.unit_length).reshape(len(some), -1)

    train, x = seen(splits.train.x), seen(splits.test.x)
    agreement = statistics.mean(restart.criteria["mean_pairwise_nmi"] for restart in restarts)
    baseline = kmeans_agreement(train, x, config.model.n_clusters, [restart.seed for restart in restarts])
    return {"mean_pairwise_nmi": agreement, "kmeans_mean_pairwise_nmi": baseline}, of_restarts(agreement, baseline)


def default_criterion(restarts: Sequence[Restart]) -> str:
    """What the choice goes by if nothing is said: of two, which agree with each other alike, the bound, or the silhouette without one."""
    if len(restarts) > 2:
        return next(iter(CRITERIA))
    return "silhouette" if math.isnan(restarts[0].criteria["held_out_iw_bound"]) else "held_out_iw_bound"


def choose(restarts: Sequence[Restart], criterion: str) -> Restart:
    """The restart with the largest criterion, of equals (as the mean NMI of two with each other) the one with the best bound.

    One that is not a number is never chosen over one that is.

    Raises:
      ValueError: no restart has the criterion.
    """
    if all(math.isnan(restart.criteria[criterion]) for restart in restarts):
        raise ValueError(f"No restart has a {criterion}, so none can be chosen by it; choose by another criterion.")

    def value(restart: Restart) -> tuple[float, float]:
        first, second = (-math.inf if math.isnan(n) else n for n in (restart.criteria[criterion], restart.criteria["held_out_iw_bound"]))
        return first, second

    return max(restarts, key=value)


def rank_correlations(restarts: Sequence[Restart]) -> dict[str, float]:
    """Spearman's rank correlation of each criterion with accuracy, in [-1, 1]; nothing without labels or with fewer than 3 restarts.

    A criterion that does not vary, or is not a number somewhere, has none and is left out.
    """
    scored = [restart for restart in restarts if restart.accuracy is not None]
    if len(scored) < 3 or len({restart.accuracy for restart in scored}) < 2:
        return {}
    accuracies = [restart.accuracy for restart in scored]
    columns = {name: [restart.criteria[name] for restart in scored] for name in CRITERIA}
    varying = {name: column for name, column in columns.items() if np.isfinite(column).all() and np.ptp(column) > 0}
    return {name: float(spearmanr(column, accuracies).statistic) for name, column in varying.items()}


def as_csv(restarts: Sequence[Restart], chosen: Restart) -> str:
    """One line a restart: seed, run, criteria, accuracy where known, and whether it was chosen."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["seed", "run", *CRITERIA, "accuracy", "chosen"])
    for restart in restarts:
        accuracy = "" if restart.accuracy is None else f"{restart.accuracy:.6g}"
        values = (f"{restart.criteria[name]:.6g}" for name in CRITERIA)
        writer.writerow([restart.seed, restart.path.name, *values, accuracy, int(restart is chosen)])
    return text.getvalue()


def summary(restarts: Sequence[Restart], chosen: Restart, criterion: str) -> dict[str, Any]:
    """What a person wants to know of the choice: plain values, accuracies in [0, 1] where there are labels."""
    about: dict[str, Any] = {"criterion": criterion, "seed": chosen.seed, "run": chosen.path.name, "restarts": len(restarts)}
    accuracies = [restart.accuracy for restart in restarts if restart.accuracy is not None]
    if accuracies:
        about.update(accuracy=chosen.accuracy, best=max(accuracies), mean=statistics.mean(accuracies))
        about["rank_correlation"] = rank_correlations(restarts)
    return about
