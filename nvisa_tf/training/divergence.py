"""When training has failed: too many steps whose loss or gradient was not finite, and which were skipped."""

from __future__ import annotations

from typing import NoReturn

from nvisa_tf.models.base import TrainingStage
from nvisa_tf.models.stage import steps_per_epoch
from nvisa_tf.training.monitors import TrainingDiverged

ALLOWED_SHARE = 0.05  # of the steps may be skipped
HANDFUL = 5  # and so many of however few steps


def check_in_a_row(stage: TrainingStage, limit: int, kept: bool) -> None:
    """Raise TrainingDiverged where the last `limit` steps, or more, were skipped; `kept`: there are checkpoints."""
    in_a_row = stage.nonfinite_steps()[1]
    if in_a_row >= limit:
        _fail(stage, f"the last {in_a_row:,} steps", kept)


class SkippedSteps:
    """Looks whether too many steps of a stage were skipped: since it last looked, or since a resume, and at the end in all.

    Args:
      stage: that is trained, where it stands.
    """

    def __init__(self, stage: TrainingStage) -> None:
        self._before = _counts(stage)

    def check(self, stage: TrainingStage, ends: bool, kept: bool) -> None:
        """Raise TrainingDiverged where there are too many.

        Args:
          stage: the same.
          ends: training of the stage ends here; then more than half of its steps are too many, however few they are.
          kept: there are checkpoints.
        """
        (step, skipped), (step_before, skipped_before) = _counts(stage), self._before
        self._before = step, skipped
        missed, steps = skipped - skipped_before, step - step_before
        if missed > max(ALLOWED_SHARE * steps, HANDFUL):
            _fail(stage, f"{missed:,} of the last {steps:,} steps", kept)
        if ends and (skipped > max(ALLOWED_SHARE * step, HANDFUL) or 2 * skipped > step):
            _fail(stage, f"{skipped:,} of all {step:,} steps", kept)


def _counts(stage: TrainingStage) -> tuple[int, int]:
    return int(stage.step.numpy()), stage.nonfinite_steps()[0]


def _fail(stage: TrainingStage, which: str, kept: bool) -> NoReturn:
    step, skipped = _counts(stage)
    values = {**stage.progress(), **stage.values()}
    shown = "".join(f", {name.replace('_', ' ')} {values[name]:.2g}" for name in ("eps", "learning_rate") if name in values)
    what_to_try = "a smaller learning_rate, or another scaling"
    if "eps" in values:
        what_to_try = "a smaller learning_rate, slower annealing (eps_halving_epochs), clip_norm, or a larger eps_floor"
    if skipped == step:  # no weight was ever changed, so it is the data's scale
        what_to_try = "another scaling, such as auto, as the values may be too large, or a smaller learning_rate"
    epoch = step / steps_per_epoch(len(stage.x), stage.batch_size)
    raise TrainingDiverged(
        f"The loss or gradient of {which} was not finite, at epoch {epoch:.1f} of stage {stage.name}{shown}, so training has failed"
        f"{' and the last good checkpoint is kept' if kept else ''}; try {what_to_try}."
    )
