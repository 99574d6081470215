"""nvisa-tf info; loads no TensorFlow."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import Any

from nvisa_tf.config.options import as_text
from nvisa_tf.config.run import RunConfig, section_of
from nvisa_tf.io.names import given_names
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.report.text import number_of_clusters, stopped_paying


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of info."""
    parser.add_argument("run", metavar="RUN", help="a run directory")


def run(flags: argparse.Namespace) -> int:
    """Print what is known of a run."""
    directory = RunDirectory.open(flags.run)
    info, config, rows = directory.info(), directory.config(), directory.metrics()
    print(f"run       {directory.path}, made {info['created']} by: {info['command'] or 'the library'}")
    print(f"data      {info['data'].get('name')}: {info['data'].get('description')}")
    if left_out := info["data"].get("left_out"):
        print(f"left out  {left_out} files or rows; clusters.csv says why")
    model, train = config.model, config.train
    if merged := info["data"].get("merged"):
        groups = "; ".join(" and ".join(map(str, group)) for group in merged["groups"] if len(group) > 1)
        print(f"merged    clusters {groups} of {merged['run']}, which is what was trained")
    if found := info["data"].get("number_of_clusters"):
        print(f"found     {number_of_clusters(found)}")
    print(f"model     {config.method}: {model.n_clusters} clusters, z of {model.latent_dim}, input {list(model.input_shape)}")
    print(f"training  {train.epochs} epochs, batch {train.batch_size}, seed {train.seed}{_changed(config)}")
    print("versions  " + ", ".join(f"{name} {version}" for name, version in info["versions"].items()))
    report = directory.report()
    held_out = report.get("held_out", True)
    if "diverged_at_epoch" in report:
        print(f"ended     diverged at epoch {report['diverged_at_epoch']:.1f}")
    if ends := stopped_paying(report):
        print(f"ended     {ends}")
    if rows:
        last = rows[-1]
        eps = f", eps {float(last['eps_x']):.3g}" if "eps_x" in last else ""
        skipped = f", steps skipped {last['nonfinite_steps']}" if "nonfinite_steps" in last else ""
        print(f"progress  epoch {float(last['epoch']):g} of {train.epochs} after {float(last['minutes']):.1f} minutes{eps}{skipped}")
        print(f"last      {_measured(last, held_out)}")
    elif "minutes" in report and "examples" in report:  # of a last stage without steps
        print(f"progress  finished after {report['minutes']:.1f} minutes")
        print(f"last      {_measured(report, held_out)}")
    elif stages := directory.stages():
        last = stages[-1]
        print(f"progress  stage {last['stage']}, epoch {float(last['epoch']):g}, after {float(last['minutes']):.1f} minutes")
    else:
        print("progress  no evaluation yet")
    if given := given_names(directory):
        print("names     " + ", ".join(f"{k} {given[k]}" for k in sorted(given)))
    for warning in report.get("warnings", ()):
        print(f"warning   {warning}")
    return 0


def _measured(values: Mapping[str, Any], held_out: bool) -> str:
    names = {"bound": "bound", "held_out_iw_bound": "held out" if held_out else "of all data"}
    bounds = [f"{words} {float(values[name]):.2f}" for name, words in names.items() if math.isfinite(float(values.get(name) or "nan"))]
    return ", ".join(bounds + [f"{name} {100 * float(values[name]):.2f}%" for name in ("accuracy", "nmi", "ari") if name in values])


def _changed(config: RunConfig) -> str:
    """The method's own options that are not their defaults."""
    default, general = RunConfig.of(config.method).options(), {"n_clusters", "latent_dim", "input_shape"}
    own = [name for name, table in section_of(config.method).items() if table == "model" and name not in general]
    values = config.options()
    changed = [f"{name} {as_text(values[name])}" for name in own if values[name] != default[name]]
    return "".join(f", {text}" for text in changed)
