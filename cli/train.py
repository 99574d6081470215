"""nvisa-tf train."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from nvisa_tf.cli import restarts
from nvisa_tf.cli.main import EXIT_INTERRUPTED, quiet_stderr
from nvisa_tf.cli.next_steps import next_steps
from nvisa_tf.cli.options import Chosen, add_config_flags, config_from_flags, file_options, given_options
from nvisa_tf.cli.process import repeat_exactly, stop_on_signals
from nvisa_tf.cli.remarks import remarks
from nvisa_tf.config.datasets import DATASETS
from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.number_of_clusters import Limits
from nvisa_tf.config.presets import PRESETS, SMALL, automatic, better, expected, for_features, method_of
from nvisa_tf.config.run import CRITERIA, RunConfig
from nvisa_tf.data import Splits, load_splits
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.report.text import number_of_clusters as in_words
from nvisa_tf.report.text import tried

CHANGEABLE = {"epochs", "max_minutes", "checkpoint_minutes", "data_dir"}  # by --resume, harmless to exactness


def add_flags(parser: argparse.ArgumentParser, words: Sequence[str] = ()) -> None:
    """The flags of train, for the method that `words`, those of the command, name."""
    chosen = Chosen(words)
    parser.set_defaults(method=chosen.method)
    parser.add_argument("--help-all", action="help", help="show every option, with the default of the chosen preset, and exit")
    group = parser.add_argument_group("run")
    summaries = "; ".join(f"{name}: {method.summary}" for name, method in METHODS.items())
    group.add_argument("--method", choices=list(METHODS), help=f"the clustering method; {summaries} (default nvisa)")
    group.add_argument("--out", metavar="DIR", help="the new run directory (default runs/<data set>-<date>-<time>)")
    group.add_argument("--resume", metavar="RUN", help="go on with this run, exactly as if it had not stopped (default: a new run)")
    group.add_argument(
        "--preset",
        choices=["auto", *PRESETS],
        default="auto",
        metavar="NAME",
        help=f"options to begin with: {', '.join(name for name in PRESETS if method_of(name) == chosen.method)}; "
        f"auto: by the kind of the examples, and whether there are {SMALL:,} (default auto)",
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
        help=f"what the choice among restarts goes by; all are shown (default {next(iter(CRITERIA))}; "
        "of two restarts the bound, or silhouette without one)",
    )
    group.add_argument("--config", metavar="FILE", help="a TOML file of any options below; flags win (default: none)")
    add_config_flags(parser, chosen)


def run(flags: argparse.Namespace) -> int:
    """Train and report; 0 at the end, 130 after an interrupt."""
    resumed = RunDirectory.open(flags.resume) if flags.resume else None
    limits = _limits(flags)
    chosen_preset = automatic(flags.method, SMALL, True) if flags.preset == "auto" else flags.preset  # until the data are known
    config = _resumed_config(resumed, flags) if resumed else config_from_flags(flags, flags.method, chosen_preset)
    restarts.check_flags(flags, config)
    # What is wrong with a file is said at once, as TensorFlow takes seconds to load.
    source = DATASETS.get(config.data.dataset)
    needs_tensorflow = config.data.backbone or (source and source.needs_tensorflow)
    splits = None if needs_tensorflow else load_splits(config.data, resumed.table() if resumed else None)
    with quiet_stderr():
        import tensorflow as tf

        from nvisa_tf.runs import workflows
        from nvisa_tf.training import StopReason, TrainingDiverged
        from nvisa_tf.training.console import ConsoleMonitor
    if flags.restarts is not None and restarts.by_processes(flags, config):
        tf.config.set_visible_devices([], "GPU")  # its memory is for the runs; once the data are loaded it can be too late
    if splits is None:
        splits = load_splits(config.data, tell=lambda text: print(text, flush=True))
    if not resumed and flags.preset == "auto":
        are_features = bool(splits.train.origin.backbone)
        chosen_preset = automatic(flags.method, len(splits.train), splits.train.is_image, are_features)
        config = config_from_flags(flags, flags.method, chosen_preset, for_features(are_features))
    number = None
    if limits is not None:
        from nvisa_tf.runs.number_of_clusters import number_of_clusters  # it loads what most runs do not need

        config, found = number_of_clusters(splits.train, config, limits, lambda text: print(text, flush=True))
        number = found.as_dict()
        print(f"Found {in_words(number)}", flush=True)
    if flags.restarts is not None:
        return restarts.run(flags, config, splits, number)
    repeat_exactly()
    monitor = ConsoleMonitor(held_out=splits.test is not splits.train)
    trainer: Any
    if resumed:
        trainer = workflows.resume_run(resumed, config, splits, [monitor])
        print(f"Going on with {resumed.path} from {_where(trainer)}.")
    else:
        trainer = workflows.start_run(config, splits, flags.out, shlex.join(["nvisa-tf", *sys.argv[1:]]), [monitor], number)
        print(f"{splits.train.name}: {splits.description}; {config.model.n_clusters} clusters, {_epochs(trainer)}.")
        for remark in [*splits.train.origin.remarks, *remarks(trainer.config, splits, trainer.model)]:
            print(remark)
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
    return EXIT_INTERRUPTED if stopped is StopReason.INTERRUPTED else 0


def _limits(flags: argparse.Namespace) -> Limits | None:
    """What the number of clusters may be where it is to be found; it is then no option of the configuration until it is."""
    if not isinstance(flags.n_clusters, Limits):
        return None
    for name in ("resume", "init_from"):
        if getattr(flags, name):
            flag = name.replace("_", "-")
            raise ValueError(f"--n-clusters is to be found, and the run of --{flag} has its number already; leave --n-clusters out.")
    limits, flags.n_clusters = flags.n_clusters, None
    return limits


def _epochs(trainer: Any) -> str:
    """How many epochs there are, and why where these are more than were asked for."""
    asked = trainer.config.train.epochs
    last = next((stage for stage in reversed(trainer.stages) if stage.most_steps), None)
    if not asked or last is None or last.stretch == 1:
        return f"{asked} epochs"
    return f"{round(asked * last.stretch)} epochs, as {asked} of so few examples are too few steps"


def _where(trainer: Any) -> str:
    """The stage and the epoch that a trainer stands at."""
    epochs = f"epoch {trainer.epoch:.1f} of {trainer.total_steps / trainer.steps_per_epoch:g}" if trainer.total_steps else ""
    stage = f"stage {trainer.stage.name}" if len(trainer.stages) > 1 else ""
    return ", ".join(part for part in (stage, epochs) if part)


def _resumed_config(resumed: RunDirectory, flags: argparse.Namespace) -> RunConfig:
    config = resumed.config()
    if flags.method != config.method:
        raise ValueError(f"{resumed.path} is a run of the method {config.method}, not of {flags.method}; leave --method out.")
    options = {**file_options(flags.config), **given_options(flags, flags.method)}
    options.pop("method", None)
    wrong = sorted(set(options) - CHANGEABLE)
    given = {name: getattr(flags, name) is not None for name in ("out", "restarts", "jobs", "batched", "choose_by")}
    given["preset"] = flags.preset != "auto"
    if wrong := wrong + [name for name, value in given.items() if value]:
        named = wrong[0]
        raise ValueError(
            f"--{named.replace('_', '-')} cannot change with --resume, only {', '.join(sorted(CHANGEABLE))} can; start a new run."
        )
    # The limit belongs to the start that was given it, not to the run.
    return config.replace({"max_minutes": 0.0, **options})


def _finish(workflows: Any, trainer: Any, config: RunConfig, splits: Splits, reason: Any) -> None:
    from nvisa_tf.training import StopReason

    path = shlex.quote(str(trainer.run.path))
    stopped = reason is not StopReason.FINISHED
    if stopped:
        print(f"Stopped at {_where(trainer)}, as {reason.value}; a checkpoint is saved.")
    if trainer.initialized and reason is not StopReason.INTERRUPTED:
        report = workflows.finish_run(trainer, config, splits)
        print_report(report)
        for warning in report.get("warnings", ()):
            print(f"Warning: {warning}")
        print(f"Written to {path}: {', '.join(_written(trainer.run))}.")
    if stopped:
        print(f"Go on with: nvisa-tf train --resume {path}")
        return
    print("Next:")
    for step in next_steps(trainer.run.path, config.data.dataset, splits.train, trainer.model.capabilities):
        print(f"  {step}")


def _written(run: RunDirectory) -> list[str]:
    """What is in a run that has ended, the answers first."""
    models = [run.model_file, run.initialization_file]
    files = [run.clusters_file, run.page_file, *models, run.metrics_file, run.stages_file, run.plots / "samples.png"]
    return [str(file.relative_to(run.path)) for file in files if file.exists()] + ["tensorboard/"]


def print_report(report: dict[str, Any]) -> None:
    """Scores for a person."""
    if "accuracy" in report:
        scores = {"accuracy": report["accuracy"], "NMI": report["nmi"], "ARI": report["ari"]}
        print(", ".join(f"{name} {100 * value:.2f}%" for name, value in scores.items()) + f"   ({report['description']})")
    else:
        print(f"No labels, so no accuracy ({report['description']}).")
    init = report.get("initialization", {})
    if told := tried(init):
        print(f"Networks tried first: {told}")
    if "distilled_accuracy" in init:
        print(f"Its initialization {init['method']} had {100 * init['accuracy']:.2f}%, distilled {100 * init['distilled_accuracy']:.2f}%.")
    if "held_out_iw_bound" in report:
        whose = "Held-out bound" if report["held_out"] else "Bound of the training data, as nothing is held out,"
        bound = f"{report['held_out_iw_bound']:.3f} nats with {report['held_out_iw_bound_samples']} samples"
        annealed = f" at eps {report['eps']:.3g}; steps skipped: {report['nonfinite_steps']}" if "eps" in report else ""
        print(f"{whose} {bound}{annealed}.")
    elif "eps" in report:  # of a model with a density, whose bound is not finite
        print(f"There is no bound: the density of an example is not finite; steps skipped: {report['nonfinite_steps']}.")
    uncertain = f"under {report['low_confidence_threshold']} for {report['low_confidence_fraction']:.1%} of examples"
    print(f"The probability of an example's own cluster is {report['mean_max_probability']:.3f} on average, {uncertain}.")
    sizes = report["cluster_sizes"]
    print(
        f"Cluster sizes{', held out' if report['held_out'] else ''}: "
        + " ".join(str(n) for n in sizes)
        + ("" if all(sizes) else f"   ({sizes.count(0)} empty)")
    )
    for number, facet in enumerate(report.get("facets", ())):
        scored = f"accuracy {100 * facet['accuracy']:.2f}%, " if "accuracy" in facet else ""
        print(f"Facet {number}: {scored}cluster sizes {' '.join(map(str, facet['cluster_sizes']))}")
