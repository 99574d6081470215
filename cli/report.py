"""nvisa-tf report."""

from __future__ import annotations

import argparse
import sys
import webbrowser

import numpy as np

from nvisa_tf.cli.files import MOVED, check_writable
from nvisa_tf.cli.main import quiet_stderr
from nvisa_tf.io.names import read_names
from nvisa_tf.io.run_directory import RunDirectory


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of report."""
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--output", metavar="FILE", help="a .html file; replaced if it exists (default: RUN/report.html)")
    parser.add_argument("--data-dir", default=None, metavar="DIR", help=MOVED)
    parser.add_argument("--open", action="store_true", help="show it in the browser (default: not)")


def run(flags: argparse.Namespace) -> int:
    """Write a run's report as a page."""
    directory = RunDirectory.open(flags.run)
    output = check_writable(flags.output or str(directory.page_file), (".html", ".htm"))
    with quiet_stderr():
        from nvisa_tf.evaluation.assignments import Reference, assign
        from nvisa_tf.evaluation.warnings import warnings_of
        from nvisa_tf.report import write_report
        from nvisa_tf.runs import workflows
        from nvisa_tf.runs.outliers import load_outlier_detector
    model, config, _ = workflows.load_run(flags.run)
    splits = workflows.load_run_splits(directory, config, flags.data_dir or "")
    directory.check_data(splits.train.fingerprint())
    reference = Reference.load(directory.reference_file) if directory.reference_file.is_file() else None  # runs of before have none
    detector = load_outlier_detector(directory, model, config, flags.data_dir or "")
    found = assign(model, splits.parts(), reference, detector.shown_novelty(model))
    n_clusters = model.config.n_clusters
    report = directory.report()
    if "warnings" not in report:
        sizes = np.bincount(found.cluster, minlength=n_clusters).tolist()
        report["warnings"] = warnings_of(report, directory.metrics(), n_train=len(splits.train), sizes=sizes)
    path = write_report(directory, config, splits, found, report, read_names(directory, n_clusters), output=output)
    pictures = splits.train.pictures
    if pictures is not None and (remark := pictures.remark()):
        print(f"nvisa-tf: {remark}", file=sys.stderr)
    print(f"Written: {path} ({path.stat().st_size / 1e6:.1f} MB).")
    if flags.open and not webbrowser.open(path.resolve().as_uri()):
        print(f"There is no browser here; open {path} yourself.")
    return 0
