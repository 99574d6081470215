"""nvisa-tf name; loads no TensorFlow."""

from __future__ import annotations

import argparse

from nvisa_tf.export import naming, sidecar
from nvisa_tf.io.answer_files import with_cluster_names
from nvisa_tf.io.files import write_text
from nvisa_tf.io.names import NAME, changed_names, given_names, shown_names, write_names
from nvisa_tf.io.run_directory import RunDirectory


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of name."""
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="K=NAME",
        help='a cluster\'s number and its name, such as 3=boots 7="dark tops"; 3= takes the name away (default: list the names)',
    )


def run(flags: argparse.Namespace) -> int:
    """Name clusters in the run and in what was made of it, or list the names."""
    directory = RunDirectory.open(flags.run)
    n_clusters = directory.config().model.n_clusters
    before = given_names(directory)
    if flags.names:
        _rename(directory, before, changed_names(before, flags.names, n_clusters), n_clusters)
    given = given_names(directory)
    for k in range(n_clusters):
        print(f"{k:4}  {given.get(k, '(no name)')}")
    return 0


def _rename(run: RunDirectory, before: dict[int, str], after: dict[int, str], n_clusters: int) -> None:
    """Write the names wherever the run's clusters are shown; what cannot be read is refused before anything is written."""
    names = shown_names(after, n_clusters)
    answers = with_cluster_names(run.clusters_file, names if after else None) if run.clusters_file.is_file() else ""
    folders = naming.exported(run.path)
    for folder in folders:
        sidecar.read(folder)
    written = [run.path / NAME]
    if run.page_file.is_file():
        from nvisa_tf.report import rename_report

        rename_report(run, names)
        written.append(run.page_file)
    write_names(run, after)
    if answers:
        write_text(run.clusters_file, answers)
        written.append(run.clusters_file)
    for folder in folders:
        naming.rename(folder, {k: names[k] for k in {*before, *after}})  # those that were named otherwise keep their names
        written.append(folder / sidecar.NAME)
    print(f"Written: {', '.join(map(str, written))}.")
