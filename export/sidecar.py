"""model.json, which stands beside exported files and says what they are and how good they were.

{"format": 1,
 "name": data set, "run": path of the training run, "created": ISO time, "versions": {package: version},
 "n_clusters": K, "latent_dim": D, "cluster_names": [K names],
 "input": {"shape": [...], "dtype": of raw examples, "range": [lowest, highest] of the training data's values,
           "resize": how image files came to the shape, "pad", "crop" or "stretch"; null: the training data had it,
           "backbone": the network inside that makes vectors of photos, if there is one, "preprocessing": where it happens},
 "files": [{"path": beside model.json, "format", "quantize", "bytes", "sha256", "verification": {...} or null,
            "signatures": {name: {"inputs" and "outputs": {name: {"shape": [null for any, ...], "dtype"}}}} or null for Keras}]}

An int8 input or output also has "scale" and "zero_point": value = scale (number - zero_point).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nvisa_tf.io.files import write_text

FORMAT = 1
NAME = "model.json"


def describe(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file, or of a folder's files in the order of their names."""
    digest, size = hashlib.sha256(), 0
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            content = file.read_bytes()
            size += len(content)
            digest.update(content)
    return {"bytes": size, "sha256": digest.hexdigest()}


def shape(sizes: Iterable[int | None]) -> list[int | None]:
    """A tensor's shape for JSON: null where any size will do."""
    return [None if size is None or size < 0 else int(size) for size in sizes]


def write(folder: Path, content: dict[str, Any]) -> None:
    """Write model.json, and labels.txt with a cluster's name a line.

    Earlier files of the same run that are still there, unchanged, keep their entries.
    """
    if (folder / NAME).is_file():
        before, new = read(folder), {file["path"] for file in content["files"]}
        if before.get("run") == content["run"]:
            kept = [file for file in before["files"] if file["path"] not in new and _unchanged(folder, file)]
            content = {**content, "files": [*content["files"], *kept]}
    write_text(folder / "labels.txt", "".join(f"{name}\n" for name in content["cluster_names"]))
    write_text(folder / NAME, json.dumps({"format": FORMAT, **content}, indent=2) + "\n")


def _unchanged(folder: Path, file: dict[str, Any]) -> bool:
    path = folder / file["path"]
    return path.exists() and describe(path)["sha256"] == file["sha256"]


def read(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What model.json holds.

    Raises:
      ValueError: there is none, it cannot be read, or it is of a newer format.
    """
    path = Path(folder) / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); it is written beside every export.") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise ValueError(f"{path} is not an nvisa-tf sidecar file.")
    if content["format"] > FORMAT:
        raise ValueError(f"{path} has format {content['format']}, and this nvisa-tf knows formats up to {FORMAT}; upgrade nvisa-tf.")
    return content


def entry(path: Path) -> dict[str, Any]:
    """What the model.json beside an exported file says of it; {} where there is none, or it does not name the file."""
    if not (path.parent / NAME).is_file():
        return {}
    return find(read(path.parent), path)


def find(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The same where model.json was read already."""
    return next((file for file in content["files"] if file["path"] == path.name), {})
