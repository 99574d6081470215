"""The trainer: what `keras.Model.fit` lacks, around the one gradient step in `NVISA.train_step`.

Many steps in one compiled call over device-resident or streamed data, evaluation, checkpoints,
exact resume. It prints nothing: monitors are told what happens.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nvisa_tf.annealing import AnnealedLearningRate, StdAnnealing
from nvisa_tf.augmentation import Augmentation
from nvisa_tf.config import TrainConfig
from nvisa_tf.data import Dataset
from nvisa_tf.evaluation import cluster_sizes, clustering_scores, evaluate_bound
from nvisa_tf.model import NVISA
from nvisa_tf.optimizer import FusedAdam
from nvisa_tf.run_directory import RunDirectory
from nvisa_tf.steps import METRICS
from nvisa_tf.training.batches import step_runner, steps_per_epoch
from nvisa_tf.training.checkpoints import Checkpoints, numbered_checkpoints
from nvisa_tf.training.initialization import Course, initialize


class TrainingDiverged(RuntimeError):
    """So many steps in a row were skipped that going on makes no sense."""


class Progress(NamedTuple):
    """Where training stands: epochs done, running mean of the bound in nats, eps_x, seconds since this start."""

    step: int
    total_steps: int
    epoch: float
    bound: float
    eps: float
    skipped: int
    seconds: float
    steps_now: int


class Monitor:
    """Is told what happens in training; override what you need."""

    def on_progress(self, progress: Progress) -> None:
        """After every call of the compiled steps."""

    def on_evaluation(self, row: dict[str, Any], model: NVISA) -> None:
        """After every evaluation, with the row of metrics.csv."""

    def on_initialization(self, message: str) -> None:
        """How the start from an autoencoder goes, and how it went."""

    def on_message(self, message: str) -> None:
        """Something a person should know."""


def compile_for_training(model: NVISA, config: TrainConfig, per_epoch: int) -> None:
    """Compile `model` with the schedules and options of `config`; `per_epoch` is steps an epoch."""
    schedule = StdAnnealing.from_epochs(
        max(config.eps_halving_epochs, 1 / per_epoch), per_epoch, start=config.eps_start, floor=config.eps_floor, mode=config.anneal_mode
    )
    still = StdAnnealing.constant(config.eps_floor)
    rate = AnnealedLearningRate(
        config.learning_rate,
        halving_steps=config.lr_halving_epochs * per_epoch,
        annealing=None if config.anneal == "none" else schedule,
        eps_power=config.lr_eps_power,
        floor=config.lr_floor,
    )
    model.compile(
        FusedAdam(rate, global_clipnorm=config.clip_norm or None, use_ema=config.ema_momentum > 0, ema_momentum=config.ema_momentum),
        objective=config.objective,
        n_samples=config.n_samples,
        baseline=config.baseline,
        decoder_gradient=config.decoder_gradient,
        forward_precision=config.forward_precision,
        max_rows=config.max_rows,
        annealing_x=schedule if config.anneal in ("both", "x") else still,
        annealing_z=schedule if config.anneal in ("both", "z") else still,
        consistency=config.consistency if config.augment else 0.0,
        augmentation=Augmentation.from_config(config),
        jit_compile=config.xla,
    )


class Trainer:
    """Trains an `NVISA` on a `Dataset`.

    Args:
      model: the model; it is compiled here.
      config: a `TrainConfig`.
      train: what to train on; its labels are not looked at.
      test: what to evaluate on; None: the training data. Labels, where it has any, are for scores.
      run: where metrics and checkpoints go; None: nothing is written.
      monitors: told of progress, evaluations and messages.
    """

    def __init__(
        self,
        model: NVISA,
        config: TrainConfig,
        train: Dataset,
        test: Dataset | None = None,
        run: RunDirectory | None = None,
        monitors: Sequence[Monitor] = (),
    ) -> None:
        self.check_size(model, train)
        self.model, self.config, self.run, self.monitors = model, config, run, list(monitors)
        model.rng_seed.assign(config.seed)  # every draw of the run is the configuration's, whoever made the model
        self.train_data, self.test = train, train if test is None else test
        self.steps_per_epoch = steps_per_epoch(len(train), min(config.batch_size, len(train)))
        self.total_steps = config.epochs * self.steps_per_epoch
        compile_for_training(model, config, self.steps_per_epoch)
        # A fixed, evenly spread part of the test data, so that bounds compare along the run.
        self._bound_x = np.asarray(self.test.x[:: math.ceil(len(self.test) / config.eval_examples)])
        self._minutes = tf.Variable(0.0, dtype=tf.float64, trainable=False)  # of training, over all starts
        self._checkpoints = Checkpoints(run.checkpoints, model, {"minutes": self._minutes}, config.keep_checkpoints) if run else None
        self._stop_reason = ""
        self.initialized = config.init == "random"  # nothing is left to do before the first step

    @staticmethod
    def check_size(model: NVISA, train: Dataset) -> None:
        """Raise ValueError where there are fewer examples than clusters."""
        if len(train) < model.config.n_clusters:
            raise ValueError(
                f"There are {len(train)} examples for {model.config.n_clusters} clusters; use more examples or fewer clusters."
            )

    @functools.cached_property
    def run_steps(self) -> Callable[[int], None]:
        """`new_runner`, made when it is first used and kept."""
        return self.new_runner()

    def new_runner(self) -> Callable[[int], None]:
        """A function that runs the next n steps of this model alone; it takes the data to the device."""
        config = self.config
        return step_runner(
            self.model,
            self.train_data.x,
            batch_size=config.batch_size,
            seed=config.seed,
            pipeline=config.pipeline,
            total_steps=self.total_steps,
            xla=config.xla,
        )

    @property
    def minutes(self) -> float:
        """Minutes of training, over all starts of the run."""
        return float(self._minutes.numpy())

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.model.step.numpy())

    def averages_in_place(self) -> contextlib.AbstractContextManager[None]:
        """The model with the moving average of its weights, where the configuration asks for it, until the end."""
        return self.model.optimizer.averages_in_place(self.model.trainable_variables)

    def request_stop(self, reason: str) -> None:
        """End after the call that is under way, saving a checkpoint; safe in a signal handler."""
        self._stop_reason = reason

    def resume(self) -> int:
        """Restore the newest readable checkpoint and return its step.

        Raises:
          ValueError: there is no run directory, no readable checkpoint in it, or another process
            is training it.
        """
        if self.run is None or self._checkpoints is None:
            raise ValueError("There is nothing to resume: this trainer has no run directory.")
        with self.run.locked():
            if not numbered_checkpoints(self.run.checkpoints) and not self.run.metrics_file.exists():
                self._tell("The run was stopped before its first checkpoint; it starts from the first step.")
                return self.step
            step, damaged = self._checkpoints.restore()
            self.initialized = True
            if damaged:
                self._tell(f"Checkpoint {', '.join(damaged)} cannot be read; going on from step {step}, the one before.")
            self.run.rewind_metrics(step)
        return step

    def train(self) -> str:
        """Train to the last epoch, or to a stop; returns "" at the end, else why it stopped.

        Raises:
          TrainingDiverged: `max_skipped` steps in a row were not finite; the last checkpoint stays.
          OSError: a file cannot be written; the last checkpoint stays.
          ValueError: another process is training this run.
        """
        with self.locked(), contextlib.closing(self.steps_wanted()) as wanted:
            for n_steps in wanted:
                self.run_steps(n_steps)
        return self.stopped

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from training this run, where there is one; see `RunDirectory.locked`."""
        return self.run.locked() if self.run else contextlib.nullcontext()

    @property
    def stopped(self) -> str:
        """Why training is to end, or ended, before its last epoch; "" where it is not."""
        return "" if self.initialized and self.step >= self.total_steps else self._stop_reason

    def steps_wanted(self) -> Generator[int, None, None]:
        """All of `train` but the steps: how many are to be run now, by whoever goes through this, before the next is asked for.

        It evaluates and saves in between, and raises what `train` raises. How many depends on the configuration and the step alone.
        After a request to stop it may be asked on without running them.
        """
        config, started, minutes_before = self.config, time.monotonic(), self.minutes
        eval_steps = max(1, round(config.eval_epochs * self.steps_per_epoch))
        if not self.initialized:
            if not self._initialize():
                return
            self._minutes.assign(minutes_before + (time.monotonic() - started) / 60)
        saved_at, last_save, step = -1, started, self.step
        if self._checkpoints and step == 0:  # so that there is something to resume from the first moment on
            self._checkpoints.save(step)
        while step < self.total_steps and not self._stop_reason:
            n_steps = min(config.steps_per_call, self.total_steps - step, eval_steps - step % eval_steps)
            yield n_steps
            if self.step == step:  # stopped before they were run
                break
            step = self.step
            self._check_divergence(step)
            elapsed = time.monotonic() - started
            self._minutes.assign(minutes_before + elapsed / 60)
            self._report_progress(step, elapsed, n_steps)
            if step % eval_steps == 0 or step == self.total_steps:
                with self.averages_in_place():
                    self._evaluate(step)
            if config.max_minutes and elapsed > 60 * config.max_minutes:
                self._stop_reason = self._stop_reason or f"the limit of {config.max_minutes:g} minutes was reached"
            if self._checkpoints and time.monotonic() - last_save >= 60 * config.checkpoint_minutes:
                self._checkpoints.save(step)
                saved_at, last_save = step, time.monotonic()
        if self._checkpoints and saved_at != step:
            self._checkpoints.save(step)

    def _initialize(self) -> bool:
        """Start from an autoencoder, as the configuration says; False when it was stopped, and nothing is kept."""

        def tell(message: str) -> None:
            for monitor in self.monitors:
                monitor.on_initialization(message)

        report = initialize(self.model, self.train_data, self.test, Course(self.config, tell, lambda: self._stop_reason))
        if report is None:
            return False
        if self.run:
            self.run.write_init(report)
        if "accuracy" in report:
            tell(f"{report['method']}: accuracy {100 * report['accuracy']:.2f}%, of q(y|x) {100 * report['start_accuracy']:.2f}%")
        self.initialized = True
        return True

    def _check_divergence(self, step: int) -> None:
        in_a_row = int(self.model.skipped_in_a_row.numpy())
        if in_a_row >= self.config.max_skipped:
            rate = float(self.model.optimizer.learning_rate)
            raise TrainingDiverged(
                f"The last {in_a_row} steps had a loss or gradient that is not finite, at epoch {step / self.steps_per_epoch:.1f}, "
                f"eps {float(self.model.eps_x.numpy()):.2g}, learning rate {rate:.2g}; try slower annealing (eps_halving_epochs), "
                "a smaller learning_rate, clip_norm, or a larger eps_floor. The last good checkpoint is kept."
            )

    def _report_progress(self, step: int, elapsed: float, n_steps: int) -> None:
        progress = Progress(
            step=step,
            total_steps=self.total_steps,
            epoch=step / self.steps_per_epoch,
            bound=float(self.model.trackers["bound"].result()),
            eps=float(self.model.eps_x.numpy()),
            skipped=int(self.model.skipped.numpy()),
            seconds=elapsed,
            steps_now=n_steps,
        )
        for monitor in self.monitors:
            monitor.on_progress(progress)

    def _evaluate(self, step: int) -> None:
        model, config = self.model, self.config
        probabilities = model.predict_proba(self.test.x)
        clusters = probabilities.argmax(1)
        sizes = cluster_sizes(clusters, model.config.n_clusters) / len(clusters)
        row: dict[str, Any] = {"epoch": step / self.steps_per_epoch, "step": step, "minutes": self.minutes}
        row.update({name: float(model.trackers[name].result()) for name in METRICS})
        row.update(
            eps_x=float(model.eps_x.numpy()),
            eps_z=float(model.eps_z.numpy()),
            learning_rate=float(model.optimizer.learning_rate),
            skipped=int(model.skipped.numpy()),
            test_bound=evaluate_bound(model, self._bound_x, config.eval_samples, config.seed),
            used_clusters=int(np.count_nonzero(sizes)),
            entropy_sizes=float(-np.sum(sizes[sizes > 0] * np.log(sizes[sizes > 0]))),
        )
        if self.test.y is not None:
            row.update(clustering_scores(self.test.y, clusters)._asdict())
        row = {name: value if isinstance(value, int) else float(f"{value:.6g}") for name, value in row.items()}
        if self.run:
            self.run.append_metrics(row)
        for monitor in self.monitors:
            monitor.on_evaluation(row, model)
        model.reset_metrics()

    def _tell(self, message: str) -> None:
        for monitor in self.monitors:
            monitor.on_message(message)
