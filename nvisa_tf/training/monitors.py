"""What training tells, and why it ends."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

from nvisa_tf.models.base import ClusteringModel, TrainingStage


class StopReason(enum.Enum):
    """Why training ended; the value is for people."""

    FINISHED = "it is finished"
    TIME_LIMIT = "the limit of max_minutes was reached"
    INTERRUPTED = "a signal asked for it"
    REQUESTED = "the caller asked for it"


class TrainingDiverged(RuntimeError):
    """So many steps were skipped, in a row or in all, that going on makes no sense."""


class Progress(NamedTuple):
    """Where training stands.

    Attributes:
      stage: the name of the stage.
      step, total_steps: of the stage, whose end may come nearer.
      epoch: passes over the data done in the stage.
      values: the numbers that the stage shows, by name.
      nonfinite_steps: skipped in the stage.
      seconds: since this call of `train`.
      steps_now: done by the last call.
    """

    stage: str
    step: int
    total_steps: int
    epoch: float
    values: dict[str, float]
    nonfinite_steps: int
    seconds: float
    steps_now: int


class Monitor:
    """Is told what happens in training; override what you need."""

    def on_progress(self, progress: Progress) -> None:
        """After every call of the compiled steps."""

    def on_stage(self, row: dict[str, Any], stage: TrainingStage) -> None:
        """Now and then in a stage before the last, with the row of stages.csv."""

    def on_evaluation(self, row: dict[str, Any], model: ClusteringModel, stage: TrainingStage) -> None:
        """After every evaluation in the last stage, with the row of metrics.csv."""

    def on_initialization(self, message: str) -> None:
        """How the stages before the last go, and how they went."""

    def on_stage_end(self, message: str) -> None:
        """A stage that could end before its limit ended: when, and why if it was before it."""

    def on_message(self, message: str) -> None:
        """Something a person should know."""
