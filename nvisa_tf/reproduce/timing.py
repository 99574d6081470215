"""How long a configuration's runs would take, from a few measured steps."""

from __future__ import annotations

from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Splits
from nvisa_tf.runs.workflows import build_model
from nvisa_tf.training import Trainer

STEPS = 4


def minutes_of_training(config: RunConfig, splits: Splits) -> float:
    """Minutes of training steps in all stages, what is between them apart: `STEPS` steps after one that compiles, times their number."""
    trainer = Trainer(build_model(config, splits, start=False), config, splits.train, splits.test)
    return sum(trainer.seconds_a_step(number, STEPS) * stage.total_steps / 60 for number, stage in enumerate(trainer.stages))
