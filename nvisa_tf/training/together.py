"""Several trainers whose models take their steps in one program (see `batched`)."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

from nvisa_tf.training.batched import batched_runner
from nvisa_tf.training.batches import kept_on_device
from nvisa_tf.training.trainer import Trainer, TrainingDiverged


def train_together(trainers: Sequence[Trainer]) -> list[str | TrainingDiverged]:
    """Train every trainer as its `train` would, to rounding.

    Those that stand at fewer steps, as some of the resumed may, go first until they have caught up; one that diverges leaves the
    others alone. Each trainer's minutes are those of all together.

    Args:
      trainers: of one configuration but for the seed, and one training data set.

    Returns:
      For each, "" at the end, else why it stopped; or the error, where it diverged.

    Raises:
      ValueError: the trainers differ, their data are to be streamed, or another process trains one of the runs.
      OSError: a file cannot be written; the last checkpoints stay.
    """
    if not trainers:
        return []
    _check(trainers)
    results: list[str | TrainingDiverged] = ["" for _ in trainers]
    with contextlib.ExitStack() as stack:
        courses = [stack.enter_context(contextlib.closing(trainer.steps_wanted())) for trainer in trainers]
        wanted: dict[int, int] = {}
        group: list[int] = []
        run: Callable[[int], None] | None = None

        def ask(number: int) -> None:
            wanted.pop(number, None)
            try:
                wanted[number] = next(courses[number])
            except StopIteration:
                results[number] = trainers[number].stopped
            except TrainingDiverged as error:
                results[number] = error

        for number in range(len(trainers)):
            ask(number)
        while wanted:
            step = min(trainers[number].step for number in wanted)
            behind = sorted(number for number in wanted if trainers[number].step == step)
            if run is None or behind != group:
                group, run = behind, None  # first the old program's data go
                run = _runner([trainers[number] for number in group])
            run(wanted[group[0]])
            for number in group:
                ask(number)
    return results


def _check(trainers: Sequence[Trainer]) -> None:
    first = trainers[0]
    for trainer in trainers:
        if dataclasses.replace(trainer.config, seed=first.config.seed) != first.config or trainer.train_data is not first.train_data:
            raise ValueError("Trainers that train together must have one configuration, but for the seed, and one training data set.")
    if not kept_on_device(first.train_data.x, first.config.pipeline):
        raise ValueError("Several models in one program need the data on the device, and these are streamed; set pipeline to memory.")


def _runner(trainers: Sequence[Trainer]) -> Callable[[int], None]:
    if len(trainers) == 1:
        return trainers[0].run_steps
    first = trainers[0]
    return batched_runner(
        [trainer.model for trainer in trainers],
        first.train_data.x,
        batch_size=first.config.batch_size,
        seeds=[trainer.config.seed for trainer in trainers],
        xla=first.config.xla,
    )
