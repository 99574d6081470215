"""nvisa-tf verify."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from nvisa_tf.cli.export import compared
from nvisa_tf.cli.files import examples_of
from nvisa_tf.cli.main import quiet_stderr
from nvisa_tf.export import sidecar
from nvisa_tf.io.run_directory import RunDirectory


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of verify."""
    parser.add_argument("file", metavar="FILE", help="an exported encoder (.tflite, .keras or saved_model), beside its model.json")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="a .npy, .npz or .csv file, a folder of images, or a data set's name (its test split)",
    )
    parser.add_argument("--run", metavar="RUN", help="the run whose model it must agree with (default: the one in model.json)")
    parser.add_argument("--data-dir", default="", metavar="DIR", help="tensorflow-datasets folder (default: TFDS_DATA_DIR)")
    parser.add_argument(
        "--min-agreement", type=float, default=0.99, metavar="X", help="least share of clusters equal to the Keras model's (default 0.99)"
    )


def run(flags: argparse.Namespace) -> int:
    """Check the file's sum, then its answers; 1 where it is not good enough."""
    path = Path(flags.file)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    about = sidecar.read(path.parent)
    entry = sidecar.find(about, path)
    if not entry:
        raise ValueError(f"{path.parent / sidecar.NAME} does not know {path.name}; give a file that nvisa-tf export wrote.")
    if sidecar.describe(path)["sha256"] != entry["sha256"]:
        raise ValueError(f"{path} is not the file that was exported: its checksum differs from that in {sidecar.NAME}; export it again.")
    if entry["verification"] is None:
        raise ValueError(f"{path} is a generator, which has no clusters to verify; give an encoder.")
    run_directory = RunDirectory.open(flags.run or about["run"])
    data = examples_of(flags.data, flags.data_dir, run_directory)
    with quiet_stderr():
        from nvisa_tf.data import Splits
        from nvisa_tf.export.outliers import WithNovelty
        from nvisa_tf.export.photos import with_backbone
        from nvisa_tf.export.verify import TOLERANCE, compare, open_encoder, require
        from nvisa_tf.runs.outliers import load_outlier_detector
        from nvisa_tf.runs.workflows import load_run
    model: Any
    model, config, _ = load_run(flags.run or about["run"])
    if told := entry.get("outliers"):
        model = WithNovelty(model, load_outlier_detector(run_directory, model, config, flags.data_dir), told["false_alarm_rate"])
    tolerance = TOLERANCE
    if about["input"].get("backbone") and run_directory.backbone():
        model, some = with_backbone(model, run_directory, Splits(data, data, ""))
        data, tolerance = some.test, model.tolerance
    found = compare(open_encoder(path, entry["format"]), model, np.asarray(data.x), data.y)
    print(f"{path}: {compared(found)}")
    require(found, entry["quantize"] == "none", flags.min_agreement, tolerance)
    return 0
