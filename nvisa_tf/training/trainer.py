"""The trainer: it drives a model's stages, one after another, around their one gradient step.

Many steps in one compiled call over device-resident or streamed data, evaluation, checkpoints, exact resume. It knows the protocols of
`nvisa_tf.models.base` and no model's class. It prints nothing: monitors are told what happens.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Sequence, Set
from typing import Any

import numpy as np
import tensorflow as tf

from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Dataset
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.models.base import ClusteringModel, TrainingData, TrainingStage, check_n_clusters
from nvisa_tf.models.stage import steps_per_epoch
from nvisa_tf.training.batches import step_runner
from nvisa_tf.training.checkpoints import Checkpoints, numbered_checkpoints
from nvisa_tf.training.divergence import SkippedSteps, check_in_a_row
from nvisa_tf.training.kept import keep_early_ends, keep_initialization, keep_report
from nvisa_tf.training.monitors import Monitor, Progress, StopReason
from nvisa_tf.training.rows import evaluation_row, reset, stage_row

REPORTS_A_STAGE = 5  # of the stages before the last
REPORTS_UP_TO_A_LIMIT = 20  # of those that may end long before


class Trainer:
    """Trains a model on a `Dataset`, stage by stage.

    Args:
      model: of the configuration's method.
      config: of the run.
      train: what to train on; its labels are not looked at.
      test: what to evaluate on; None: the training data. Labels, where it has any, are for scores.
      run: where metrics and checkpoints go; None: nothing is written.
      monitors: told of progress, evaluations and messages.

    Raises:
      ValueError: there are fewer examples than clusters, or the model is not of the configuration's method.
    """

    def __init__(
        self,
        model: ClusteringModel,
        config: RunConfig,
        train: Dataset,
        test: Dataset | None = None,
        run: RunDirectory | None = None,
        monitors: Sequence[Monitor] = (),
    ) -> None:
        check_n_clusters(model.config, train)
        self.model, self.config, self.run, self.monitors = model, config, run, list(monitors)
        self.train_data, self.test = train, train if test is None else test
        self.stages = list(model.stages(TrainingData(train, self.test, self._tell_of_initialization), config))
        self._index, self._restored = 0, False
        # A fixed, evenly spread part of the test data, so that bounds compare along the run.
        self._held_out = np.asarray(self.test.x[:: math.ceil(len(self.test) / config.train.eval_examples)])
        self._minutes = tf.Variable(0.0, dtype=tf.float64, trainable=False)  # of training, over all calls
        self._stop: StopReason | None = None
        self._runner: tuple[TrainingStage, Callable[[int], None]] | None = None
        self._finished = False
        self._ended_early: dict[str, str] = {}  # why stages before ended, by name

    @property
    def stage(self) -> TrainingStage:
        """The stage that training is in."""
        return self.stages[self._index]

    @property
    def initialized(self) -> bool:
        """Whether the last stage is reached: only the model of that one answers."""
        return self._index == len(self.stages) - 1 and (self._restored or len(self.stages) == 1 or self._finished)

    @property
    def minutes(self) -> float:
        """Minutes of training, over all calls of `train` in the run."""
        return float(self._minutes.numpy())

    @property
    def step(self) -> int:
        """Steps done in the stage."""
        return int(self.stage.step.numpy())

    @property
    def total_steps(self) -> int:
        """Steps of the stage, as far as is known."""
        return self.stage.total_steps

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch of the stage."""
        return steps_per_epoch(len(self.stage.x), self.stage.batch_size)

    @property
    def epoch(self) -> float:
        """Epochs done in the stage; of a last stage that has no steps, those of the configuration."""
        return self.step / self.steps_per_epoch if self.total_steps else float(self.config.train.epochs)

    def run_steps(self, n_steps: int) -> None:
        """Run the next steps of the stage alone."""
        if self._runner is None or self._runner[0] is not self.stage:
            self._runner = (self.stage, self.new_runner())
        self._runner[1](n_steps)

    def seconds_a_step(self, stage: int, steps: int) -> float:
        """How long a step of a stage takes, by running some after one that compiles; training cannot go on after it."""
        self._index = stage
        if not self.total_steps:
            return 0.0
        self.run_steps(1)
        started = time.monotonic()
        self.run_steps(steps)
        return (time.monotonic() - started) / steps

    def new_runner(self) -> Callable[[int], None]:
        """A function that runs the next n steps of the stage alone; it takes the data to the device."""
        stage, train = self.stage, self.config.train
        return step_runner(
            stage.train_step,
            stage.step,
            stage.x,
            batch_size=stage.batch_size,
            seed=stage.shuffle_seed,
            pipeline=train.pipeline,
            total_steps=stage.most_steps,
            xla=train.xla,
        )

    def averages_in_place(self) -> contextlib.AbstractContextManager[None]:
        """The model with the moving average of its weights, where the configuration asks for it, until the end."""
        return self.stage.averages_in_place()

    def keep_averages(self) -> None:
        """Make the moving averages the model's weights for good, where there are any; training does not go on after it."""
        self.stage.keep_averages()

    def request_stop(self, reason: StopReason = StopReason.REQUESTED) -> None:
        """End after the call that is under way, saving a checkpoint; safe in a signal handler."""
        self._stop = reason

    def resume(self) -> int:
        """Restore the newest readable checkpoint of the latest stage that has one, and return its step.

        Raises:
          ValueError: there is no run directory, no readable checkpoint in it, or another process
            is training it.
        """
        if self.run is None:
            raise ValueError("There is nothing to resume: this trainer has no run directory.")
        with self.run.locked():
            last = len(self.stages) - 1
            reached = [i for i in range(last + 1) if numbered_checkpoints(self._folder(i))]
            has_begun = any(file.exists() for file in (self.run.metrics_file, self.run.stages_file, self.run.model_file))
            if not reached and not has_begun:
                self._tell("The run was stopped before its first checkpoint; it starts from the first step.")
                return self.step
            self._index = max(reached, default=last)
            step, damaged = self._checkpoints().restore()
            self._restored = True
            if damaged:
                self._tell(f"Checkpoint {', '.join(damaged)} cannot be read; going on from step {step}, the one before.")
            self.run.rewind_metrics(step if self._index == last else -1)
            self.run.rewind_stages(self.stage.name, step, [stage.name for stage in self.stages])
            init = self.run.init()
            self._ended_early = dict(init.get("ended_early", {}))
            if self._index < last:
                self.stage.report = init
        return step

    def train(self) -> StopReason:
        """Train to the end of the last stage, or to a stop, and say why it ended.

        Raises:
          TrainingDiverged: too many steps were not finite (see `nvisa_tf.training.divergence`); the last good checkpoint stays.
          OSError: a file cannot be written; the last checkpoint stays.
          ValueError: another process is training this run, or a stage cannot use the data.
        """
        with self.locked(), contextlib.closing(self.steps_wanted()) as wanted:
            for n_steps in wanted:
                self.run_steps(n_steps)
        return self.ended

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from training this run, where there is one; see `RunDirectory.locked`."""
        return self.run.locked() if self.run else contextlib.nullcontext()

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for before the end."""
        return self._stop is not None and not self._finished

    @property
    def ended(self) -> StopReason:
        """Why training ended."""
        return StopReason.FINISHED if self._finished or self._stop is None else self._stop

    def steps_wanted(self) -> Generator[int, None, None]:
        """All of `train` but the last stage's steps: how many whoever goes through this is to run before the next are asked for.

        It trains the stages before the last, evaluates and saves, and raises what `train` raises. How many steps are wanted depends on
        the configuration and the step alone. After a request to stop it may be asked on without running them.
        """
        started, minutes_before = time.monotonic(), self.minutes

        def clock() -> float:
            elapsed = time.monotonic() - started
            self._minutes.assign(minutes_before + elapsed / 60)
            return elapsed

        while self._index < len(self.stages) - 1:
            for n_steps in self._drive(clock):
                self.run_steps(n_steps)
            if self._stop:
                return
            self._runner = None  # its data leave the device before the next one's come
            self._index, self._restored = self._index + 1, False
        yield from self._drive(clock)

    def _drive(self, clock: Callable[[], float]) -> Generator[int, None, None]:
        """One stage from where it stands to its end or a stop."""
        train, stage, is_last = self.config.train, self.stage, self._index == len(self.stages) - 1
        per_epoch = self.steps_per_epoch
        reports = REPORTS_UP_TO_A_LIMIT if stage.check_steps else REPORTS_A_STAGE
        report_epochs = train.eval_epochs * stage.stretch if is_last else max(1, stage.most_steps // per_epoch // reports)
        report_steps = max(1, round(report_epochs * per_epoch))
        marks = [steps for steps in (report_steps, stage.refresh_steps, stage.check_steps) if steps]
        checkpoints = self._checkpoints() if self.run else None
        step = int(stage.step.numpy())
        saved_at, has_worked, told = -1, not self._restored, set[str]()
        if not self._restored:
            if self._stop:
                return
            stage.begin()
            self._restored = True
            if stage.check_steps:
                stage.check()
            clock()
            keep_report(self.run, stage, self._ended_early, self.minutes)
            if stage.total_steps:  # else it ends at once, and what it found is told there
                told = self._tell_report(stage, " before training")
            if is_last and stage.total_steps:
                is_random = len(self.stages) == 1 and not self.config.train.init_from
                keep_initialization(self.run, self.model, stage, self.test, self._held_out, is_random)
            if checkpoints:  # so that there is something to resume from the first moment on
                checkpoints.save(step)
                self._forget_earlier_stages()
        last_save, skipped = time.monotonic(), SkippedSteps(stage)
        while step < stage.total_steps and not self._stop:
            n_steps = min(train.steps_per_call, stage.total_steps - step, *(mark - step % mark for mark in marks))
            yield n_steps
            if int(stage.step.numpy()) == step:  # stopped before they were run
                break
            step, has_worked = int(stage.step.numpy()), True
            check_in_a_row(stage, train.max_nonfinite_steps, self.run is not None)
            elapsed = clock()
            self._report_progress(stage, elapsed, n_steps)
            if stage.refresh_steps and step % stage.refresh_steps == 0:
                stage.refresh()
            if stage.check_steps and step % stage.check_steps == 0:
                stage.check()
            if step % report_steps == 0 or step == stage.total_steps:
                skipped.check(stage, step == stage.total_steps, self.run is not None)
                if is_last:
                    with stage.averages_in_place():
                        self._evaluate(stage)
                else:
                    self._report_stage(stage)
            if train.max_minutes and elapsed > 60 * train.max_minutes and not (is_last and step == stage.total_steps):
                skipped.check(stage, True, self.run is not None)
                self._stop = self._stop or StopReason.TIME_LIMIT
            # While steps are skipped the weights may be beyond repair, and the checkpoints before are the good ones.
            due = time.monotonic() - last_save >= 60 * train.checkpoint_minutes and not stage.nonfinite_steps()[1]
            if checkpoints and due and step < stage.total_steps:  # the last one is saved below, once the stage has finished
                checkpoints.save(step)
                saved_at, last_save = step, time.monotonic()
        if step == stage.total_steps:
            self._finished = is_last
            if has_worked:  # else it was resumed at its end, and has finished
                stage.finish()
                clock()
                keep_report(self.run, stage, self._ended_early, self.minutes)
                self._tell_report(stage, told=told)
                self._note_end(stage, is_last)
        if checkpoints and saved_at != step:
            checkpoints.save(step)

    def _folder(self, index: int) -> Any:
        """Where a stage's checkpoints are: those of the last in the folder itself."""
        assert self.run is not None
        return self.run.checkpoints if index == len(self.stages) - 1 else self.run.checkpoints / self.stages[index].name

    def _checkpoints(self) -> Checkpoints:
        objects = {**self.stage.checkpointables(), "minutes": self._minutes}
        return Checkpoints(self._folder(self._index), objects, self.config.train.keep_checkpoints)

    def _forget_earlier_stages(self) -> None:
        assert self.run is not None
        for stage in self.stages[: self._index]:
            self.run.remove_checkpoints(stage.name)

    def _tell_report(self, stage: TrainingStage, when: str = "", told: Set[str] = frozenset()) -> set[str]:
        """Tell the accuracies in a stage's report, but those that were told; their names."""
        names = {"accuracy", "distilled_accuracy"} & set(stage.report) - told
        for name in sorted(names):
            what = f"{name.replace('_', ' ')}{when} {100 * stage.report[name]:.2f}%"
            self._tell_of_initialization(f"{stage.report['method']}: {what}")
        return names

    def _note_end(self, stage: TrainingStage, is_last: bool) -> None:
        """Tell where a stage ended that could end early, and keep it if it did; of the last stage, the run's report has it."""
        why = stage.why_ended()
        if not (why or stage.check_steps):
            return
        if why and not is_last:
            self._ended_early[stage.name] = why
            keep_early_ends(self.run, self._ended_early)
        for monitor in self.monitors:
            monitor.on_stage_end(f"{stage.name}: {why or f'went to its limit, epoch {self.epoch:.4g}'}")

    def _report_progress(self, stage: TrainingStage, elapsed: float, n_steps: int) -> None:
        step = int(stage.step.numpy())
        in_all = stage.nonfinite_steps()[0]
        progress = Progress(stage.name, step, stage.total_steps, step / self.steps_per_epoch, stage.progress(), in_all, elapsed, n_steps)
        for monitor in self.monitors:
            monitor.on_progress(progress)

    def _report_stage(self, stage: TrainingStage) -> None:
        row = stage_row(stage, self.minutes)
        if self.run:
            self.run.append_stage(row)
        for monitor in self.monitors:
            monitor.on_stage(row, stage)
        reset(stage)

    def _evaluate(self, stage: TrainingStage) -> None:
        row = evaluation_row(self.model, stage, self.test, self._held_out, self.minutes)
        if self.run:
            self.run.append_metrics(row)
        for monitor in self.monitors:
            monitor.on_evaluation(row, self.model, stage)
        reset(stage)

    def _tell_of_initialization(self, message: str) -> None:
        for monitor in self.monitors:
            monitor.on_initialization(message)

    def _tell(self, message: str) -> None:
        for monitor in self.monitors:
            monitor.on_message(message)
