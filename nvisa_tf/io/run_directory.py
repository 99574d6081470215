"""The layout of a run directory, known here and nowhere else.

RUN/config.toml     the resolved configuration; usable as --config
RUN/run.json        format, seed, versions, machine, data set: what the run was made from and with
RUN/metrics.csv     evaluations in the last stage of training, one in each row
RUN/stages.csv      how the stages before it went
RUN/report.json     the last scores
RUN/init.json       the bound before the last stage, and what the stages before it found, where there were such
RUN/checkpoints/    for --resume; of a stage before the last in a folder of its name
RUN/tensorboard/    event files
RUN/plots/          pictures
RUN/model.keras     the trained model, to share
RUN/initialization.keras: before the last stage, where it did not begin with random weights; given for RUN, it is RUN as it was then
RUN/clusters.csv    the cluster of every example, in the order of the file
RUN/reference.npz   what later examples are compared with
RUN/report.html     the report as a page
RUN/names.json      what a person calls the clusters, where they have names
RUN/export/         exported files, where there are such and nothing else was said; RUN/site/, a web page
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
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nvisa_tf.config import format1
from nvisa_tf.config.run import RunConfig, options_from_toml
from nvisa_tf.io.files import write_text

FORMAT = 3  # 1 has other names for options and metrics; 1 and 2 know images that are distorted alone (until November 2026)
INITIALIZATION = "initialization.keras"
RESTARTS = "restarts.json"  # in a folder of restarts: which run was chosen, and why
PACKAGES = ("nvisa-tf", "tensorflow", "keras", "tensorflow-probability", "numpy", "scikit-learn", "umap-learn")


ANSWERS = ("clusters_file", "reference_file", "outliers_file", "page_file")  # what is made of a model whose training has ended


class RunDirectory:
    """One run's files. Make it with `create` or `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.toml"
        self.info_file = path / "run.json"
        self.metrics_file = path / "metrics.csv"
        self.stages_file = path / "stages.csv"
        self.report_file = path / "report.json"
        self.init_file = path / "init.json"
        self.checkpoints = path / "checkpoints"
        self.tensorboard = path / "tensorboard"
        self.plots = path / "plots"
        self.model_file = path / "model.keras"
        self.initialization_file = path / INITIALIZATION
        self.clusters_file = path / "clusters.csv"
        self.reference_file = path / "reference.npz"
        self.outliers_file = path / "outliers.npz"
        self.page_file = path / "report.html"

    def __fspath__(self) -> str:
        return str(self.path)

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
            is_trained = self.info_file.is_file() and not self.data_info().get("merged")
            go_on = f", or --resume {self.path}" if is_trained else ""
            raise ValueError(f"{self.path} is not empty, and a run never overwrites anything; choose another --out{go_on}.")

    def _abandoned(self) -> bool:
        """Whether the folder holds no more than what a `create` that was killed on its way leaves."""
        folders = {self.checkpoints, self.tensorboard, self.plots}
        empty = all(path in folders and not any(path.iterdir()) for path in self.path.iterdir() if path.is_dir())
        others = [path for path in self.path.iterdir() if not path.is_dir()]
        return empty and all(path == self.config_file or path.name.endswith((".tmp.toml", ".tmp.json")) for path in others)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """An existing run; of RUN/initialization.keras RUN as it was before its last stage, to ask but not to train.

        Raises:
          ValueError: it is not a run directory, or one of a newer format, or damaged.
        """
        if Path(path).name == INITIALIZATION:
            return cls.open(Path(path).parent)._before_its_last_stage()
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

    def _before_its_last_stage(self) -> RunDirectory:
        if not self.initialization_file.is_file():
            raise ValueError(f"{self.path} has no {INITIALIZATION}, which runs keep that train on from an initialization; give the run.")
        self.model_file, self.report_file = self.initialization_file, self.init_file
        for name in ("metrics_file", *ANSWERS):  # those of the trained model are not of this one
            setattr(self, name, self.path / f"initialization-{getattr(self, name).name}")
        return self

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this run; a killed process gives its lock back.

        Raises:
          ValueError: another process holds it, or it stands for the run before its last stage.
        """
        if self.model_file == self.initialization_file:
            raise ValueError(f"{self.model_file} is what the run began with; give {self.path} to go on, or --init-from to begin with it.")
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

    def data_info(self) -> dict[str, Any]:
        """What run.json knows of the training data."""
        return self.info().get("data", {})

    def table(self) -> dict[str, Any] | None:
        """What it takes to find the columns of the run's table in another one (`nvisa_tf.data.Origin.table`); None for other data."""
        return self.data_info().get("table") or None

    def backbone(self) -> dict[str, Any] | None:
        """What made the vectors of photos that the run was trained on (`nvisa_tf.data.Origin.backbone`); None: nothing that is known."""
        return self.data_info().get("backbone") or None

    @property
    def _is_old(self) -> bool:
        return self.info().get("format", FORMAT) < FORMAT

    @property
    def _has_old_names(self) -> bool:
        return self.info().get("format") == 1

    def config(self) -> RunConfig:
        """The run's resolved configuration."""
        try:
            text = self.config_file.read_text(encoding="utf-8")
            options = format1.options_from_toml(text) if self._has_old_names else options_from_toml(text)
            stretched = self._is_old and options.get("image_shape")  # a folder's images, which had to have a shape
            return RunConfig().replace({"resize": "stretch", **options} if stretched else options)
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.config_file} cannot be used: {error}") from error

    def upgrade(self) -> None:
        """Write a run of an older format as one of today's, so that it can go on; a kill on the way leaves it readable."""
        if not self._is_old:
            return
        config, report, init, rows = self.config(), self.report(), self.init(), self.metrics()
        if rows:
            write_text(self.metrics_file, _csv(rows))
        if report:
            self.write_report(report)
        if init:
            self.write_init(init)
        write_text(self.config_file, config.to_toml())
        write_text(self.info_file, json.dumps({**self.info(), "format": FORMAT}, indent=2) + "\n")

    def check_data(self, fingerprint: dict[str, Any]) -> None:
        """Raise ValueError where training data with this fingerprint are not those that the run was made with; runs of old know no data."""
        kept = self.info().get("data", {}).get("fingerprint", fingerprint)
        if kept != fingerprint:
            raise ValueError(
                f"The training data of {self.path} have changed since it began: they were {kept['dtype']} {kept['shape']} and are "
                f"{fingerprint['dtype']} {fingerprint['shape']}{'' if kept['shape'] != fingerprint['shape'] else ', of other values'}; "
                "start a new run (--init-from takes this one's model)."
            )

    def check_own(self) -> None:
        """Raise ValueError where the clusters are those of another run, merged, as such a run is not trained."""
        if source := self.data_info().get("merged", {}).get("run"):
            raise ValueError(f"{self.path} holds merged clusters, which are not trained; train {source}, whose they are, and merge again.")

    def lengthen(self, epochs: int) -> None:
        """Make the run one of so many epochs."""
        write_text(self.config_file, self.config().replace({"epochs": epochs}).to_toml())

    def write_report(self, report: dict[str, Any]) -> None:
        """Replace report.json."""
        write_text(self.report_file, json.dumps(report, indent=2) + "\n")

    def report(self) -> dict[str, Any]:
        """What report.json holds, or nothing before the first end of training."""
        report = _read(self.report_file, "remove it") if self.report_file.is_file() else {}
        return format1.renamed(report, format1.REPORT) if self._has_old_names else report

    def write_init(self, report: dict[str, Any]) -> None:
        """Replace init.json."""
        write_text(self.init_file, json.dumps(report, indent=2) + "\n")

    def remove_answers(self) -> None:
        """Remove what answers for the run as it is, as training goes on; until it has ended, the checkpoints answer."""
        for name in ("model_file", "report_file", *ANSWERS):
            getattr(self, name).unlink(missing_ok=True)

    def init(self) -> dict[str, Any]:
        """What init.json holds, or nothing where the run began with random weights."""
        found = _read(self.init_file, "remove it") if self.init_file.is_file() else {}
        return format1.renamed(found, format1.REPORT) if self._has_old_names else found

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add a row to metrics.csv, with the header first in a new file."""
        _append(self.metrics_file, row)

    def metrics(self) -> list[dict[str, str]]:
        """The whole rows of metrics.csv; a row that a kill cut short is left out."""
        rows = _rows(self.metrics_file)
        return [format1.renamed(row, format1.METRICS) for row in rows] if self._has_old_names else rows

    def rewind_metrics(self, step: int) -> None:
        """Drop rows after `step`; they will be made again, the same, by the resumed run."""
        _replace_rows(self.metrics_file, [row for row in self.metrics() if int(row["step"]) <= step])

    def append_stage(self, row: dict[str, Any]) -> None:
        """Add a row to stages.csv: stage, epoch, step, minutes, and what the stage measures."""
        _append(self.stages_file, row)

    def stages(self) -> list[dict[str, str]]:
        """The whole rows of stages.csv."""
        return _rows(self.stages_file)

    def rewind_stages(self, stage: str, step: int, order: Sequence[str]) -> None:
        """Drop rows of stages.csv after a step of a stage; `order` has the stages' names."""
        place = order.index(stage)

        def came_before(row: dict[str, str]) -> bool:
            there = order.index(row["stage"]) if row["stage"] in order else -1
            return there < place or (there == place and int(row["step"]) <= step)

        _replace_rows(self.stages_file, [row for row in self.stages() if came_before(row)])

    def has_checkpoints(self) -> bool:
        """Whether any stage left one."""
        return any(self.checkpoints.rglob("step-*.index"))

    def remove_checkpoints(self, stage: str) -> None:
        """Remove the checkpoints of a stage before the last."""
        shutil.rmtree(self.checkpoints / stage, ignore_errors=True)


