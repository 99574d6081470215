"""nvisa-tf train --restarts: the same run from several seeds, and the choice among them."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import signal
import time
from pathlib import Path
from typing import Any

from nvisa_tf.cli.main import EXIT_FAILURE, quiet_stderr
from nvisa_tf.config import CRITERIA, RunConfig
from nvisa_tf.data import Splits
from nvisa_tf.files import write_text
from nvisa_tf.jobs import outcome, run_all


def run(flags: argparse.Namespace, config: RunConfig, splits: Splits) -> int:
    """Run every seed that is not done, compare, choose; 1 where a run failed or diverged and too few are left."""
    with quiet_stderr():
        from nvisa_tf import restarts, workflows
        from nvisa_tf.training import Trainer
    if flags.jobs < 1:
        raise ValueError(f"--jobs is {flags.jobs}; it must be at least 1.")
    out = Path(flags.out or f"runs/{Path(config.data.dataset).stem}-restarts-{time.strftime('%Y%m%d-%H%M%S')}")
    jobs = restarts.jobs_of(config, flags.restarts, out)
    Trainer.check_size(workflows.build_model(config, splits), splits.train)  # what every run would refuse is refused once
    for job in jobs:
        outcome(job)  # refuses a folder of other runs before anything starts
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"The folder {out} cannot be made: {error.strerror}.") from error
    again = f"with --out {shlex.quote(str(out))} the same command goes on with them"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the runs save a checkpoint and end
    print(f"{splits.train.name}: {splits.description}; {len(jobs)} restarts of {config.train.epochs} epochs in {out}.", flush=True)
    try:
        failed = run_all(jobs, flags.jobs, lambda text: print(text, flush=True))
    except KeyboardInterrupt:
        print(f"The restarts save their checkpoints; {again}.")
        raise
    if failed:
        print(f"{failed} restart(s) ended before their end; {again}.")
        return EXIT_FAILURE
    done = [job.folder for job in jobs if outcome(job).status == "done"]
    if not done:
        raise RuntimeError("Every restart diverged; try slower annealing (--eps-halving-epochs), a smaller --learning-rate or --clip-norm.")
    found = restarts.compare(done, splits.test.x)
    chosen = restarts.choose(found, flags.choose_by)
    about = restarts.summary(found, chosen, flags.choose_by)
    write_text(out / "restarts.csv", restarts.as_csv(found, chosen))
    write_text(out / "restarts.json", json.dumps(about, indent=2) + "\n")
    _print(found, chosen, about, len(jobs) - len(done))
    return 0


def _print(found: list[Any], chosen: Any, about: dict[str, Any], diverged: int) -> None:
    print("  ".join([f"{'seed':>6}", *(f"{name:>11}" for name in CRITERIA), f"{'accuracy':>8}"]))
    for restart in found:
        accuracy = "" if restart.accuracy is None else f"{100 * restart.accuracy:.2f}%"
        values = "  ".join(f"{value:11.4g}" if math.isfinite(value) else f"{value:11}" for value in restart.criteria.values())
        print(f"{restart.seed:6}  {values}  {accuracy:>8}{'  <- chosen' if restart is chosen else ''}")
    if diverged:
        print(f"{diverged} restart(s) diverged and are left out.")
    path = shlex.quote(str(chosen.path))
    print(f"Chosen without labels, by {about['criterion']} ({CRITERIA[about['criterion']]}): seed {about['seed']}, run {path}.")
    if "accuracy" in about:
        own, best, mean = (f"{100 * about[name]:.2f}%" for name in ("accuracy", "best", "mean"))
        print(f"Its accuracy is {own}; of the {about['restarts']} restarts, the best has {best} and the mean is {mean}.")
    if about.get("rank_correlation"):
        ranks = ", ".join(f"{name} {value:.2f}" for name, value in about["rank_correlation"].items())
        print(f"Rank correlation with accuracy, of {about['restarts']} restarts: {ranks}.")
    print("Next:")
    print(f"  nvisa-tf predict {path} --input new.npy --output clusters.csv")
    print(f"  nvisa-tf export {path} --format tflite")
