"""When a stage of training has stopped paying, by rules that are the same for every stage, and how its learning rate then falls.

A stage is checked at evenly spaced steps, the first time before its first step. It has stopped paying where the last quarter of its steps
brought next to nothing: so the rule asks a long stage for as many more steps as it deserves, and has no number of epochs in it. Steps
alone count, never time.

Shapes: n examples that are looked at, c checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

LEAST_GAIN = 0.01  # of what is still to be had, or was had: under this share, a quarter of the steps does not pay
LEAST_CHECKS = 8  # after the first, so that a quarter is two
LEAST_STEPS = 50  # between two checks: one costs as much as a few steps
CHECKS_AN_EPOCH = 2
COOL_DOWN = 0.25  # of the steps before it: a fifth of all
CHANGED, GAINED = 0.002, 0.005  # a share of examples, and nats an input value, that a quarter of clustering is to bring at least


def steps_between_checks(per_epoch: int) -> int:
    """From the steps of an epoch alone."""
    return max(LEAST_STEPS, per_epoch // CHECKS_AN_EPOCH)


def before_last_quarter(n_checks: int) -> int:
    """Which of the evenly spaced checks is the last at or before three quarters of the steps."""
    return 3 * (n_checks - 1) // 4


def gain_of_last_quarter(measures: Sequence[float] | np.ndarray) -> float:
    """What share the last quarter of the steps brought, of the measure itself or of all that was gained before, whichever is less.

    Of a measure that could fall to 0, such as an error, it is in the end a share of itself; of one with a floor that it cannot reach,
    such as an entropy, a share of what was gained, so that the floor does not count. Neither scale nor unit matters. The best value so far
    stands for each, so that a single bad check decides nothing, and a measure that rises gains nothing.

    Args:
      measures: of the checks, [c], evenly spaced from step 0 on, lower is better; NaN: not known.
    """
    best = np.fmin.accumulate(np.asarray(measures, np.float64))
    before, now = best[before_last_quarter(len(best))], best[-1]
    gain, reference = before - now, min(abs(before), best[0] - before)
    if gain == 0:
        return 0.0
    return float(gain / reference) if reference > 0 else np.inf


def has_stopped_paying(measures: Sequence[float] | np.ndarray) -> bool:
    """Whether the last quarter of the steps brought less than 1%; `measures` as in `gain_of_last_quarter`."""
    return len(measures) > LEAST_CHECKS and gain_of_last_quarter(measures) < LEAST_GAIN


def has_settled(n_checks: int, changed: float, gained: float) -> bool:
    """Whether clusters and bound stay as they are, as the last quarter of the steps left them.

    Args:
      n_checks: so far, c.
      changed: the share of examples whose cluster changed in that quarter.
      gained: nats that the bound of an input value rose by.
    """
    return n_checks > LEAST_CHECKS and changed < CHANGED and gained < GAINED


class Checks:
    """What the checks of a stage found, in variables that a checkpoint holds.

    Args:
      every: steps between two.

    Attributes:
      stopped: the step at which the stage had stopped paying, a variable; 0: it has not.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        # Of a length that is not known, as there are more and more of them, in a checkpoint too.
        self._measures = tf.Variable(np.zeros(0), shape=[None], trainable=False)
        self._clusters = tf.Variable(np.zeros([0, 0], np.int32), shape=[None, None], trainable=False)
        self.stopped = tf.Variable(0, dtype=tf.int64, trainable=False)

    def add(self, measure: float, clusters: np.ndarray | None = None) -> None:
        """Keep what a check found: its measure, and the clusters of the examples, int [n], where it looks at these."""
        self._measures.assign(np.append(self._measures.numpy(), measure))
        if clusters is not None:
            before = self._clusters.numpy() if self.count > 1 else np.zeros([0, len(clusters)])
            # What later checks can ask for begins where the last quarter of the steps does.
            kept = self.count - before_last_quarter(self.count)
            self._clusters.assign(np.concatenate([before, clusters[None]])[-kept:].astype(np.int32))

    @property
    def count(self) -> int:
        """How many there were, c."""
        return len(self._measures.numpy())

    @property
    def stopped_at(self) -> int:
        """The value of `stopped`."""
        return int(self.stopped.numpy())

    @property
    def measures(self) -> np.ndarray:
        """Of the checks so far, as far as the stage's end was not decided; float64 [c]."""
        found = self._measures.numpy()
        return found[: self.stopped_at // self.every + 1] if self.stopped_at else found

    @property
    def last(self) -> float:
        """The last measure; NaN where there is none."""
        return float(self._measures.numpy()[-1]) if self.count else np.nan

    def changed_of_last_quarter(self) -> float:
        """The share of examples whose cluster is another one than before the last quarter of the steps; NaN before a second check."""
        clusters = self._clusters.numpy()
        return float(np.mean(clusters[0] != clusters[-1])) if self.count > 1 else np.nan

    def checkpointables(self) -> dict[str, Any]:
        """All of it."""
        return {"measures": self._measures, "clusters": self._clusters, "stopped": self.stopped}


class ConstantThenCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that stays until the cool-down, in which it falls to 0 along a cosine.

    The cool-down begins where the stage has stopped paying and lasts a quarter of the steps before it; where that is not known it is the
    last fifth of the steps at most. (A constant rate with a cool-down of a fifth does as well as a cosine of the same length: Hägele et
    al., NeurIPS 2024, arXiv 2405.18392.)

    Args:
      base: the rate before.
      most_steps: where it is 0 at the latest.
      stopped_at: a variable, the step at which the cool-down begins; 0: not known yet.
    """

    def __init__(self, base: float, most_steps: int, stopped_at: tf.Variable) -> None:
        super().__init__()
        self.base, self.most_steps, self._stopped_at = base, most_steps, stopped_at

    def __call__(self, step: Any) -> tf.Tensor:
        """The learning rate at `step`, a float32 scalar tensor."""
        stopped_at = tf.cast(self._stopped_at, tf.float64)
        begin = tf.where(stopped_at > 0, stopped_at, self.most_steps / (1 + COOL_DOWN))
        end = tf.where(stopped_at > 0, stopped_at + tf.floor(COOL_DOWN * stopped_at), self.most_steps)
        place = tf.clip_by_value((tf.cast(step, tf.float64) - begin) / (end - begin), 0.0, 1.0)
        return tf.cast(0.5 * self.base * (1 + tf.cos(np.pi * place)), tf.float32)
