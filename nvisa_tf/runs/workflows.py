"""Whole jobs over run directories: start or resume a run, finish it, load it, score it."""

from __future__ import annotations

import dataclasses
import math
import os
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from nvisa_tf.clustering.metrics import cluster_sizes, confusion_matrix, measures
from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Splits, input_scaling, load_splits, value_range
from nvisa_tf.evaluation.answers import table_of
from nvisa_tf.evaluation.assignments import Assignments, Reference, assign
from nvisa_tf.evaluation.bound import evaluate_bound
from nvisa_tf.evaluation.detector import OutlierDetector
from nvisa_tf.evaluation.novelty import Inputs
from nvisa_tf.evaluation.plots import reconstruction_grid, sample_grid, save_confusion, save_curves, save_png
from nvisa_tf.evaluation.projector import write_projector
from nvisa_tf.evaluation.tensorboard import TensorBoardMonitor
from nvisa_tf.evaluation.warnings import warnings_of
from nvisa_tf.io.answer_files import write_columns
from nvisa_tf.io.files import replacing
from nvisa_tf.io.names import given_names, read_names
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.layers import precision
from nvisa_tf.models.base import ClusteringModel
from nvisa_tf.models.registry import create_model, import_models
from nvisa_tf.report import write_report
from nvisa_tf.training import Monitor, Trainer
from nvisa_tf.training.checkpoints import numbered_checkpoints, restore_part

LOW_CONFIDENCE = 0.8  # the probability of its cluster under which an example counts as uncertain


def build_model(config: RunConfig, splits: Splits, start: bool = True) -> ClusteringModel:
    """A fresh model for the data, its preprocessing set.

    Args:
      config: of the run.
      splits: its data.
      start: with the weights and the input scaling of the run `init_from` or `autoencoder_from`, if one is named; False: where a
        checkpoint brings all of it.

    Raises:
      ValueError: data that do not suit the method or its options, or an `init_from` or `autoencoder_from` that is no run or one of
        another model.
    """
    train = splits.train
    options = dataclasses.replace(config.model, input_shape=train.shape)
    model = create_model(config.method, options, config.train.seed)
    model.set_preprocessing(*input_scaling(train, config.data.scaling, config.model.unit_length))
    source = config.train.init_from
    if start and source:
        model.take_weights(_trained_model(source), f"init_from: {source}")
    autoencoder = config.options().get("autoencoder_from")
    if start and autoencoder:
        model.take_autoencoder(_trained_model(autoencoder), f"autoencoder_from: {autoencoder}")
    if start or not (source or autoencoder):  # else a checkpoint has the scaling that counts
        model.check_data(train, options)
    return model


def _trained_model(path: str) -> ClusteringModel:
    model, _, run = load_run(path)
    run.check_own()
    return model


def start_run(
    config: RunConfig,
    splits: Splits,
    out: str | None = None,
    command: str = "",
    monitors: Sequence[Monitor] = (),
    number_of_clusters: dict[str, Any] | None = None,
) -> Trainer:
    """A trainer with a new run directory, which keeps how the number of clusters was found, plain values, where it was not given.

    Raises:
      ValueError: as `RunDirectory.create`, or data that the model cannot learn from.
    """
    train, test = splits.train, splits.test
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, input_shape=train.shape))
    if train.origin.kind == "folder":  # whatever images the folder has later
        config = config.replace({"image_shape": train.shape})
    if train.origin.kind == "folder" or config.data.backbone:  # whatever "auto" means later
        config = config.replace({"resize": config.data.resizing})
    config = config.with_absolute_paths()  # so that the run can be resumed from another folder
    config = config.replace(precision.decided(config.options(), precision.multiplies_bfloat16()))  # and on another machine
    model = build_model(config, splits)
    about = {"name": train.name, "description": splits.description, "labels": test.y is not None, "fingerprint": train.fingerprint()}
    origin = dataclasses.asdict(train.origin)
    about.update({name: origin[name] for name in ("kind", "id_name", "feature_names", "class_names", "table", "backbone")})
    about.update(left_out=len(train.origin.left_out), range=value_range(train))
    if number_of_clusters is not None:
        about["number_of_clusters"] = number_of_clusters
    trainer = Trainer(model, config, train, test, None, monitors)  # before anything is written, as its stages may refuse the data
    _write_to(trainer, RunDirectory.create(out, config, about, command))
    return trainer


