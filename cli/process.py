"""What a command that trains sets up in its process."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any


def repeat_exactly() -> None:
    """Make a GPU's kernels repeat bit for bit; a CPU's do as they are."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


STOPPING = b"\nnvisa-tf: stopping; a checkpoint is being saved (Ctrl-C once more ends at once, without one).\n"


def stop_on_signals(trainers: Sequence[Any]) -> list[str]:
    """The first Ctrl-C or SIGTERM ends training cleanly; a second Ctrl-C at once. The list that is given back names those that came."""
    came: list[str] = []

    def stop(number: int, frame: Any) -> None:
        came.append(signal.Signals(number).name)
        os.write(2, STOPPING)  # print can be what the signal interrupted
        for trainer in trainers:
            trainer.request_stop(f"signal {came[-1]}")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return came


def end_on_signals() -> None:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
