"""A whole run's configuration: the general options, a method's own, validation, TOML.

Each field carries its help text and, where it has them, its choices. The command line makes its
flags from these fields, so a new option is one line and nothing elsewhere.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from nvisa_tf.config.backbones import PIXELS, is_file
from nvisa_tf.config.datasets import DATASETS
from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.networks import ModelConfig
from nvisa_tf.config.nvisa import NVISAOptions
from nvisa_tf.config.options import AutoFloat, check_fields, coerce, listed, near, option

# What a choice among restarts can go by, without labels; the first is the default.
CRITERIA = {
    "mean_pairwise_nmi": "mean NMI with the other restarts' clusters",
    "held_out_iw_bound": "the held-out importance-weighted bound, nats",
    "early_iw_bound": "the held-out bound when eps first was at most 0.5 in training, nats",
    "silhouette": "mean silhouette of the embeddings",
    "cluster_size_entropy": "entropy of the cluster sizes, nats",
}


# How the options that look for clusters before training say that there are some.
WITHOUT_INITIALIZATION = {"init": "random", "pretrain_epochs": 0}


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which examples to use and how to bring them to the model's scale."""

    dataset: str = option(
        "digits",
        f"{', '.join(DATASETS)}, or a path: a folder of images, a table (.csv, .tsv, .txt, also .gz; .parquet, .h5ad) or an array "
        "(.npy, .npz with the keys x and y, or x_train, x_test, y_train and y_test)",
    )
    data_dir: str = option(
        "", "tensorflow-datasets folder, or that of a data file not at its path; empty: TFDS_DATA_DIR, then its own default"
    )
    split: str = option("train", "train on the train split and score on the test split, or both on everything", ("train", "all"))
    test_fraction: AutoFloat = option(
        "auto", "share of a file's or folder's examples held out for scoring; auto: 0.1 where there are labels, else 0", minimum=0.0
    )
    scaling: str = option(
        "auto",
        "input scaling; auto: bytes by 255, floats in [0, 1] as they are, other images by min-max, vectors of unit_length centred, others "
        "standardized",
        ("auto", "none", "minmax", "center", "standardize"),
    )
    image_shape: tuple[int, ...] = option(
        (), "of a folder's images: height and width, and 3 for colour, such as 28,28 or 32,32,3 (none: by the images)", minimum=1
    )
    resize: str = option(
        "auto",
        "how images of another aspect ratio come to the shape: with a border, cut, or distorted; auto: cut for a backbone, else with a "
        "border",
        ("auto", "pad", "crop", "stretch"),
    )
    backbone: str = option(
        "",
        "pretrained network that makes vectors of photos: one of keras.applications, such as resnet50, or mobilenetv3small for phones, or "
        "a .keras or .tflite file; empty: none, but resnet50 of stl10, cifar10 and cifar100, as in the paper, for which none means none",
    )
    backbone_weights: str = option("", "file of weights of a network of keras.applications; empty: ImageNet's, by download")
    backbone_pixels: str = option(
        "",
        "values that a file's network wants: 0 to 255, 0 to 1, -1 to 1, or by ImageNet's mean and standard deviation; empty: what it says",
        ("", *PIXELS),
    )
    backbone_size: int = option(0, "side of the square photos that a backbone gets, pixels; 0: what it was made for", minimum=0)
    label: str = option("", "a table's column of labels, for scoring only; empty: one that is named so; none: no column")
    id: str = option("", "a table's column of identifiers; empty: one that is named so; none: no column")
    columns: tuple[str, ...] = option((), "a table's columns to cluster by, by name (none: all but label and identifiers)")
    drop: tuple[str, ...] = option((), "a table's columns to leave out, by name")
    header: str = option("auto", "whether a table's first line has the columns' names", ("auto", "yes", "no"))
    missing: str = option(
        "refuse",
        "a table's missing values: refuse, drop the row, or fill in the column's mean or median",
        ("refuse", "drop", "mean", "median"),
    )
    text_columns: str = option(
        "auto", "a table's columns of text; auto: one-hot where they have at most 20 different values, else left out", ("auto", "drop")
    )
    layer: str = option("", "which layer of an .h5ad file; empty: X")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.backbone == "none":
            object.__setattr__(self, "backbone", "")
        if self.test_fraction != "auto" and self.test_fraction >= 1:
            raise ValueError(f"test_fraction is {self.test_fraction}; it must be below 1.")
        for name in ("backbone_weights", "backbone_pixels", "backbone_size"):
            if getattr(self, name) and not self.backbone:
                raise ValueError(f"{name} is of a backbone, and there is none; name one by backbone, or leave it out.")
        if self.backbone and self.image_shape:
            raise ValueError("image_shape is for images whose pixels are clustered; with a backbone give backbone_size, or leave it out.")

    @property
    def resizing(self) -> str:
        """`resize`, or what it means where it is "auto"; photos are cut, as those that backbones were trained on."""
        return self.resize if self.resize != "auto" else "crop" if self.backbone else "pad"


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """What every method's training has: its length, its seed, and what happens how often."""

    epochs: int = option(1400, "passes over the training data; 0: the initialization alone, or the model of init_from", minimum=0)
    stop_early: bool = option(False, "end each stage when it has stopped paying; epochs, and init_epochs, are limits then")
    batch_size: int = option(128, "examples a step", minimum=1)
    learning_rate: float = option(1e-3, "Adam's learning rate at the start", minimum=0.0)
    init_from: str = option(
        "", "a run whose model, trained weights and input scaling to begin with (with eps_start 0.25 or so, for nvisa); empty: none"
    )
    seed: int = option(0, "seed of the run: initial weights (by the command line), shuffle, draws", minimum=0)
    eval_epochs: float = option(5.0, "epochs between evaluations", minimum=1e-9)
    eval_examples: int = option(1000, "held-out examples for the bound during training", minimum=1)
    checkpoint_minutes: float = option(2.0, "minutes between checkpoints (also one at every end)", minimum=0.0)
    keep_checkpoints: int = option(3, "checkpoints kept", minimum=2)
    max_nonfinite_steps: int = option(50, "stop after so many steps in a row whose loss or gradient is not finite", minimum=1)
    max_minutes: float = option(0.0, "end cleanly after so many minutes, ready to resume; 0: no limit", minimum=0.0)
    steps_per_call: int = option(100, "training steps in one call of the compiled function", minimum=1)
    pipeline: str = option(
        "auto", "memory: the data on the device; stream: batches by tf.data; auto: by size", ("auto", "memory", "stream")
    )
    xla: bool = option(False, "compile the step with XLA (pays on GPUs and on some CPUs, after a longer start)")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.seed >= 2**31:
            raise ValueError(f"seed is {self.seed}; it must be below 2**31.")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A whole run: the method, the data, the method's own options, and training."""

    method: str = "nvisa"
    data: DataConfig = DataConfig()
    model: ModelConfig = dataclasses.field(default_factory=NVISAOptions)
    train: TrainConfig = TrainConfig()

    def __post_init__(self) -> None:
        _check_method(self.method)
        if not isinstance(self.model, METHODS[self.method].options):
            raise ValueError(
                f"The options are {type(self.model).__name__}, and method is {self.method}; use RunConfig.of({self.method!r})."
            )
        self.model.check_run(self.data, self.train)

    @classmethod
    def of(cls, method: str, options: Mapping[str, Any] | None = None) -> RunConfig:
        """A method's configuration, its defaults but for `options`; errors as `replace`."""
        _check_method(method)
        return _replaced(method, {"data": DataConfig(), "model": METHODS[method].options(), "train": TrainConfig()}, options or {})

    def replace(self, options: Mapping[str, Any]) -> RunConfig:
        """A copy with options set by their bare names, such as {"n_clusters": 20}; another "method" begins with its own defaults.

        Raises:
          ValueError: a name that the method does not have (near matches are named), or a bad value.
        """
        options = dict(options)
        method = options.pop("method", self.method)
        if method != self.method:
            _check_method(method)
            return _replaced(method, {"data": self.data, "model": METHODS[method].options(), "train": self.train}, options)
        return _replaced(method, {"data": self.data, "model": self.model, "train": self.train}, options)

    def with_absolute_paths(self) -> RunConfig:
        """The same with its paths absolute, so that it means the same in another folder."""
        options = self.options()
        names = ["data_dir", "init_from", "autoencoder_from", "backbone_weights", *([] if self.data.dataset in DATASETS else ["dataset"])]
        names += ["backbone"] if is_file(self.data.backbone) else []
        return self.replace({name: str(Path(options[name]).resolve()) for name in names if options.get(name)})

    def options(self) -> dict[str, Any]:
        """All options by bare name, but for the method."""
        return {name: getattr(getattr(self, section), name) for name, section in section_of(self.method).items()}

    def to_toml(self) -> str:
        """The configuration as TOML: the method, and the tables [data], [model] and [train]."""
        return tomli_w.dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The configuration as nested plain values that JSON and TOML can hold."""
        return listed(dataclasses.asdict(self))


def _check_method(method: str) -> None:
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"method is {method!r}{near(str(method), METHODS)}.")


def _replaced(method: str, parts: dict[str, Any], options: Mapping[str, Any]) -> RunConfig:
    sections, kinds = section_of(method), option_types(method)
    changes: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        if name not in sections:
            raise ValueError(f"There is no option {name!r}{_of_other(name, method) or near(name, sections)}.")
        changes.setdefault(sections[name], {})[name] = coerce(name, value, kinds[name])
    return RunConfig(method, **{name: dataclasses.replace(part, **changes.get(name, {})) for name, part in parts.items()})


def _of_other(name: str, method: str) -> str:
    others = [other for other in METHODS if name in section_of(other)]
    return f" of the method {method}; it is one of {', '.join(others)}" if others else ""


def sections(method: str) -> dict[str, type]:
    """The dataclasses of a method's options by the name of their TOML table."""
    return {"data": DataConfig, "model": METHODS[method].options, "train": TrainConfig}