def resume_run(run: RunDirectory, config: RunConfig, splits: Splits, monitors: Sequence[Monitor] = ()) -> Trainer:
    """A trainer that stands where the run's newest readable checkpoint was; the run is one of `config`'s epochs from then on.

    Raises:
      ValueError: the training data are not those that the run began with, it has no readable checkpoint, or it cannot be lengthened.
    """
    run.check_own()
    run.check_data(splits.train.fingerprint())
    run.upgrade()
    # Checkpoints hold all weights, and the run that this one started from may be gone.
    model = build_model(config, splits, start=not run.has_checkpoints())
    trainer = Trainer(model, config, splits.train, splits.test, None, monitors)
    _write_to(trainer, run)
    trainer.resume()
    if config.train.epochs != run.config().train.epochs:
        if trainer.step > trainer.total_steps:
            done = f"{run.path} has trained {trainer.epoch:g} epochs"
            raise ValueError(f"{done}, and epochs is {config.train.epochs}; give at least as many.")
        if trainer.initialized and not _epochs_are_of_the_last_stage(trainer):
            done = f"{run.path} has trained its {run.config().train.epochs} epochs"
            raise ValueError(f"{done}, and runs of the method {config.method} cannot be lengthened then; start a new one.")
        if trainer.initialized and trainer.stage.why_ended():
            ended = f"{run.path} ended at epoch {trainer.epoch:.4g}, as it had stopped paying"
            raise ValueError(f"{ended}; epochs is a limit, so start a new run, with --init-from {run.path}.")
        run.lengthen(config.train.epochs)
    if trainer.step < trainer.total_steps or not trainer.initialized:
        run.remove_answers()
    return trainer


def _epochs_are_of_the_last_stage(trainer: Trainer) -> bool:
    """Whether the option `epochs` is the length of the last stage; else it is that of a stage before, as with GM-GAN and AE+GMM."""
    return trainer.stage.most_steps == trainer.config.train.epochs * trainer.steps_per_epoch


def _write_to(trainer: Trainer, run: RunDirectory) -> None:
    trainer.run = run
    trainer.monitors.append(TensorBoardMonitor(run.tensorboard, trainer.config, np.asarray(trainer.test.x[:10])))


def score(model: ClusteringModel, splits: Splits, config: RunConfig, n_samples: int, n_examples: int | None = None) -> dict[str, Any]:
    """Scores of a model on the test data, plain values.

    With labels there are the `measures` and "confusion", and under "training_data" the measures of the training data, where these are
    others. Without labels there are, of a model with a density, the importance-weighted bound "held_out_iw_bound", unless it is not finite,
    of the test data, which "held_out" says whether they were trained on; "mean_max_probability", the mean over examples of the largest
    q(y|x), "low_confidence_fraction", the share of those where it is under "low_confidence_threshold", "cluster_sizes", of a model with
    several partitions `facet_scores`, and what the model says of itself, as the "eps" at which alone bounds compare.

    Args:
      n_samples: of the importance-weighted bound.
      n_examples: for the bound, the first so many, None: all; clusters are always of all.
    """
    test = splits.test
    probabilities = model.predict_proba(test.x)
    clusters, largest = probabilities.argmax(1), probabilities.max(1)
    report: dict[str, Any] = {
        "method": config.method,
        "description": splits.description,
        "examples": len(test),
        "held_out": test is not splits.train,
        **model.report_metrics(),
        "mean_max_probability": float(largest.mean()),
        "low_confidence_fraction": float(np.mean(largest < LOW_CONFIDENCE)),
        "low_confidence_threshold": LOW_CONFIDENCE,
    }
    if test.y is not None:
        report.update(_measured(model, splits, probabilities))
        report["confusion"] = confusion_matrix(test.y, clusters).tolist()
    if "density" in model.capabilities:
        some = test.x if n_examples is None else test.x[:n_examples]
        bound = evaluate_bound(model, some, n_samples, config.train.seed)
        if math.isfinite(bound):  # else there is no score, and JSON has no word for it
            report["held_out_iw_bound"], report["held_out_iw_bound_samples"] = bound, n_samples
    report["cluster_sizes"] = cluster_sizes(clusters, model.config.n_clusters).tolist()
    if model.n_facets > 1:
        report.update(facet_scores(model, splits))
    return report


