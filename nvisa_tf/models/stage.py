"""What most stages of training share."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.data import Array
from nvisa_tf.layers.metrics import RunningMean
from nvisa_tf.layers.optimizer import FusedAdam
from nvisa_tf.models import plateau


def steps_per_epoch(n_examples: int, batch_size: int) -> int:
    """Whole batches in an epoch, at least 1; the rest of a permutation waits for the next one. A batch has at most all examples."""
    return max(1, n_examples // min(batch_size, n_examples))


def derived_seed(seed: int, use: int) -> int:
    """One of the seeds that derive from a run's, below 2**31; every use has its own."""
    return int(np.random.SeedSequence([seed, 0x1217, use]).generate_state(1)[0] >> 1)


class Stage:
    """Defaults of `nvisa_tf.models.base.TrainingStage`: a stage that counts its steps and measures nothing.

    Args:
      name: of the stage.
      x: what batches are taken from, [n, ...].
      batch_size: examples a step.
      epochs: passes over `x`.
      least_steps: more epochs are added until there are so many steps, and the stage does not end before; 0: none are.
      shuffle_seed: of the order of the examples.
      stop_early: end it where it has stopped paying, by what `measure` gives; `epochs` is a limit then.

    Attributes:
      cool_down: steps that are still to come once it has stopped paying, as a share of those before.
      measured: what `measure` gives, in words.
      stretch: how many times as many steps as its epochs have the stage may have, for the sake of `least_steps`; 1 or more.
    """

    refresh_steps = 0
    metric_groups: Mapping[str, Sequence[str]] = {}
    cool_down = 0.0
    measured = "held-out loss"

    def __init__(
        self,
        name: str,
        x: Array,
        *,
        batch_size: int,
        epochs: int,
        shuffle_seed: int,
        least_steps: int = 0,
        stop_early: bool = False,
    ) -> None:
        per_epoch = steps_per_epoch(len(x), batch_size)
        self.name, self.x, self.batch_size, self.shuffle_seed = name, x, min(batch_size, len(x)), shuffle_seed
        self.most_steps = max(epochs, math.ceil(least_steps / per_epoch)) * per_epoch
        self.stretch = max(1.0, self.most_steps / (per_epoch * max(1, epochs)))
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.report: dict[str, Any] = {}
        self.checks = plateau.Checks(plateau.steps_between_checks(per_epoch)) if stop_early else None
        self._least_steps = least_steps

    @property
    def total_steps(self) -> int:
        """Where it ends, as far as is known."""
        stopped_at = self.checks.stopped_at if self.checks else 0
        return min(self.most_steps, stopped_at + int(self.cool_down * stopped_at)) if stopped_at else self.most_steps

    @property
    def check_steps(self) -> int:
        """Steps between two calls of `check`; 0: it is never called."""
        return self.checks.every if self.checks else 0

    def check(self) -> None:
        """Measure how far the stage is, and let it end where it has stopped paying."""
        if self.checks is None:
            return
        self.look(self.checks)
        step = int(self.step.numpy())
        is_open = not self.checks.stopped_at and step >= self._least_steps and step + int(self.cool_down * step) < self.most_steps
        if is_open and self.has_stopped_paying(self.checks):
            self.checks.stopped.assign(step)

    def look(self, checks: plateau.Checks) -> None:
        """Add a check to those that were made."""
        checks.add(self.measure())

    def measure(self) -> float:
        """How far the stage is from what it is for, lower is better; a stage that can end early gives its own."""
        raise NotImplementedError

    def has_stopped_paying(self, checks: plateau.Checks) -> bool:
        """Whether the last quarter of the steps brought next to nothing."""
        return plateau.has_stopped_paying(checks.measures)

    def why_ended(self) -> str:
        """Of a stage that ended, or is to end, before its last possible step: why, in a clause; else ""."""
        if self.checks is None or not self.checks.stopped_at:
            return ""
        per_epoch = steps_per_epoch(len(self.x), self.batch_size)
        return f"ended at epoch {self.total_steps / per_epoch:.4g} of {self.most_steps / per_epoch:.4g}, as {self.reason(self.checks)}"

    def reason(self, checks: plateau.Checks) -> str:
        """Why it has stopped paying, in a clause."""
        gained = plateau.gain_of_last_quarter(checks.measures)
        of = "" if not self.cool_down else " before its cool-down"
        return f"the last quarter{of} brought {gained:.1%} of {self.measured}"

    def begin(self) -> None:
        """Nothing."""

    def train_step(self, batch: tf.Tensor) -> Any:
        """A stage with steps gives its own."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """None."""
        return {}

    def values(self) -> dict[str, float | int]:
        """What the last check measured, if there are checks."""
        return {self.measured.replace("-", "_").replace(" ", "_"): self.checks.last} if self.checks else {}

    def progress(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def checkpointables(self) -> dict[str, Any]:
        """The step, and what checks found; a stage adds what else it changes."""
        return {"step": self.step, **({"checks": self.checks.checkpointables()} if self.checks else {})}

    def held_out(self, x: np.ndarray) -> dict[str, float]:
        """None."""
        return {}

    def nonfinite_steps(self) -> tuple[int, int]:
        """None are counted."""
        return 0, 0

    def averages_in_place(self) -> contextlib.AbstractContextManager[None]:
        """There are none."""
        return contextlib.nullcontext()

    def keep_averages(self) -> None:
        """There are none."""


class GradientStage(Stage):
    """A stage that trains some weights by gradient steps of a Keras optimizer.

    A loss or gradient that is not finite changes no weight: the step is skipped and counted.

    Args:
      name, x: as for `Stage`.
      weights: what is trained.
      seed: of the draws of `train_step`, together with the step.
      optimizer: not built yet; None: a subclass calls `optimize_by`.
      xla: whether XLA compiles its steps.
      **stage: batch_size, epochs, shuffle_seed, least_steps and stop_early, as for `Stage`.

    Attributes:
      fused: whether images are changed by a kernel that XLA does not have; see `nvisa_tf.layers.augmentation.moved`.
    """

    metric_groups: Mapping[str, Sequence[str]] = {"loss": ("loss",), "gradient": ("learning_rate", "nonfinite_steps")}
    optimizer: keras.optimizers.Optimizer

    def __init__(
        self,
        name: str,
        x: Array,
        weights: list[Any],
        *,
        seed: int,
        optimizer: keras.optimizers.Optimizer | None = None,
        xla: bool = False,
        **stage: Any,
    ) -> None:
        super().__init__(name, x, **stage)
        self.weights, self._seed, self.fused = weights, seed, not xla
        if optimizer is not None:
            self.optimize_by(optimizer)
        self._skipped = tf.Variable(tf.zeros([2], tf.int64), trainable=False)  # in all, in a row
        self.loss = RunningMean(name="loss")

    def optimize_by(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Take this optimizer, and build it for the weights."""
        self.optimizer = optimizer
        self.optimizer.build(self.weights)

    def step_seed(self) -> tf.Tensor:
        """A stateless seed, integers [2], for the present step."""
        return tf.stack([tf.constant(self._seed, tf.int32), tf.cast(tf.convert_to_tensor(self.step), tf.int32)])

    def learn(self, tape: tf.GradientTape, loss: tf.Tensor, then: Callable[[], None] = lambda: None) -> None:
        """One step of the optimizer down a loss that was recorded on the tape, and `then`, unless the step is skipped."""
        gradients = tape.gradient(loss, [v.value for v in self.weights], unconnected_gradients="zero")

        def update() -> None:
            self.optimizer.apply(gradients, self.weights)
            self.loss.update_state(loss)
            then()

        self.update_if_finite([loss, *gradients], update)

    def update_if_finite(self, values: list[tf.Tensor], update: Callable[[], None]) -> None:
        """Call `update` where every value is finite, else count a step that is skipped; then the step is done."""

        def updated() -> tf.Tensor:
            update()
            return tf.constant(0, tf.int64)

        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])
        missed = tf.cond(finite, updated, lambda: tf.constant(1, tf.int64))
        self._skipped.assign(tf.stack([self._skipped[0] + missed, (self._skipped[1] + missed) * missed]))
        self.step.assign_add(1)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """The loss."""
        return {"loss": self.loss}

    def values(self) -> dict[str, float | int]:
        """Learning rate and skipped steps, and what the last check measured."""
        rate = float(self.optimizer.learning_rate)
        return {**super().values(), "learning_rate": rate, "nonfinite_steps": self.nonfinite_steps()[0]}

    def progress(self) -> dict[str, float]:
        """The loss."""
        return {"loss": float(self.loss.result())}

    def nonfinite_steps(self) -> tuple[int, int]:
        """In all, and in a row at the end."""
        in_all, in_a_row = self._skipped.numpy().tolist()
        return in_all, in_a_row

    def checkpointables(self) -> dict[str, Any]:
        """Step, optimizer, running loss; a stage adds the weights."""
        return {
            **super().checkpointables(),
            "skipped": self._skipped,
            "optimizer": self.optimizer,
            "loss": [variable.value for variable in self.loss.variables],
        }


class AdamStage(GradientStage):
    """A stage that trains some weights by Adam, whose rate falls to 0 along a cosine.

    Where it may end early, the rate stays as it is until the stage has stopped paying, and falls in the quarter more that follows.

    Args:
      name, x, weights: as for `GradientStage`.
      learning_rate: at the start.
      **stage: seed, xla, batch_size, epochs, shuffle_seed, least_steps and stop_early, as for `GradientStage`.
    """

    cool_down = plateau.COOL_DOWN

    def __init__(self, name: str, x: Array, weights: list[Any], *, learning_rate: float, **stage: Any) -> None:
        super().__init__(name, x, weights, **stage)
        rate: keras.optimizers.schedules.LearningRateSchedule = keras.optimizers.schedules.CosineDecay(
            learning_rate, max(1, self.most_steps)
        )
        if self.checks:
            rate = plateau.ConstantThenCosine(learning_rate, self.most_steps, self.checks.stopped)
        self.optimize_by(FusedAdam(rate))