def _append(file: Path, row: dict[str, Any]) -> None:
    """Add a row to a .csv file, with the header first in a new one; new columns are added to the rows before."""
    header = list(row)
    if file.exists():
        with open(file, newline="") as stream:
            header = next(csv.reader(stream), header)
        if not set(row) <= set(header):
            write_text(file, _csv([*_rows(file), row]))
            return
    with open(file, "a", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=header)
        if not stream.tell():
            writer.writeheader()
        writer.writerow(row)


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with open(file, newline="") as stream:
        return [row for row in csv.DictReader(line for line in stream if line.endswith("\n")) if None not in row.values()]


def _replace_rows(file: Path, rows: list[dict[str, str]]) -> None:
    if rows:
        write_text(file, _csv(rows))
    else:
        file.unlink(missing_ok=True)


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def free_name(config: RunConfig, kind: str = "") -> Path:
    """A name that nothing has yet: runs/<data set><kind>-<date>-<time>."""
    base = f"{Path(config.data.dataset).stem}{kind}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (base if i == 1 else f"{base}-{i}" for i in range(1, 10_000))
    return next(path for name in names if not (path := Path("runs") / name).exists())


def _read(file: Path, what_then: str) -> dict[str, Any]:
    """What a JSON file holds, or a ValueError that names it; {} where that is no object."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
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
