"""How long a configuration's runs would take, from a few measured steps."""

from __future__ import annotations

import time

from nvisa_tf.config import RunConfig
from nvisa_tf.data import Splits
from nvisa_tf.training import Trainer
from nvisa_tf.workflows import build_model

STEPS = 4


def minutes_of_training(config: RunConfig, splits: Splits) -> float:
    """Minutes of training steps, evaluations apart: `STEPS` steps after one that compiles, times their number."""
    trainer = Trainer(build_model(config, splits, start=False), config.train, splits.train, splits.test)
    trainer.run_steps(1)
    started = time.monotonic()
    trainer.run_steps(STEPS)
    return (time.monotonic() - started) / STEPS * trainer.total_steps / 60
