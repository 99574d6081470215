"""nvisa-tf predict."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import numpy as np

from nvisa_tf.cli.files import check_writable, examples_of
from nvisa_tf.cli.main import quiet_stderr
from nvisa_tf.io.answer_files import write_columns
from nvisa_tf.io.names import OUTLIER, given_names, shown_names, sizes_in_words
from nvisa_tf.io.run_directory import RunDirectory

if TYPE_CHECKING:
    from nvisa_tf.data import Dataset


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of predict."""
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument(
        "--input",
        required=True,
        metavar="FILE",
        help="a folder of images, a table (.csv, .tsv, .txt, also .gz; .parquet, .h5ad), an array (.npy, .npz with the key x), or a data "
        "set's name for its test split",
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
        help="write a lower bound of log p(x) and its standard error too, nats: low where an example is unlike the training data "
        "(default: not)",
    )
    parser.add_argument(
        "--outliers",
        type=float,
        metavar="RATE",
        help="give examples that are unlike the training data the cluster -1; RATE, such as 0.01, is the share of examples like the "
        "training data that are taken for such (default: every example has a cluster)",
    )
    parser.add_argument("--data-dir", default="", metavar="DIR", help="tensorflow-datasets folder (default: TFDS_DATA_DIR)")


def run(flags: argparse.Namespace) -> int:
    """Cluster a file's examples."""
    directory = RunDirectory.open(flags.run)
    output = check_writable(flags.output, (".csv", ".npy", ".npz"), [flags.input])
    if flags.outliers is not None and not 0 < flags.outliers < 1:
        raise ValueError(f"--outliers is {flags.outliers:g}, a share of examples; it must be above 0 and below 1, such as 0.01.")
    data = examples_of(flags.input, flags.data_dir, directory)
    _check_units(directory, data)
    with quiet_stderr():
        from nvisa_tf.evaluation.answers import table_of
        from nvisa_tf.evaluation.assignments import Reference, assign
        from nvisa_tf.evaluation.novelty import Inputs
        from nvisa_tf.runs import workflows
        from nvisa_tf.runs.outliers import load_outlier_detector
    model, config, _ = workflows.load_run(flags.run)
    if flags.bound and "density" not in model.capabilities:
        raise ValueError(f"The method {config.method} has no density of examples; leave --bound out.")
    known = directory.reference_file
    reference, inputs = (Reference.load(known), Inputs.load(known)) if known.is_file() else (None, None)  # runs of before have none
    parts = [("all", data)]
    found = assign(model, parts, reference)
    more = {f"facet_{facet}": model.predict_clusters(data.x, facet) for facet in range(1, model.n_facets)}
    n_outliers = ""
    if flags.outliers is not None:
        novelty = load_outlier_detector(directory, model, config, flags.data_dir).novelty(model, data, flags.outliers)
        more |= {"nearest": found.cluster, "novelty": novelty}
        found = found._replace(cluster=np.where(novelty > 1, OUTLIER, found.cluster))
        rate = f"{100 * flags.outliers:.3g}% of examples like the training data are"
        n_outliers = f", {(novelty > 1).sum():,} of them outliers (cluster {OUTLIER}; {rate})"
    if flags.probabilities:
        more["q"] = model.predict_proba(data.x)
    if flags.bound:
        more["bound"], more["bound_se"] = model.score_samples(data.x, return_std=True)
    if flags.embedding:
        more["z"] = model.embed(data.x)
    n_clusters = model.config.n_clusters
    given = given_names(directory)
    table = table_of(found, parts, given, n_clusters, typicality=reference is not None, more=more)
    write_columns(output, table.columns, table.blank)
    for remark in data.origin.remarks:
        print(f"nvisa-tf: {remark}", file=sys.stderr)
    if inputs and (warning := inputs.warning(model, data)):
        print(f"nvisa-tf: warning: {warning}", file=sys.stderr)
    left_out = f", {table.blank.sum()} left out" if table.blank.any() else ""
    sizes = np.bincount(found.cluster[found.cluster != OUTLIER], minlength=n_clusters)
    told = sizes_in_words(sizes.tolist(), shown_names(given, n_clusters) if given else None)
    print(f"{len(found.cluster)} examples clustered into {output}{n_outliers}{left_out}; cluster sizes: {told}")
    return 0


def _check_units(run: RunDirectory, data: Dataset) -> None:
    """Raise ValueError for fractions where the run was trained on whole numbers: they were scaled already, which the model does itself."""
    trained_on = run.info().get("data", {}).get("fingerprint", {}).get("dtype", "")
    if not trained_on.startswith(("uint", "int")) or data.x.dtype.kind != "f":
        return
    if any((part % 1).any() for _, part in data.chunks()):
        raise ValueError(f"{data.name} has fractions, and {run.path} was trained on {trained_on}; give the values as they were there.")