def _measured(model: ClusteringModel, splits: Splits, probabilities: np.ndarray, facet: int = 0) -> dict[str, Any]:
    """The `measures` of a facet's probabilities of the test data, [n, K], and under "training_data" those of other training data.

    Some papers score what was trained on. Nothing where there are no labels.
    """
    test, train = splits.test, splits.train
    if test.y is None:
        return {}
    found: dict[str, Any] = measures(test.y, probabilities)
    if test is not train and train.y is not None:
        found["training_data"] = measures(train.y, model.predict_proba(train.x, facet))
    return found


def facet_scores(model: ClusteringModel, splits: Splits) -> dict[str, Any]:
    """Of a model with several partitions: "facets", of each "cluster_sizes" and, with labels, what `score` gives of the whole model.

    "accuracy_of_best_facet" is the largest accuracy of a facet. It is chosen by the labels, as in the paper of LTVAE, so it is no score of
    a method that has none.
    """
    facets: list[dict[str, Any]] = []
    for facet in range(model.n_facets):
        probabilities = model.predict_proba(splits.test.x, facet)
        sizes = cluster_sizes(probabilities.argmax(1), model.config.n_clusters).tolist()
        facets.append({"cluster_sizes": sizes, **_measured(model, splits, probabilities, facet)})
    best = {} if splits.test.y is None else {"accuracy_of_best_facet": max(found["accuracy"] for found in facets)}
    return {"facets": facets, **best}


def finish_run(trainer: Trainer, config: RunConfig, splits: Splits) -> dict[str, Any]:
    """Write the model, the report, every example's cluster and the pictures of a run whose training ended; gives the report."""
    model, run = trainer.model, trainer.run
    if run is None:
        raise ValueError("The trainer has no run directory to finish.")
    run.plots.mkdir(exist_ok=True)  # what copies a run may leave an empty folder out
    with trainer.averages_in_place():
        with replacing(run.model_file) as temporary:
            model.save(temporary)
        report = score(model, splits, config, bound_samples(config))
        done = trainer.epoch if _epochs_are_of_the_last_stage(trainer) else float(trainer.config.train.epochs)
        report["epoch"], report["minutes"] = done, trainer.minutes
        if why := trainer.stage.why_ended():
            report["ended_early"] = why
        if run.init():
            report["initialization"] = run.init()
        write_results(run, config, splits, report, model)
    if run.metrics():
        save_curves(run.plots / "curves.png", run.metrics())
    return report


def write_results(run: RunDirectory, config: RunConfig, splits: Splits, report: dict[str, Any], model: ClusteringModel) -> None:
    """Write a model's report, whose warnings are added, every example's cluster and the pictures.

    Args:
      run: where to.
      config: of the run.
      splits: its data.
      report: what `score` gave, and more.
      model: what is answered by.
    """
    detector = OutlierDetector.of(model, splits.train, splits.test)
    detector.save(run.outliers_file)
    found = assign(model, splits.parts(), novelty=detector.shown_novelty(model))
    report["warnings"] = _warnings(report, run, len(splits.train), found, model)
    _write_answers(run, config, splits, found, report, model)
    run.write_report(report)  # by which the run counts as done
    if "generate" in model.capabilities:
        save_png(run.plots / "samples.png", sample_grid(model))
    if "reconstruct" in model.capabilities:
        save_png(run.plots / "reconstructions.png", reconstruction_grid(model, np.asarray(splits.test.x[:10])))
    if "confusion" in report:
        save_confusion(run.plots / "confusion.png", np.array(report["confusion"]))


