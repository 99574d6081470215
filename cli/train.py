"""nvisa-tf train."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

import numpy as np

from nvisa_tf.cli import restarts
from nvisa_tf.cli.main import EXIT_INTERRUPTED, quiet_stderr
from nvisa_tf.cli.options import add_config_flags, config_from_flags, file_options, given_options
from nvisa_tf.cli.process import repeat_exactly, stop_on_signals
from nvisa_tf.config import CRITERIA, RunConfig
from nvisa_tf.data import NEED_TENSORFLOW, Splits, load_splits
from nvisa_tf.presets import PRESETS, SMALL, automatic, better, expected
from nvisa_tf.run_directory import RunDirectory

CHANGEABLE = {"epochs", "max_minutes", "checkpoint_minutes", "data_dir"}  # by --resume, harmless to exactness


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of train."""
    group = parser.add_argument_group("run")
    group.add_argument("--out", metavar="DIR", help="the new run directory (default runs/<data set>-<date>-<time>)")
    group.add_argument("--resume", metavar="RUN", help="go on with this run, exactly as if it had not stopped (default: a new run)")
    group.add_argument(
        "--preset",
        choices=["auto", *PRESETS],
        default="auto",
        help=f"options to start from; auto: tables for vectors, small for fewer than {SMALL:,} images, else images (default auto)",
    )
    group.add_argument("--restarts", type=int, metavar="R", help="train from R seeds and choose one without labels (default: one run)")
    group.add_argument("--jobs", type=int, metavar="N", help="restarts at a time, each with its share of the cores (default 1)")
    group.add_argument(
        "--batched",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="all restarts in one program, which fills a GPU (default: on a GPU that --jobs does not share, yes, but for convolutions; "
        "else one after another)",
    )
    group.add_argument(
        "--choose-by",
        choices=list(CRITERIA),
        help=f"what the choice among restarts goes by; all are shown (default {next(iter(CRITERIA))}, of two restarts bound)",
    )
    group.add_argument("--config", metavar="FILE", help="a TOML file of any options below; flags win (default: none)")
    add_config_flags(parser)


def run(flags: argparse.Namespace) -> int:
    """Train and report; 0 at the end, 130 after an interrupt."""
    resumed = RunDirectory.open(flags.resume) if flags.resume else None
    chosen_preset = automatic(SMALL, True) if flags.preset == "auto" else flags.preset  # until the data are known
    config = _resumed_config(resumed, flags) if resumed else config_from_flags(flags, chosen_preset)
    restarts.check_flags(flags)
    # What is wrong with a file is said at once, as TensorFlow takes seconds to load.
    splits = None if config.data.dataset in NEED_TENSORFLOW else load_splits(config.data)
    with quiet_stderr():
        import tensorflow as tf

        from nvisa_tf import workflows
        from nvisa_tf.cli.progress import ConsoleMonitor
        from nvisa_tf.training import TrainingDiverged
    if flags.restarts is not None and restarts.by_processes(flags, config):
        tf.config.set_visible_devices([], "GPU")  # its memory is for the runs; once the data are loaded it can be too late
    if splits is None:
        splits = load_splits(config.data)
    if not resumed and flags.preset == "auto":
        chosen_preset = automatic(len(splits.train), splits.train.is_image)
        config = config_from_flags(flags, chosen_preset)
    if flags.restarts is not None:
        return restarts.run(flags, config, splits)
    repeat_exactly()
    monitor = ConsoleMonitor()
    trainer: Any
    if resumed:
        trainer = workflows.resume_run(resumed, config, splits, [monitor])
        print(f"Going on with {resumed.path} from epoch {trainer.step / trainer.steps_per_epoch:.1f} of {config.train.epochs}.")
    else:
        trainer = workflows.start_run(config, splits, flags.out, shlex.join(["nvisa-tf", *sys.argv[1:]]), [monitor])
        print(f"{splits.train.name}: {splits.description}; {config.model.n_clusters} clusters, {config.train.epochs} epochs.")
        if config.data.scaling == "auto" and not splits.train.is_image and not np.ptp(trainer.model.input_scale.numpy()):
            print("All values are scaled alike; if the vectors' columns have units of their own, add --scaling standardize.")
        if config.model.likelihood == "bernoulli":
            print(f"Bernoulli likelihood of inputs {'cut at 0.5 to 0 or 1' if config.model.binarize else 'in [0, 1] as they are'}.")
        if what_to_expect := expected(chosen_preset, config):
            print(f"To expect of the preset {chosen_preset} on {config.data.dataset}: accuracy {what_to_expect}.")
            if more := better(chosen_preset, config.data.dataset):
                print(f"What gave more there: the preset {more}.")
        print(f"Run: {trainer.run.path}   (watch it with: tensorboard --logdir {shlex.quote(str(trainer.run.tensorboard))})", flush=True)
    stop_on_signals([trainer])
    try:
        stopped = trainer.train()
    except TrainingDiverged:
        workflows.note_divergence(trainer)
        raise
    finally:
        monitor.close()
    _finish(workflows, trainer, config, splits, stopped)
    return EXIT_INTERRUPTED if stopped.startswith("signal") else 0


