"""Checkpoints of everything that training needs to go on, and the way back from a damaged one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf


class Checkpoints:
    """The checkpoints of a stage of training.

    Args:
      folder: where they are.
      objects: everything that the stage needs to go on, trackable objects by name.
      keep: how many to keep.
    """

    def __init__(self, folder: Path, objects: dict[str, Any], keep: int = 3) -> None:
        self.folder = folder
        self._checkpoint = tf.train.Checkpoint(**objects)
        self._keep = keep
        self._manager = self._new_manager()

    def save(self, step: int) -> None:
        """Write a checkpoint; the ones before stay until it is whole.

        Raises:
          OSError: it cannot be written, for example because the disk is full.
        """
        try:
            self._manager.save(checkpoint_number=step)
        except (tf.errors.OpError, OSError) as error:
            raise OSError(f"the checkpoint of step {step} cannot be written to {self.folder}: {_first_line(error)}") from error

    def restore(self) -> tuple[int, list[str]]:
        """Restore the newest readable checkpoint: its step, and the names of newer unreadable ones.

        Raises:
          ValueError: none can be read.
        """
        found = _restore_newest(self.folder, self._checkpoint.restore)
        # A new manager, so that the ones it deletes are counted from what the folder holds now.
        self._manager = self._new_manager()
        return found

    def _new_manager(self) -> tf.train.CheckpointManager:
        return tf.train.CheckpointManager(self._checkpoint, str(self.folder), max_to_keep=self._keep, checkpoint_name="step")


def restore_part(folder: Path, objects: dict[str, Any]) -> tuple[int, list[str]]:
    """Restore some of the objects in the newest readable checkpoint; gives what `Checkpoints.restore` gives.

    Raises:
      ValueError: none can be read.
    """
    checkpoint = tf.train.Checkpoint(**objects)
    return _restore_newest(folder, lambda path: checkpoint.restore(path).expect_partial())


def _restore_newest(folder: Path, restore: Callable[[str], Any]) -> tuple[int, list[str]]:
    damaged = []
    for path in numbered_checkpoints(folder):
        try:
            restore(str(path)).assert_existing_objects_matched()
        # TensorFlow raises IndexError for a file that ends too soon.
        except (tf.errors.OpError, AssertionError, ValueError, IndexError, OSError):
            damaged.append(path.name)
            continue
        return int(path.name.removeprefix("step-")), damaged
    found = f"none of {', '.join(damaged)} can be read" if damaged else "there is none"
    raise ValueError(f"There is no checkpoint to go on from in {folder}: {found}.")


def numbered_checkpoints(folder: Path) -> list[Path]:
    """Prefixes of all checkpoints in a folder, newest first.

    The folder is read rather than the manager's own list, which a kill can leave behind.
    """
    prefixes = [path.with_suffix("") for path in folder.glob("step-*.index")]
    return sorted(prefixes, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