def _warnings(report: dict[str, Any], run: RunDirectory, n_train: int, found: Assignments, model: ClusteringModel) -> list[str]:
    if run.data_info().get("merged"):  # warnings say how to train otherwise
        return []
    bound = report.get("held_out_iw_bound", math.nan if "density" in model.capabilities else None)
    sizes = cluster_sizes(found.cluster, model.config.n_clusters).tolist()
    return warnings_of({**report, "held_out_iw_bound": bound}, run.metrics(), n_train=n_train, sizes=sizes)


def _write_answers(
    run: RunDirectory, config: RunConfig, splits: Splits, found: Assignments, report: dict[str, Any], model: ClusteringModel
) -> None:
    """Write clusters.csv, the page, TensorBoard's projector, and what later examples are compared with."""
    n_clusters = model.config.n_clusters
    Reference.of(n_clusters, found).save(run.reference_file, Inputs.of(model, splits.train))
    answers = table_of(found, splits.parts(), given_names(run), n_clusters, split=True)
    write_columns(run.clusters_file, answers.columns, answers.blank)
    names = read_names(run, n_clusters)
    write_report(run, config, splits, found, report, names)
    write_projector(run.tensorboard, run.path.name, splits, found, names)


def bound_samples(config: RunConfig) -> int:
    """Samples an example for a run's bound."""
    return int(config.options().get("eval_samples", 50))


def note_divergence(trainer: Trainer) -> None:
    """Write a report that says at which epoch training diverged, in place of scores."""
    if trainer.run is not None:
        trainer.run.write_report({"step": trainer.step, "diverged_at_epoch": trainer.epoch, "minutes": trainer.minutes})


def load_run(path: str | os.PathLike[str]) -> tuple[ClusteringModel, RunConfig, RunDirectory]:
    """The model of a run: its model.keras, or, before that is written, its newest checkpoint.

    Raises:
      ValueError: no run directory, or nothing in it that can be loaded.
    """
    run = RunDirectory.open(path)
    config = run.config()
    if run.model_file.is_file():
        return load_model_file(run.model_file, "; remove it to use the newest checkpoint"), config, run
    model = create_model(config.method, config.model, config.train.seed)
    if run.has_checkpoints() and not numbered_checkpoints(run.checkpoints):
        raise ValueError(f"{run.path} was stopped before its last stage, so it has no model yet; go on with it by --resume.")
    objects, finish = model.answering_state(config.model)
    step, damaged = restore_part(run.checkpoints, objects)
    finish()
    if damaged:
        logging.warning("Checkpoint %s cannot be read; using step %d, the one before.", ", ".join(damaged), step)
    return model, config, run


def load_run_splits(run: RunDirectory, config: RunConfig, data_dir: str = "") -> Splits:
    """The data of a run, a table's columns found by name; `data_dir`: where they are now, "" for where they were.

    Raises:
      ValueError, FileNotFoundError: as `nvisa_tf.load_dataset`.
    """
    return load_splits(dataclasses.replace(config.data, data_dir=data_dir or config.data.data_dir), run.table())


def load_model_file(path: str | os.PathLike[str], what_then: str = "") -> ClusteringModel:
    """The model in a .keras file.

    Raises:
      ValueError: it cannot be loaded, or is no model of this package; `what_then` is the end of the sentence.
    """
    import_models()
    import keras  # not before the models, which see that its backend is TensorFlow

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, KeyError, TypeError, zipfile.BadZipFile) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} cannot be loaded ({first}){what_then}.") from error
    if not isinstance(model, ClusteringModel):
        raise ValueError(f"{path} is not an nvisa-tf model.")
    return model
