"""Files that commands name: outputs are refused before the work, never after it; inputs are files or data sets."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvisa_tf.cli.main import quiet_stderr

if TYPE_CHECKING:
    from nvisa_tf.config.run import DataConfig
    from nvisa_tf.data import Dataset
    from nvisa_tf.io.run_directory import RunDirectory

# Help of --data-dir.
MOVED = "tensorflow-datasets folder, or the one that holds the run's data now, under the same name (default: the run's)"


def check_writable(path: str, endings: Sequence[str], inputs: Sequence[str] = ()) -> Path:
    """The path, if a file with one of these endings can be written there.

    Args:
      path: of the file.
      endings: that it may have.
      inputs: what the command reads, which must be other files.

    Raises:
      ValueError: another ending, no such folder, it cannot be written to, or it is an input.
    """
    target = Path(path)
    if target.suffix not in endings:
        raise ValueError(f"The output {path} must end in {' or '.join(endings)}.")
    if target.is_dir() or not target.parent.is_dir():
        raise ValueError(
            f"The output {path} cannot be written: {'it is a folder' if target.is_dir() else f'there is no folder {target.parent}'}."
        )
    if target.exists() and any(Path(one).exists() and target.samefile(one) for one in inputs):
        raise ValueError(f"The output {path} is the input, which would be lost; name another file.")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise ValueError(f"The output {path} cannot be written: {error.strerror}.") from error
    return target


def examples_of(name: str, data_dir: str, run: RunDirectory) -> Dataset:
    """A data set's test split by its name, or the examples (and labels) in a file or folder, taken as the run's own data were.

    Args:
      name: of the data set, or a path.
      data_dir: tensorflow-datasets folder, or "".
      run: whose images' shape, and whose table's columns, these examples come in.

    Raises:
      ValueError, FileNotFoundError: as `load_dataset`.
    """
    # Here, as classify runs without what they import.
    from nvisa_tf.config.datasets import DATASETS
    from nvisa_tf.data import load_dataset
    from nvisa_tf.data.loaders import read_examples

    config, by_name = run.config(), name in DATASETS and not Path(name).exists()
    if (about := run.backbone()) and (by_name or not _is_vectors(name)):
        return _by_backbone(name, data_dir, config.data, about, run)
    if by_name:
        with quiet_stderr():
            import tensorflow  # noqa: F401, as loading the data would
        return load_dataset(name, data_dir=data_dir).test
    # With a backbone these are vectors, and there is no shape of images.
    data = config.data if config.data.backbone else dataclasses.replace(config.data, image_shape=config.model.input_shape)
    found = read_examples(name, data, run.table(), constant=True)
    _check_backbone(name, found.origin.backbone, run)
    return in_range_of(found, run) if found.origin.kind == "folder" else found


def _is_vectors(path: str) -> bool:
    """Whether a path is a file of vectors, rather than photos: a table, or an array of two axes."""
    from nvisa_tf.data.array_files import read_array
    from nvisa_tf.data.files import kind_of

    kind = kind_of(path)
    return kind != "folder" and (kind != "array" or read_array(path).x.ndim == 2)


def _by_backbone(name: str, data_dir: str, config: DataConfig, about: Mapping[str, Any], run: RunDirectory) -> Dataset:
    """Photos as the vectors that the run's backbone makes of them; of a data set known by name, those of its test split."""
    with quiet_stderr():
        from nvisa_tf.data.photos import by_run, features_of
        from nvisa_tf.runs.backbones import load_run_backbone
    asked = by_run(config, about, name, data_dir)
    found = features_of(asked, lambda text: print(text, flush=True), load_run_backbone(run))
    return found.take(slice(found.n_train, None)) if found.n_train else found


def _check_backbone(name: str, its: Mapping[str, Any], run: RunDirectory) -> None:
    """Raise ValueError for features by another network than the run was trained on; where they do not say theirs, that is told."""
    ours = run.backbone()
    if ours and not its:
        print(
            f"nvisa-tf: {name} does not say what made its vectors; they must be by {ours['name']}, as those of {run.path}.", file=sys.stderr
        )
    if not ours or not its:
        return
    with quiet_stderr():
        from nvisa_tf.backbones.identity import difference
    different = difference(its, ours)
    why = f"its backbone {different}" if different else ""
    if not different and its["resize"] != ours["resize"]:
        why = f"its photos came to their size by --resize {its['resize']}, not {ours['resize']}"
    if why:
        raise ValueError(f"{name} has other features than those that {run.path} was trained on: {why}. Make them as those were.")


def in_range_of(images: Dataset, run: RunDirectory) -> Dataset:
    """A folder's images, bytes, in the values that the run's own data have, such as 0 to 16.

    Raises:
      ValueError: the run does not say what these are.
    """
    import numpy as np

    from nvisa_tf.io.images import in_range

    about = run.data_info()
    if about.get("kind", "folder") == "folder" or "fingerprint" not in about:  # runs of before November 2026 do not say their kind
        return images
    if "range" not in about:
        raise ValueError(f"{run.path} does not say which of its data's values are black and white; give the images as a .npy file.")
    dtype = np.dtype(about["fingerprint"]["dtype"])
    values = in_range(np.asarray(images.x, np.float32), about["range"], whole=dtype.kind != "f")
    return dataclasses.replace(images, x=values if dtype.kind == "f" else values.astype(dtype))
