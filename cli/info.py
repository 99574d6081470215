"""nvisa-tf info; loads no TensorFlow."""

from __future__ import annotations

import argparse

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
    print(f"model     {model.n_clusters} clusters, z of {model.latent_dim}, input {list(model.input_shape)}, {model.likelihood}, {model.posterior} posterior")
    print(f"training  {train.epochs} epochs, batch {train.batch_size}, M = {train.n_samples}, {train.anneal_mode} annealing, seed {train.seed}")
    print("versions  " + ", ".join(f"{name} {version}" for name, version in info["versions"].items()))
    if not rows:
        print("progress  no evaluation yet")
        return 0
    last = rows[-1]
    scores = "".join(f", {name} {100 * float(last[name]):.2f}%" for name in ("accuracy", "nmi", "ari") if name in last)
    print(f"progress  epoch {float(last['epoch']):g} of {train.epochs} after {float(last['minutes']):.1f} minutes, eps {float(last['eps_x']):.3g}")
    print(f"last      bound {float(last['bound']):.2f}, held out {float(last['test_bound']):.2f}{scores}; steps skipped: {last['skipped']}")
    return 0
