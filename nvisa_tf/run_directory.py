"""The layout of a run directory, known here and nowhere else.

RUN/config.toml     the resolved configuration; usable as --config
RUN/run.json        format, seed, versions, machine, data set: what the run was made from and with
RUN/metrics.csv     a row an evaluation
RUN/report.json     the last scores
RUN/init.json       how the start from an autoencoder went, where the run had one
RUN/checkpoints/    for --resume
RUN/tensorboard/    event files
RUN/plots/          pictures
RUN/model.keras     the trained model, to share
RUN/.lock           held by the process that trains

A folder of restarts has such a run for each seed, restarts.csv and restarts.json.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import io
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nvisa_tf.config import RunConfig, options_from_toml
from nvisa_tf.files import write_text

FORMAT = 1
RESTARTS = "restarts.json"  # in a folder of restarts: which run was chosen, and why
PACKAGES = ("nvisa-tf", "tensorflow", "keras", "tensorflow-probability", "numpy", "scikit-learn", "umap-learn")


class RunDirectory:
    """One run's files. Make it with `create` or `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.toml"
        self.info_file = path / "run.json"
        self.metrics_file = path / "metrics.csv"
        self.report_file = path / "report.json"
        self.init_file = path / "init.json"
        self.checkpoints = path / "checkpoints"
        self.tensorboard = path / "tensorboard"
        self.plots = path / "plots"
        self.model_file = path / "model.keras"

    @classmethod
    def create(cls, path: str | os.PathLike[str] | None, config: RunConfig, data: dict[str, Any], command: str = "") -> RunDirectory:
        """Make a new run directory.

        Args:
          path: where; None: runs/<data set>-<date>-<time>. Made with its parents.
          config: the resolved configuration.
          data: what to remember about the data set, plain values.
          command: the command line.

        Raises:
          ValueError: something is there already, or it cannot be written.
        """
        chosen = Path(path) if path else free_name(config)
        run = cls(chosen)
        try:
            run.path.mkdir(parents=True, exist_ok=True)
            run.check_vacant()
            for folder in (run.checkpoints, run.tensorboard, run.plots):
                folder.mkdir(exist_ok=True)
            write_text(run.config_file, config.to_toml())
            info = {"format": FORMAT, "seed": config.train.seed, "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "command": command}
            info.update(machine=_machine(), versions=_versions(), data=data)
            write_text(run.info_file, json.dumps(info, indent=2) + "\n")
        except OSError as error:
            raise ValueError(f"The run cannot be written to {run.path} ({error.strerror}); choose another --out.") from error
        return run

    def check_vacant(self) -> None:
        """Raise ValueError where anything stands but what a `create` leaves that was killed on its way."""
        if self.path.exists() and not (self.path.is_dir() and (self._abandoned() or not any(self.path.iterdir()))):
            go_on = f", or --resume {self.path}" if self.info_file.is_file() else ""
            raise ValueError(f"{self.path} is not empty, and a run never overwrites anything; choose another --out{go_on}.")

    def _abandoned(self) -> bool:
        """Whether the folder holds no more than what a `create` that was killed on its way leaves."""
        folders = {self.checkpoints, self.tensorboard, self.plots}
        empty = all(path in folders and not any(path.iterdir()) for path in self.path.iterdir() if path.is_dir())
        others = [path for path in self.path.iterdir() if not path.is_dir()]
        return empty and all(path == self.config_file or path.name.endswith((".tmp.toml", ".tmp.json")) for path in others)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """An existing run.

        Raises:
          ValueError: it is not a run directory, or one of a newer format, or damaged.
        """
        run = cls(Path(path))
        if (run.path / RESTARTS).is_file():
            chosen = _read(run.path / RESTARTS, "it is damaged").get("run")
            raise ValueError(f"{path} is a folder of restarts; give the run in it that was chosen, {run.path / str(chosen)}.")
        if not run.info_file.is_file() or not run.config_file.is_file():
            raise ValueError(f"{path} is not a run directory: it has no run.json and config.toml; give a folder that nvisa-tf train wrote.")
        version = run.info().get("format")
        if not isinstance(version, int) or version < 1:
            raise ValueError(f"{run.info_file} names no format; the run directory is damaged.")
        if version > FORMAT:
            raise ValueError(f"{path} has run format {version}, and this nvisa-tf knows formats up to {FORMAT}; upgrade nvisa-tf.")
        return run

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this run; a killed process gives its lock back.

        Raises:
          ValueError: another process holds it.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ValueError(f"Another process is training {self.path}; wait for its end, or stop it first.") from None
        try:
            yield
        finally:
            lock.release()

    def info(self) -> dict[str, Any]:
        """What run.json holds."""
        return _read(self.info_file, "the run directory is damaged")

    def config(self) -> RunConfig:
        """The run's resolved configuration."""
        try:
            return RunConfig().replace(options_from_toml(self.config_file.read_text()))
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.config_file} cannot be used: {error}") from error

    def check_data(self, fingerprint: dict[str, Any]) -> None:
        """Raise ValueError where training data with this fingerprint are not those that the run was made with; runs of old know no data."""
        kept = self.info().get("data", {}).get("fingerprint", fingerprint)
        if kept != fingerprint:
            raise ValueError(
                f"The training data of {self.path} have changed since it began: they were {kept['dtype']} {kept['shape']} and are "
                f"{fingerprint['dtype']} {fingerprint['shape']}{'' if kept['shape'] != fingerprint['shape'] else ', of other values'}; "
                "start a new run (--start-from takes this one's model)."
            )

    def lengthen(self, epochs: int) -> None:
        """Make the run one of so many epochs."""
        write_text(self.config_file, self.config().replace({"epochs": epochs}).to_toml())

    def write_report(self, report: dict[str, Any]) -> None:
        """Replace report.json."""
        write_text(self.report_file, json.dumps(report, indent=2) + "\n")

    def report(self) -> dict[str, Any]:
        """What report.json holds, or nothing before the first end of training."""
        return _read(self.report_file, "remove it") if self.report_file.is_file() else {}

    def write_init(self, report: dict[str, Any]) -> None:
        """Replace init.json."""
        write_text(self.init_file, json.dumps(report, indent=2) + "\n")

    def init(self) -> dict[str, Any]:
        """What init.json holds, or nothing where the run started from random weights."""
        return _read(self.init_file, "remove it") if self.init_file.is_file() else {}

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add a row to metrics.csv, with the header first in a new file."""
        new = not self.metrics_file.exists()
        with open(self.metrics_file, "a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)

    def metrics(self) -> list[dict[str, str]]:
        """The whole rows of metrics.csv; a row that a kill cut short is left out."""
        if not self.metrics_file.is_file():
            return []
        with open(self.metrics_file, newline="") as file:
            return [row for row in csv.DictReader(line for line in file if line.endswith("\n")) if None not in row.values()]

    def rewind_metrics(self, step: int) -> None:
        """Drop rows after `step`; they will be made again, the same, by the resumed run."""
        rows = [row for row in self.metrics() if int(row["step"]) <= step]
        if not rows:
            self.metrics_file.unlink(missing_ok=True)
            return
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.metrics_file, text.getvalue())


def free_name(config: RunConfig, kind: str = "") -> Path:
    """A name that nothing has yet: runs/<data set><kind>-<date>-<time>."""
    base = f"{Path(config.data.dataset).stem}{kind}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (base if i == 1 else f"{base}-{i}" for i in range(1, 10_000))
    return next(path for name in names if not (path := Path("runs") / name).exists())


def _read(file: Path, what_then: str) -> dict[str, Any]:
    """What a JSON file holds, or a ValueError that names it; {} where that is no object."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}); {what_then}.") from error
    return content if isinstance(content, dict) else {}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _machine() -> dict[str, Any]:
    return {"system": platform.system(), "processor": platform.machine(), "cpus": os.cpu_count()}
