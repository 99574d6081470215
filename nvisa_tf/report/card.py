"""The model card: what the clusters were made from, how, and what they are not."""

from __future__ import annotations

import importlib.metadata
import json
import time
from typing import Any

import numpy as np

from nvisa_tf.config.methods import METHODS, asks_for_equal_sizes
from nvisa_tf.config.options import as_text
from nvisa_tf.config.run import RunConfig, section_of
from nvisa_tf.data import Splits
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.report.text import counted, number, stopped_paying, tried

GENERAL = {"dataset", "data_dir", "input_shape", "seed", "n_clusters"}  # options that the card says in words
PLACES = ("data_dir", "init_from")  # options that are paths, which concern nobody else
LIMITS = (
    "Clusters were found without labels. Labels, where there were any, were used for scores alone.",
    "A cluster is a set of examples that the model finds alike. It need not be a class that a person would name.",
    "A probability says how sure the model is among its own clusters. An example unlike all others gets a cluster too.",
)
NUMBER_GIVEN = "The number of clusters was chosen by the user. Another number, seed or method may give other clusters."
NUMBER_FOUND = "The number of clusters was found among the data. It is a proposal; another number, seed or method may give other clusters."
MERGED = "Clusters of another run were merged after training, in the number or the groups that the user chose. Others would do as well."
EQUAL_SIZES = (
    "This way of clustering asks for clusters of about equal size. A group that is much larger than others may be split, and small ones "
    "may be joined; compare with --method ae_gmm."
)


def _limits(config: RunConfig, about: dict[str, Any]) -> list[str]:
    number = MERGED if about.get("merged") else NUMBER_FOUND if about.get("number_of_clusters") else NUMBER_GIVEN
    return [*LIMITS, number, *([EQUAL_SIZES] if _equal_sizes(config) else [])]


def _equal_sizes(config: RunConfig) -> bool:
    return asks_for_equal_sizes(config.method, config.options().get("init", ""))


def card(run: RunDirectory, config: RunConfig, splits: Splits, report: dict[str, Any], word: str) -> list[dict[str, Any]]:
    """The card as plain values: [{"title", "rows": [[term, text], ...]}].

    Args:
      run: the run, whose run.json says what it was made with.
      config: its configuration.
      splits: its data.
      report: its scores.
      word: what an example is called, such as "image".
    """
    info = run.info()
    about = info.get("data", {})
    return [
        {"title": "Data", "rows": _data(splits, about, word)},
        {"title": "Method", "rows": _method(config, report, info)},
        {"title": "Made with", "rows": _made_with(info)},
        {"title": "Limits", "rows": [["", text] for text in _limits(config, about)]},
    ]


def _data(splits: Splits, about: dict[str, Any], word: str) -> list[list[str]]:
    train, test = splits.train, splits.test
    n = sum(len(data) for _, data in splits.parts())
    rows = [["name", train.name], [f"{word}s", f"{n:,}: {splits.description}"]]
    shape = " x ".join(map(str, train.shape)) + (f" {'pixels' if len(train.shape) == 2 else 'values'}" if train.is_image else " values")
    rows.append([f"each {word}", f"{shape}, {train.x.dtype.name}"])
    if names := train.origin.feature_names:
        rows.append(["columns used", ", ".join(names)])
    rows.append(["labels", "none" if test.y is None else f"{len(np.unique(test.y)):,} different ones, for scores alone"])
    if train.origin.remarks:
        rows.append(["remarks", " ".join(train.origin.remarks)])
    if sha := about.get("fingerprint", {}).get("sha256"):
        rows.append(["fingerprint", f"SHA-256 {sha[:16]} of the training data"])
    return rows


def _method(config: RunConfig, report: dict[str, Any], info: dict[str, Any]) -> list[list[str]]:
    model = config.model
    rows = [
        ["method", f"{config.method}: {METHODS[config.method].summary}"],
        ["clusters", f"{model.n_clusters}, chosen by the user"],
        ["latent space", counted(model.latent_dim, "dimension")],
        ["seed", str(config.train.seed)],
    ]
    default, values = RunConfig.of(config.method).options(), config.options()
    changed = [name for name in section_of(config.method) if name not in GENERAL and values[name] != default[name]]
    shown = [f"{name} = {'(a run)' if name in PLACES else as_text(values[name])}" for name in changed]
    rows.append(["options other than the default", ", ".join(shown) or "none"])
    if told := tried(report.get("initialization", {})):
        rows.append(["networks tried first", told])
    if "epoch" in report:
        rows.append(["training", f"{number(report['epoch'])} epochs, {number(report.get('minutes', 0.0), 3)} minutes"])
    if ends := stopped_paying(report):
        rows.append(["stopped paying", ends])
    if info.get("command"):
        rows.append(["command", info["command"]])
    return rows


def _made_with(info: dict[str, Any]) -> list[list[str]]:
    machine = info.get("machine", {})
    rows = [["date", str(info.get("created", "unknown"))]]
    if machine:
        rows.append(["machine", f"{machine.get('system')}, {machine.get('processor')}, {machine.get('cpus')} processors"])
    versions = {name: version for name, version in info.get("versions", {}).items() if version != "not installed"}
    rows.append(["versions", ", ".join(f"{name} {version}" for name, version in versions.items()) or "unknown"])
    here = importlib.metadata.version("nvisa-tf")
    rows.append(["this page", f"{time.strftime('%Y-%m-%d')}, nvisa-tf {here}" + (f", commit {commit}" if (commit := _commit()) else "")])
    return rows


def _commit() -> str:
    """The commit that this package was installed from, where its installer knows it (PEP 610)."""
    text = importlib.metadata.distribution("nvisa-tf").read_text("direct_url.json")
    return str(json.loads(text).get("vcs_info", {}).get("commit_id", ""))[:12] if text else ""
