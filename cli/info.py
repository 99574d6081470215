"""nvisa-tf info; loads no TensorFlow."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from nvisa_tf.run_directory import RunDirectory


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of info."""
    parser.add_argument("run", metavar="RUN", help="a run directory")


def run(flags: argparse.Namespace) -> int:
    """Print what is known of a run."""
    directory = RunDirectory.open(flags.run)
    info, config, rows = directory.info(), directory.config(), directory.metrics()
    print(f"run       {directory.path}, made {info['created']} by: {info['command'] or 'the library'}")
    print(f"data      {info['data'].get('name')}: {info['data'].get('description')}")
    model, train = config.model, config.train
    shape = list(model.input_shape)
    print(f"model     {model.n_clusters} clusters, z of {model.latent_dim}, input {shape}, {model.likelihood}, {model.posterior} posterior")
    annealing = f"{train.anneal_mode} annealing of {train.anneal}"
    print(f"training  {train.epochs} epochs, batch {train.batch_size}, M = {train.n_samples}, {annealing}, seed {train.seed}")
    print("versions  " + ", ".join(f"{name} {version}" for name, version in info["versions"].items()))
    report = directory.report()
    if "diverged_at_epoch" in report:
        print(f"ended     diverged at epoch {report['diverged_at_epoch']:.1f}")
    if rows:
        last = rows[-1]
        epoch, minutes, eps = (float(last[name]) for name in ("epoch", "minutes", "eps_x"))
        print(f"progress  epoch {epoch:g} of {train.epochs} after {minutes:.1f} minutes, eps {eps:.3g}, steps skipped {last['skipped']}")
        print(f"last      bound {float(last['bound']):.2f}, held out {float(last['test_bound']):.2f}{_scores(last)}")
    elif "bound" in report:  # of a start alone
        print(f"progress  the start alone, after {report['minutes']:.1f} minutes")
        print(f"last      held out {report['bound']:.2f}{_scores(report)}")
    else:
        print("progress  no evaluation yet")
    return 0


def _scores(values: Mapping[str, Any]) -> str:
    return "".join(f", {name} {100 * float(values[name]):.2f}%" for name in ("accuracy", "nmi", "ari") if name in values)