def without_initialization(method: str) -> dict[str, Any]:
    """The options by which a method goes on from the clusters of a model that it is given, and makes none of its own."""
    return {name: value for name, value in WITHOUT_INITIALIZATION.items() if name in section_of(method)}


@functools.cache
def section_of(method: str) -> dict[str, str]:
    """The table of each option that a method has, by its bare name."""
    return {field.name: name for name, cls in sections(method).items() for field in dataclasses.fields(cls)}


@functools.cache
def option_types(method: str) -> dict[str, Any]:
    """The type of each option that a method has."""
    return {name: kind for cls in sections(method).values() for name, kind in typing.get_type_hints(cls).items()}


def options_from_toml(text: str) -> dict[str, Any]:
    """Options by bare name, "method" among them if it is there, from TOML text, with or without the tables [data], [model], [train].

    Raises:
      ValueError: not TOML, an unknown option, an option in another table than its own, or a bad value.
    """
    tree = parse_toml(text)
    method = tree.get("method", "nvisa")
    _check_method(method)
    where, options = section_of(method), dict[str, Any]()
    for key, value in tree.items():
        if not isinstance(value, dict):
            options[key] = value
            continue
        if key not in sections(method):
            raise ValueError(f"There is no table [{key}]; the tables are {', '.join(f'[{s}]' for s in sections(method))}.")
        for name, inner in value.items():
            if where.get(name, key) != key:
                raise ValueError(f"{name} stands in [{key}]; it belongs in [{where[name]}].")
            options[name] = inner
    RunConfig.of(method, {name: value for name, value in options.items() if name != "method"})
    return options


def parse_toml(text: str) -> dict[str, Any]:
    """The tree of TOML text; ValueError, in one sentence, for what is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"It is not valid TOML: {error}.") from error
