"""nvisa-tf predict."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nvisa_tf.cli.files import check_writable, examples_of
from nvisa_tf.cli.main import quiet_stderr
from nvisa_tf.io.files import replacing
from nvisa_tf.io.run_directory import RunDirectory

if TYPE_CHECKING:
    from nvisa_tf.data import Dataset


BOUND_SAMPLES = 50


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of predict."""
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument(
        "--input",
        required=True,
        metavar="FILE",
        help="a .npy, .npz (key x) or .csv file of examples, a folder of images, or a data set's name for its test split",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="a .csv, .npy (structured) or .npz file; replaced if it exists")
    parser.add_argument("--probabilities", action="store_true", help="write all of q(y|x) too (default: the cluster's alone)")
    parser.add_argument(
        "--embedding",
        action="store_true",
        help="write where examples lie in the latent space too (of nvisa the mean of q(z|y,x); default: not)",
    )
    parser.add_argument(
        "--bound",
        action="store_true",
        help="write a lower bound of log p(x) too, nats: low where an example is unlike the training data (default: not)",
    )
    parser.add_argument("--data-dir", default="", metavar="DIR", help="tensorflow-datasets folder (default: TFDS_DATA_DIR)")


def run(flags: argparse.Namespace) -> int:
    """Cluster a file's examples."""
    directory = RunDirectory.open(flags.run)
    output = check_writable(flags.output, (".csv", ".npy", ".npz"))
    data = examples_of(flags.input, flags.data_dir, directory)
    _check_units(directory, data)
    with quiet_stderr():
        from nvisa_tf.runs import workflows
    model, config, _ = workflows.load_run(flags.run)
    if flags.bound and "density" not in model.capabilities:
        raise ValueError(f"The method {config.method} has no density of examples; leave --bound out.")
    probabilities = model.predict_proba(data.x)
    clusters = probabilities.argmax(1)
    columns = {"cluster": clusters, "probability": probabilities.max(1)}
    if flags.probabilities:
        columns["q"] = probabilities
    if flags.bound:
        columns["bound"] = model.score_samples(data.x, BOUND_SAMPLES)
    if flags.embedding:
        columns["z"] = model.embed(data.x)
    with replacing(output) as temporary:
        {".csv": _csv, ".npy": _npy, ".npz": _npz}[output.suffix](temporary, columns)
    sizes = np.bincount(clusters, minlength=model.config.n_clusters)
    print(f"{len(clusters)} examples clustered into {output}; cluster sizes: {' '.join(map(str, sizes))}")
    return 0


def _check_units(run: RunDirectory, data: Dataset) -> None:
    """Raise ValueError for fractions where the run was trained on whole numbers: they were scaled already, which the model does itself."""
    trained_on = run.info().get("data", {}).get("fingerprint", {}).get("dtype", "")
    if not trained_on.startswith(("uint", "int")) or data.x.dtype.kind != "f":
        return
    if any((part % 1).any() for _, part in data.chunks()):
        raise ValueError(f"{data.name} has fractions, and {run.path} was trained on {trained_on}; give the values as they were there.")


def _csv(path: Path, columns: dict[str, np.ndarray]) -> None:
    wide = {name: values.reshape(len(values), -1) for name, values in columns.items()}
    header = [name if values.shape[1] == 1 else f"{name}_{i}" for name, values in wide.items() for i in range(values.shape[1])]
    formats = [("%d" if name == "cluster" else "%.6g") for name, values in wide.items() for _ in range(values.shape[1])]
    np.savetxt(path, np.hstack([*wide.values()]), fmt=formats, delimiter=",", header=",".join(header), comments="")


def _npy(path: Path, columns: dict[str, np.ndarray]) -> None:
    table = np.zeros(len(columns["cluster"]), [(name, values.dtype, values.shape[1:]) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    np.save(path, table, allow_pickle=False)


def _npz(path: Path, columns: dict[str, np.ndarray]) -> None:
    np.savez(path, **columns)  # type: ignore[arg-type]
