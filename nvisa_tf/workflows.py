"""Whole jobs over run directories: start or resume a run, finish it, load it, score it."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from absl import logging

from nvisa_tf.config import RunConfig
from nvisa_tf.data import Splits, input_scaling
from nvisa_tf.evaluation import (
    cluster_sizes,
    clustering_scores,
    confusion_matrix,
    evaluate_bound,
)
from nvisa_tf.evaluation.pictures import reconstruction_grid, sample_grid, save_confusion, save_curves, save_png
from nvisa_tf.files import replacing
from nvisa_tf.mixtures import check_installed
from nvisa_tf.model import NVISA
from nvisa_tf.run_directory import RunDirectory
from nvisa_tf.training import Monitor, TensorBoardMonitor, Trainer, compile_for_training
from nvisa_tf.training.checkpoints import numbered_checkpoints, restore_weights
from nvisa_tf.training.initialization import check_images
from nvisa_tf.training.warm_start import take_weights

SURE = 0.8  # the probability of its cluster from which on an example counts as sure


def build_model(config: RunConfig, splits: Splits, start: bool = True) -> NVISA:
    """A fresh model for the data, its preprocessing set.

    Args:
      config: of the run.
      splits: its data.
      start: with the weights and the input scaling of the run `start_from`, if one is named; False: where a checkpoint brings all of it.

    Raises:
      ValueError: a Bernoulli likelihood on data that the scaling does not bring into [0, 1], augmentation of what is no image,
        a `start_from` that is no run or one of another model, or an `init` that needs what is not installed.
    """
    train = splits.train
    check_images(config.train, train.shape)
    if start:
        check_installed(config.train.init)
    model = NVISA(dataclasses.replace(config.model, input_shape=train.shape), seed=config.train.seed)
    model.set_preprocessing(*input_scaling(train, config.data.scaling))
    if start and (source := config.train.start_from):
        take_weights(model, load_run(source)[0], source)
    if config.model.likelihood == "bernoulli" and (start or not config.train.start_from):  # else a checkpoint has the scaling that counts
        scale, shift = model.input_scale.numpy(), model.input_shift.numpy()
        for _, part in train.chunks():
            values = part.reshape(len(part), -1) * scale + shift
            if values.min() < -1e-6 or values.max() > 1 + 1e-6:
                raise ValueError(
                    f"A Bernoulli likelihood needs values in [0, 1], not {values.min():.3g} to {values.max():.3g}; use --scaling minmax."
                )
    return model


def start_run(config: RunConfig, splits: Splits, out: str | None = None, command: str = "", monitors: Sequence[Monitor] = ()) -> Trainer:
    """A trainer with a new run directory; see `RunDirectory.create` for what is refused."""
    train, test = splits.train, splits.test
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, input_shape=train.shape))
    config = config.with_absolute_paths()  # so that the run can be resumed from another folder
    model = build_model(config, splits)
    about = {"name": train.name, "description": splits.description, "labels": test.y is not None, "fingerprint": train.fingerprint()}
    Trainer.check_size(model, train)
    run = RunDirectory.create(out, config, about, command)
    return _trainer(model, config, splits, run, monitors)


def resume_run(run: RunDirectory, config: RunConfig, splits: Splits, monitors: Sequence[Monitor] = ()) -> Trainer:
    """A trainer that stands where the run's newest readable checkpoint was; the run is one of `config`'s epochs from then on.

    Raises:
      ValueError: the training data are not those that the run began with, or it has no readable checkpoint.
    """
    run.check_data(splits.train.fingerprint())
    # Checkpoints hold all weights, and the run that this one started from may be gone.
    model = build_model(config, splits, start=not numbered_checkpoints(run.checkpoints))
    trainer = _trainer(model, config, splits, run, monitors)
    trainer.resume()
    if config.train.epochs != run.config().train.epochs:
        run.lengthen(config.train.epochs)
    if trainer.step < trainer.total_steps:
        # They would answer for the run as it was; until the new ones, the checkpoints answer.
        run.model_file.unlink(missing_ok=True)
        run.report_file.unlink(missing_ok=True)
    return trainer


def _trainer(model: NVISA, config: RunConfig, splits: Splits, run: RunDirectory, monitors: Sequence[Monitor]) -> Trainer:
    board = TensorBoardMonitor(run.tensorboard, config, np.asarray(splits.test.x[:10]))
    return Trainer(model, config.train, splits.train, splits.test, run, [*monitors, board])


def score(model: NVISA, splits: Splits, config: RunConfig, n_samples: int, n_examples: int | None = None) -> dict[str, Any]:
    """Scores of a model on the test data, plain values.

    Without labels there are the importance-weighted "bound" and "eps", at which alone it compares; "confidence", the mean over examples of
    the largest q(y|x), "unsure", the share of those where it is under "unsure_under", and "cluster_sizes".

    Args:
      n_samples: of the importance-weighted bound.
      n_examples: for the bound, the first so many, None: all; clusters are always of all.
    """
    test = splits.test
    probabilities = model.predict_proba(test.x)
    clusters, largest = probabilities.argmax(1), probabilities.max(1)
    sizes = cluster_sizes(clusters, model.config.n_clusters)
    report: dict[str, Any] = {
        "step": int(model.step.numpy()),
        "description": splits.description,
        "examples": len(test),
        "skipped": int(model.skipped.numpy()),
        "eps": float(model.eps_x.numpy()),
        "confidence": float(largest.mean()),
        "unsure": float(np.mean(largest < SURE)),
        "unsure_under": SURE,
    }
    if test.y is not None:
        report.update(clustering_scores(test.y, clusters)._asdict())
        report["confusion"] = confusion_matrix(test.y, clusters).tolist()
    report["bound"] = evaluate_bound(model, test.x if n_examples is None else test.x[:n_examples], n_samples, config.train.seed)
    report["bound_samples"], report["cluster_sizes"] = n_samples, sizes.tolist()
    return report


def finish_run(trainer: Trainer, config: RunConfig, splits: Splits) -> dict[str, Any]:
    """Write the model, the report and the pictures of a run whose training ended; gives the report."""
    model, run = trainer.model, trainer.run
    if run is None:
        raise ValueError("The trainer has no run directory to finish.")
    with trainer.averages_in_place():
        with replacing(run.model_file) as temporary:
            model.save(temporary)
        report = score(model, splits, config, config.train.eval_samples)
        report["epoch"], report["minutes"] = trainer.step / trainer.steps_per_epoch, trainer.minutes
        if run.init():
            report["init"] = run.init()
        run.write_report(report)
        save_png(run.plots / "samples.png", sample_grid(model))
        save_png(run.plots / "reconstructions.png", reconstruction_grid(model, np.asarray(splits.test.x[:10])))
    if run.metrics():
        save_curves(run.plots / "curves.png", run.metrics())
    if "confusion" in report:
        save_confusion(run.plots / "confusion.png", np.array(report["confusion"]))
    return report


def note_divergence(trainer: Trainer) -> None:
    """Write a report that says at which epoch training diverged, in place of scores."""
    if trainer.run is not None:
        epoch = trainer.step / trainer.steps_per_epoch
        trainer.run.write_report({"step": trainer.step, "diverged_at_epoch": epoch, "minutes": trainer.minutes})


def load_run(path: str | os.PathLike[str]) -> tuple[NVISA, RunConfig, RunDirectory]:
    """The model of a run: its model.keras, or, before that is written, its newest checkpoint.

    Raises:
      ValueError: no run directory, or nothing in it that can be loaded.
    """
    run = RunDirectory.open(path)
    config = run.config()
    if run.model_file.is_file():
        try:
            return keras.saving.load_model(run.model_file, compile=False, safe_mode=True), config, run
        except (ValueError, OSError, KeyError, TypeError, zipfile.BadZipFile) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"{run.model_file} cannot be loaded ({first}); remove it to use the newest checkpoint.") from error
    model = NVISA(config.model, seed=config.train.seed)
    if config.train.ema_momentum:
        compile_for_training(model, config.train, 1)  # its optimizer has the moving averages
    step, damaged = restore_weights(run.checkpoints, model)
    if damaged:
        logging.warning("Checkpoint %s cannot be read; using step %d, the one before.", ", ".join(damaged), step)
    return model, config, run
