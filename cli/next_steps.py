"""What a person can do with a run, as commands that fit the data it was trained on."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from pathlib import Path

from nvisa_tf.data import Dataset


def next_steps(run: Path, dataset: str, train: Dataset, capabilities: Collection[str]) -> list[str]:
    """Commands for a shell.

    Args:
      run: the run's folder.
      dataset: what it was trained on, a path or a name.
      train: these examples.
      capabilities: the model's.
    """
    path = shlex.quote(str(run))
    steps = [
        f'nvisa-tf name {path} 0="a name"',
        f"nvisa-tf predict {path} --input {new_input(dataset, train)} --output new_clusters.csv",
    ]
    if "generate" in capabilities:
        steps.append(f"nvisa-tf sample {path} --output samples.png")
    if "density" in capabilities:
        steps.append(f"nvisa-tf evaluate {path} --samples 1000")
    # A TFLite file cannot be put inside another one.
    alone = " --head-only" if str(train.origin.backbone.get("name", "")).endswith(".tflite") else ""
    return [*steps, f"nvisa-tf export {path} --format tflite{alone}"]


def new_input(dataset: str, train: Dataset) -> str:
    """A name for new examples in the form that the old ones came in, for a shell."""
    if train.origin.kind == "folder" or train.origin.backbone:
        return "new_photos/"
    if train.origin.kind != "table":
        return "new.npy"
    endings = Path(dataset).suffixes
    return shlex.quote("new" + "".join(endings[-2:] if endings[-1:] == [".gz"] else endings[-1:]))
