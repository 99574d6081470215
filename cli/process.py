"""What a command that trains sets up in its process."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nvisa_tf.config.methods import METHODS
from nvisa_tf.io.files import write_text
from nvisa_tf.runs.jobs import Job


def repeat_exactly() -> None:
    """Make a GPU's kernels repeat bit for bit; a CPU's do as they are."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


STOPPING = b"\nnvisa-tf: stopping; a checkpoint is saved once the work in hand is done (Ctrl-C once more ends at once, without one).\n"


def stop_on_signals(trainers: Sequence[Any]) -> list[str]:
    """The first Ctrl-C or SIGTERM ends training cleanly; a second Ctrl-C at once. The list that is given back names those that came."""
    from nvisa_tf.training import StopReason

    came: list[str] = []

    def stop(number: int, frame: Any) -> None:
        came.append(signal.Signals(number).name)
        os.write(2, STOPPING)  # print can be what the signal interrupted
        for trainer in trainers:
            trainer.request_stop(StopReason.INTERRUPTED)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return came


def end_on_signals() -> None:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def train_command(job: Job) -> list[str]:
    """The words of the `nvisa-tf train` that begins a job, whose configuration is written beside its folder, or goes on with it."""
    train = [sys.executable, "-P", "-m", "nvisa_tf", "train"]
    if (job.folder / "run.json").is_file():
        words = ["--resume", str(job.folder), "--checkpoint-minutes", str(job.config.train.checkpoint_minutes)]
        return train + words + (["--data-dir", str(Path(job.config.data.data_dir).resolve())] if job.config.data.data_dir else [])
    file = job.folder.with_name(job.folder.name + ".toml")
    write_text(file, job.config.to_toml())  # every option, so that a preset changes none
    return [*train, "--config", str(file), "--preset", METHODS[job.config.method].large_preset, "--out", str(job.folder)]
