"""Several trainers whose models take their steps in one program (see `vectorized`)."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Sequence

from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Array
from nvisa_tf.models.base import VectorizableStage
from nvisa_tf.training.batches import kept_on_device
from nvisa_tf.training.monitors import StopReason, TrainingDiverged
from nvisa_tf.training.trainer import Trainer
from nvisa_tf.training.vectorized import vectorized_runner

Result = StopReason | TrainingDiverged | ValueError | OSError
# tf.vectorized_map wants one filter for all (TensorFlow 2.21).
NO_CONVOLUTIONS = "Models with encoder_filters or decoder_filters are trained one after another, not in one program"


def train_in_lockstep(
    trainers: Sequence[Trainer], on_end: Callable[[Trainer, Result], None] = lambda trainer, result: None
) -> list[Result]:
    """Train every trainer as its `train` would, to rounding.

    Those that stand at fewer steps, as some of the resumed may, go first until they have caught up; one that diverges or fails leaves
    the others alone. Each trainer's minutes are those of all together.

    Args:
      trainers: of one configuration but for the seed, and one training data set.
      on_end: is told of every trainer when it ends, while its run is still locked.

    Returns:
      For each, why it ended; or what its `train` would have raised.

    Raises:
      ValueError: the trainers differ, their models have convolutions, or their data are to be streamed.
    """
    if not trainers:
        return []
    _check(trainers)
    results: list[Result] = [StopReason.FINISHED for _ in trainers]
    with contextlib.ExitStack() as stack:
        wanted: dict[int, int] = {}

        def end(number: int, result: Result) -> None:
            results[number] = result
            on_end(trainers[number], result)

        def ask(number: int) -> None:
            wanted.pop(number, None)
            try:
                wanted[number] = next(courses[number])
            except StopIteration:
                end(number, trainers[number].ended)
            except (TrainingDiverged, ValueError, OSError) as error:
                end(number, error)

        courses = {}
        for number, trainer in enumerate(trainers):
            try:
                stack.enter_context(trainer.locked())
            except ValueError as error:
                end(number, error)
            else:
                courses[number] = stack.enter_context(contextlib.closing(trainer.steps_wanted()))
        for number in courses:
            ask(number)
        group: list[int] = []
        run: Callable[[int], None] | None = None
        while wanted:
            if stopping := [number for number in wanted if trainers[number].stopping]:
                for number in stopping:
                    ask(number)
                continue
            step = min(trainers[number].step for number in wanted)
            behind = sorted(number for number in wanted if trainers[number].step == step)
            if run is None or behind != group:
                group, run = behind, None  # the old program's data go before the new one's come
                gc.collect()
                run = _runner([trainers[number] for number in group])
            run(min(wanted[number] for number in group))  # they may end at different steps
            for number in group:
                ask(number)
    return results


def why_not_together(config: RunConfig, x: Array) -> str:
    """Why models of this configuration cannot be trained in one program on `x`, in a clause; "" where they can."""
    if not METHODS[config.method].vectorizable:
        return f"Models of the method {config.method} are trained one after another, not in one program"
    if config.model.has_convolutions:
        return NO_CONVOLUTIONS
    pipeline = config.train.pipeline
    if not kept_on_device(x, pipeline):
        return "Models in one program need the data on the device, and these are streamed (set pipeline to memory)"
    return ""


def _check(trainers: Sequence[Trainer]) -> None:
    first = trainers[0]
    for trainer in trainers:
        if trainer.config.replace({"seed": first.config.train.seed}) != first.config or trainer.train_data is not first.train_data:
            raise ValueError("Trainers that train together must have one configuration, but for the seed, and one training data set.")
    if why := why_not_together(first.config, first.train_data.x):
        raise ValueError(f"{why}.")


def _runner(trainers: Sequence[Trainer]) -> Callable[[int], None]:
    first = trainers[0]
    if len(trainers) == 1:
        return first.new_runner()
    return vectorized_runner(
        [trainer.stage for trainer in trainers if isinstance(trainer.stage, VectorizableStage)],
        first.stage.step,
        first.stage.x,
        batch_size=first.stage.batch_size,
        seeds=[trainer.stage.shuffle_seed for trainer in trainers],
        xla=first.config.train.xla,
    )
