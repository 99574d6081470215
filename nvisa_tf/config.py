"""Everything that can be chosen about a run: frozen dataclasses, presets, validation, TOML.

Each field carries its help text and, where it has them, its choices. The command line makes its
flags from these fields, so a new option is one line here and nothing elsewhere.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from nvisa_tf.methods import METHODS
from nvisa_tf.options import check_fields, coerce, listed, near, option

# What a choice among restarts can go by, without labels; the first is the default.
CRITERIA = {
    "agreement": "mean NMI with the other restarts' clusters",
    "bound": "the held-out importance-weighted bound, nats",
    "early_bound": "the bound during training when eps first was at most 0.5, nats",
    "separation": "mean silhouette of the posterior means",
    "entropy": "entropy of the cluster sizes, nats",
}
DATASETS = ("digits", "mnist", "fashion_mnist")  # known by name; anything else is a path


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which examples to use and how to bring them to the model's scale."""

    dataset: str = option("digits", f"{', '.join(DATASETS)}, or a path to a .npy, .npz (keys x, y) or .csv file or a folder of images")
    data_dir: str = option(
        "", "tensorflow-datasets folder, or that of a data file not at its path; empty: TFDS_DATA_DIR, then its own default"
    )
    split: str = option("train", "train on the train split and score on the test split, or both on everything", ("train", "all"))
    test_fraction: float = option(0.1, "share of a file's examples held out for scoring", minimum=0.0)
    scaling: str = option(
        "auto",
        "input scaling; auto: bytes by 255, floats in [0, 1] as they are, other images by min-max, other vectors standardized",
        ("auto", "none", "minmax", "standardize"),
    )
    image_shape: tuple[int, ...] = option(
        (), "with a folder of images: height and width that they are brought to, and 3 for colour, such as 28,28 or 32,32,3", minimum=1
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.test_fraction >= 1:
            raise ValueError(f"test_fraction is {self.test_fraction}; it must be below 1.")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The generative model and its posteriors (Li et al., IJCNN 2020, section "Model").

    `input_shape` is one example's shape, without the batch axis; it comes from the data.
    """

    input_shape: tuple[int, ...] = option((), "shape of one example, taken from the data", minimum=1)
    n_clusters: int = option(10, "number of clusters K", minimum=2)
    latent_dim: int = option(10, "dimensions of z", minimum=1)
    encoder_units: tuple[int, ...] = option((500, 500), "widths of the encoder trunk h(x)", minimum=1)
    posterior_units: int = option(500, "width of the layer of q(z|y,x) in which y joins h(x)", minimum=1)
    decoder_units: tuple[int, ...] = option((500, 500), "widths of the decoder", minimum=1)
    encoder_filters: tuple[int, ...] = option(
        (), "filters of 3x3 convolutions before encoder_units, each of which halves an image; images only", minimum=1
    )
    decoder_filters: tuple[int, ...] = option(
        (),
        "what as many transposed convolutions after decoder_units take in, each of which doubles an image, for mu_x; images only",
        minimum=1,
    )
    likelihood: str = option("gaussian", "p(x|z)", ("gaussian", "bernoulli"))
    binarize: bool = option(False, "Bernoulli of inputs cut at 0.5 to 0 or 1; otherwise of the values in [0, 1] as they are")
    decoder_scale: str = option(
        "network", "sigma_x: a function of z by the network, or one learned value per dimension", ("network", "per_dimension")
    )
    posterior: str = option("full", "q(y|x) q(z|y,x), or q(y|x) q(z|x)", ("full", "mean_field"))
    learn_prior_weights: bool = option(False, "learn pi in p(y) = Cat(pi); otherwise uniform")
    baseline_units: tuple[int, ...] = option((), "hidden widths of nvil's baseline network C(x); nvil without any gets 100", minimum=1)
    hold_scales: bool = option(False, "stop pushing a standard deviation down once it is negligible beside eps")
    l2: float = option(0.0, "L2 penalty on kernels, added to the loss and reported apart from the bound", minimum=0.0)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if isinstance(field.default, tuple):  # JSON and TOML bring lists
                object.__setattr__(self, field.name, tuple(int(n) for n in getattr(self, field.name)))
        check_fields(self)
        if self.binarize and self.likelihood != "bernoulli":
            raise ValueError(f"binarize goes with the Bernoulli likelihood, and likelihood is {self.likelihood}; set it to bernoulli.")
        for name in ("encoder_filters", "decoder_filters"):
            self._check_filters(name, len(getattr(self, name)))

    def _check_filters(self, name: str, times: int) -> None:
        if not times or not self.input_shape:  # which comes from the data
            return
        shape = "x".join(map(str, self.input_shape))
        if len(self.input_shape) not in (2, 3):
            raise ValueError(f"{name} is for images, and these examples have the shape {shape}; leave it out.")
        most = math.ceil(math.log2(max(self.input_shape[:2])))
        if times > most:
            raise ValueError(f"{name} has {times} filters, and images of {shape} can be halved {most} times; give at most so many.")

    @property
    def has_convolutions(self) -> bool:
        """Whether encoder or decoder have convolutions."""
        return bool(self.encoder_filters or self.decoder_filters)

    @property
    def input_dim(self) -> int:
        """Number of values in one example."""
        return math.prod(self.input_shape)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The objective, the annealing, the optimizer and what happens how often."""

    epochs: int = option(1400, "passes over the training data; 0, with init: the start alone", minimum=0)
    batch_size: int = option(128, "examples a step", minimum=1)
    objective: str = option("vimco", "the variational method", tuple(METHODS))
    n_samples: int = option(15, "samples of (y, z) per example, M; of z for each y where the objective enumerates y", minimum=1)
    baseline: str = option("geometric", "mean that stands in for the left-out sample", ("geometric", "arithmetic"))
    decoder_gradient: str = option(
        "all",
        "decoder gradient from all M samples, or from one drawn by its importance weight (unbiased, faster)",
        ("all", "resampled"),
    )
    forward_precision: str = option(
        "float32",
        "dense layers' products in the decoder's passes without gradient (decoder_gradient resampled); bfloat16 is faster on some machines",
        ("float32", "bfloat16"),
    )
    max_rows: int = option(16384, "decoder rows (samples times examples) at once; more go in chunks, the result the same", minimum=1)
    learning_rate: float = option(1e-3, "Adam's learning rate at the start", minimum=0.0)
    lr_halving_epochs: float = option(0.0, "halve the learning rate every so many epochs; 0: never", minimum=0.0)
    lr_eps_power: float = option(0.0, "multiply the learning rate by (eps / eps_start) to this power; 0: no tie", minimum=0.0)
    lr_floor: float = option(0.0, "the learning rate never falls below this", minimum=0.0)
    clip_norm: float = option(0.0, "clip the global gradient norm at this; 0: no clipping", minimum=0.0)
    ema_momentum: float = option(
        0.0, "cluster, score and export with a moving average of the weights, which keeps this much of itself a step; 0: none", minimum=0.0
    )
    anneal: str = option("both", "which standard deviations are annealed", ("both", "x", "z", "none"))
    anneal_mode: str = option("step", "step: eps halves at epoch marks; geometric: a little at every step", ("step", "geometric"))
    eps_start: float = option(1.0, "eps at the start", minimum=0.0)
    eps_halving_epochs: float = option(100.0, "epochs in which eps halves", minimum=1e-9)
    eps_floor: float = option(1e-4, "smallest eps; also the eps of what is not annealed", minimum=0.0)
    init: str = option(
        "random",
        "start: random weights, or an autoencoder's codes clustered by k-means, by a Gaussian mixture (ae_gmm), or by one in their "
        "t-SNE or UMAP map (ae_tsne, ae_umap; not in the paper), or in equal parts by the codes of a network that is to know "
        "an image however it is changed (contrastive; not in the paper); with eps_start 0.25 or so",
        ("random", "kmeans", "ae_gmm", "ae_tsne", "ae_umap", "contrastive"),
    )
    init_epochs: int = option(
        50, "epochs of the autoencoder, and of the contrastive network, where init is not random (500 steps at least)", minimum=1
    )
    start_from: str = option(
        "", "a run whose model, trained weights and input scaling to start from, with eps_start 0.25 or so; empty: none"
    )
    augment: bool = option(False, "let q(y|x) learn to be the same for small changes of an image; not in the paper")
    augment_rotation: float = option(10.0, "with augment or init contrastive: the largest rotation, degrees", minimum=0.0)
    augment_shift: float = option(1 / 14, "likewise: the largest shift, as a share of height and of width", minimum=0.0)
    augment_scale: float = option(0.0, "likewise: height and width by factors from 1 / (1 + this) to 1 + this", minimum=0.0)
    augment_shear: float = option(0.0, "likewise: the largest slant, columns a row", minimum=0.0)
    augment_brightness: float = option(
        0.0,
        "likewise, though not for the autoencoder: all values, whose 0 is to be black, by a factor from 1 / (1 + this) to 1 + this",
        minimum=0.0,
    )
    consistency: float = option(1.0, "with augment: the weight of its term, KL(q(y|x) || q(y|changed x)), nats", minimum=0.0)
    seed: int = option(0, "seed of the run: initial weights (by the command line), shuffle, draws", minimum=0)
    eval_epochs: float = option(5.0, "epochs between evaluations", minimum=1e-9)
    eval_examples: int = option(1000, "held-out examples for the bound during training", minimum=1)
    eval_samples: int = option(50, "samples per example for the bound", minimum=1)
    checkpoint_minutes: float = option(2.0, "minutes between checkpoints (also one at every end)", minimum=0.0)
    keep_checkpoints: int = option(3, "checkpoints kept", minimum=2)
    max_skipped: int = option(50, "stop after so many steps in a row whose loss or gradient is not finite", minimum=1)
    max_minutes: float = option(0.0, "end cleanly after so many minutes, ready to resume; 0: no limit", minimum=0.0)
    steps_per_call: int = option(100, "training steps in one call of the compiled function", minimum=1)
    pipeline: str = option(
        "auto", "memory: the data on the device; stream: batches by tf.data; auto: by size", ("auto", "memory", "stream")
    )
    xla: bool = option(False, "compile the step with XLA (pays on GPUs and on some CPUs, after a longer start)")

    def __post_init__(self) -> None:
        check_fields(self)
        method = METHODS[self.objective]
        if self.n_samples < method.min_samples:
            why = " because each sample's baseline is the mean of the others" if "vimco" in self.objective else ""
            raise ValueError(f"n_samples is {self.n_samples}; {self.objective} needs at least {method.min_samples}{why}.")
        if self.decoder_gradient == "resampled" and method.reparameterizes_z:
            raise ValueError(f"decoder_gradient is resampled, but {self.objective} takes its gradient through every sample; use all.")
        if self.forward_precision == "bfloat16" and self.decoder_gradient == "all":
            raise ValueError("forward_precision is bfloat16, which is for passes without gradient; set decoder_gradient to resampled.")
        if self.start_from and self.init != "random":
            raise ValueError(f"start_from names a run and init is {self.init}, so there are two starts; set init to random.")
        if self.epochs == 0 and self.init == "random":
            raise ValueError("epochs is 0 and init is random, so there is nothing to train; set epochs to 1 or more.")
        if self.image_changers and not any(getattr(self, name) for name in CHANGES):
            raise ValueError(
                f"{', '.join(CHANGES)} are all 0, so no image would be changed; set one, or use neither augment nor init contrastive."
            )
        if self.ema_momentum >= 1:
            raise ValueError(f"ema_momentum is {self.ema_momentum}; it must be below 1.")
        if self.eps_start == 0:
            raise ValueError("eps_start is 0; it must be above 0 (use anneal none to switch annealing off).")
        if self.eps_start < self.eps_floor:
            raise ValueError(f"eps_start is {self.eps_start}; it must not be below eps_floor, {self.eps_floor}.")
        if self.seed >= 2**31:
            raise ValueError(f"seed is {self.seed}; it must be below 2**31.")

    @property
    def image_changers(self) -> tuple[str, ...]:
        """What is chosen that changes images, in words."""
        chosen = {"augment": self.augment, "init contrastive": self.init == "contrastive"}
        return tuple(name for name, is_chosen in chosen.items() if is_chosen)


CHANGES = tuple(field.name for field in dataclasses.fields(TrainConfig) if field.name.startswith("augment_"))


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A whole run: data, model and training."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()

    def __post_init__(self) -> None:
        if self.model.binarize and self.train.augment_brightness and self.train.image_changers:
            raise ValueError(
                "augment_brightness would make a binarized image black or white as a whole; set it to 0, or binarize to false."
            )
        if self.train.objective == "nvil" and not self.model.baseline_units:
            # Mnih & Gregor's width.
            object.__setattr__(self, "model", dataclasses.replace(self.model, baseline_units=(100,)))

    def replace(self, options: Mapping[str, Any]) -> RunConfig:
        """A copy with options set by their bare names, such as {"n_clusters": 20}.

        Raises:
          ValueError: a name that no section has (near matches are named), or a bad value.
        """
        changes: dict[str, dict[str, Any]] = {}
        for name, value in options.items():
            section = SECTION_OF.get(name)
            if section is None:
                raise ValueError(f"There is no option {name!r}{near(name, SECTION_OF)}.")
            changes.setdefault(section, {})[name] = coerce(name, value, OPTION_TYPES[name])
        parts = {section: dataclasses.replace(getattr(self, section), **values) for section, values in changes.items()}
        return dataclasses.replace(self, **parts)

    def with_absolute_paths(self) -> RunConfig:
        """The same with its paths absolute, so that it means the same in another folder."""
        options = self.options()
        names = ["data_dir", "start_from"] if self.data.dataset in DATASETS else ["dataset", "data_dir", "start_from"]
        return self.replace({name: str(Path(options[name]).resolve()) for name in names if options[name]})

    def options(self) -> dict[str, Any]:
        """All options by bare name."""
        return {name: getattr(getattr(self, section), name) for name, section in SECTION_OF.items()}

    def to_toml(self) -> str:
        """The configuration as TOML with the tables [data], [model] and [train]."""
        return tomli_w.dumps(listed(dataclasses.asdict(self)))

    def to_dict(self) -> dict[str, Any]:
        """The configuration as nested plain values that JSON and TOML can hold."""
        return listed(dataclasses.asdict(self))


SECTIONS: dict[str, type] = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig}
SECTION_OF = {field.name: name for name, cls in SECTIONS.items() for field in dataclasses.fields(cls)}
OPTION_TYPES = {name: kind for cls in SECTIONS.values() for name, kind in typing.get_type_hints(cls).items()}


def options_from_toml(text: str) -> dict[str, Any]:
    """Options by bare name from TOML text, with or without the tables [data], [model], [train].

    Raises:
      ValueError: not TOML, an unknown option, an option in another section's table, or a bad value.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"It is not valid TOML: {error}.") from error
    options: dict[str, Any] = {}
    for key, value in tree.items():
        if not isinstance(value, dict):
            options[key] = value
            continue
        if key not in SECTIONS:
            raise ValueError(f"There is no table [{key}]; the tables are {', '.join(f'[{s}]' for s in SECTIONS)}.")
        for name, inner in value.items():
            if name in SECTION_OF and SECTION_OF[name] != key:
                raise ValueError(f"{name} stands in [{key}]; it belongs in [{SECTION_OF[name]}].")
            options[name] = inner
    RunConfig().replace(options)
    return options
