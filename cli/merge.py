"""nvisa-tf merge."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

from nvisa_tf.cli.files import MOVED
from nvisa_tf.cli.main import quiet_stderr
from nvisa_tf.cli.next_steps import next_steps
from nvisa_tf.cli.options import integers
from nvisa_tf.cli.train import print_report
from nvisa_tf.io.names import read_names
from nvisa_tf.io.run_directory import RunDirectory


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of merge."""
    parser.add_argument("run", metavar="RUN", help="a run directory, which stays as it is")
    parser.add_argument("--to", type=int, metavar="K", help="merge the nearest clusters until there are so many")
    parser.add_argument(
        "--clusters",
        type=integers,
        action="append",
        metavar="K,K",
        help="merge these clusters, such as 3,7; may be given several times (default, without --to: only show which are near each other)",
    )
    parser.add_argument("--out", metavar="DIR", help="the new run directory (default RUN-K-clusters)")
    parser.add_argument("--data-dir", default=None, metavar="DIR", help=MOVED)


def run(flags: argparse.Namespace) -> int:
    """Make a run with fewer clusters, or show the hierarchy of a run's."""
    n_clusters = RunDirectory.open(flags.run).config().model.n_clusters
    if flags.to is not None and flags.clusters:
        raise ValueError("--to chooses the clusters that are merged, and --clusters names them; give one of the two.")
    if flags.to is not None and not 2 <= flags.to < n_clusters:
        raise ValueError(f"--to is {flags.to}; the run has {n_clusters} clusters, so give a number from 2 to {n_clusters - 1}.")
    with quiet_stderr():
        from nvisa_tf.runs.merging import Mergeable
    source = Mergeable.load(flags.run, flags.data_dir or "")
    names = read_names(source.run, n_clusters)
    if flags.to is None and not flags.clusters:
        _show(source.hierarchy, names)
        return 0
    groups = source.hierarchy.groups(flags.to, n_clusters) if flags.to is not None else source.groups_of(flags.clusters)
    out = flags.out or f"{source.run.path}-{len(groups)}-clusters"
    made = source.merge(groups, out, shlex.join(["nvisa-tf", *sys.argv[1:]]))
    for number, group in enumerate(groups):
        print(f"cluster {number}: {' and '.join(names[k] for k in group)}")
    print_report(made.report())
    print(f"Written to {shlex.quote(str(made.path))}.")
    print("Next:")
    for step in next_steps(made.path, source.config.data.dataset, source.splits.train, source.model.capabilities):
        print(f"  {step}")
    return 0


def _show(hierarchy: Any, names: list[str]) -> None:
    """Each join, the nearest first."""
    parts = [[k] for k in hierarchy.clusters]
    print("distance  clusters that join (Bhattacharyya distance in the latent space, nats; average linkage)")
    for first, second, distance, _ in hierarchy.joins:
        joined = [parts[int(i)] for i in sorted((first, second), key=lambda i: parts[int(i)])]
        print(f"{distance:8.3g}  {' with '.join(', '.join(names[k] for k in part) for part in joined)}")
        parts.append(sorted(joined[0] + joined[1]))