def _resumed_config(resumed: RunDirectory, flags: argparse.Namespace) -> RunConfig:
    options = {**file_options(flags.config), **given_options(flags)}
    wrong = sorted(set(options) - CHANGEABLE)
    given = {name: getattr(flags, name) is not None for name in ("out", "restarts", "jobs", "batched", "choose_by")}
    given["preset"] = flags.preset != "auto"
    if wrong := wrong + [name for name, value in given.items() if value]:
        named = wrong[0]
        raise ValueError(
            f"--{named.replace('_', '-')} cannot change with --resume, only {', '.join(sorted(CHANGEABLE))} can; start a new run."
        )
    # The limit belongs to the start that was given it, not to the run.
    return resumed.config().replace({"max_minutes": 0.0, **options})


def _finish(workflows: Any, trainer: Any, config: RunConfig, splits: Splits, stopped: str) -> None:
    path = shlex.quote(str(trainer.run.path))
    if not trainer.initialized:
        print(f"Stopped before the first epoch ({stopped}); the start from an autoencoder is made anew.")
        print(f"Go on with: nvisa-tf train --resume {path}")
        return
    if stopped:
        print(f"Stopped at epoch {trainer.step / trainer.steps_per_epoch:.1f} of {config.train.epochs} ({stopped}); a checkpoint is saved.")
    if not stopped.startswith("signal"):
        report = workflows.finish_run(trainer, config, splits)
        print_report(report)
        print(f"Run: {path}: model.keras, metrics.csv, plots/samples.png, tensorboard/.")
    if stopped:
        print(f"Go on with: nvisa-tf train --resume {path}")
        return
    print("Next:")
    print(f"  nvisa-tf sample {path} --output samples.png")
    print(f"  nvisa-tf predict {path} --input new.npy --output clusters.csv")
    print(f"  nvisa-tf evaluate {path} --samples 1000")
    print(f"  nvisa-tf export {path} --format tflite")


def print_report(report: dict[str, Any]) -> None:
    """Scores for a person."""
    if "accuracy" in report:
        scores = {"accuracy": report["accuracy"], "NMI": report["nmi"], "ARI": report["ari"]}
        print(", ".join(f"{name} {100 * value:.2f}%" for name, value in scores.items()) + f"   ({report['description']})")
    else:
        print(f"No labels, so no accuracy ({report['description']}).")
    if "accuracy" in report.get("init", {}):
        init = report["init"]
        print(f"It started from {init['method']}: {100 * init['accuracy']:.2f}%, as q(y|x) {100 * init['start_accuracy']:.2f}%.")
    bound = f"{report['bound']:.3f} nats with {report['bound_samples']} samples at eps {report['eps']:.3g}"
    print(f"Held-out bound {bound}; steps skipped: {report['skipped']}.")
    unsure = f"under {report['unsure_under']} for {report['unsure']:.1%} of examples"
    print(f"The probability of an example's own cluster is {report['confidence']:.3f} on average, {unsure}.")
    sizes = report["cluster_sizes"]
    print("Cluster sizes: " + " ".join(str(n) for n in sizes) + ("" if all(sizes) else f"   ({sizes.count(0)} empty)"))
