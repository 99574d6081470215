"""NVISA's options: the model, its gradient step, the schedules, and where its weights begin."""

from __future__ import annotations

import dataclasses
from typing import Any

from nvisa_tf.config.networks import AugmentationConfig, BoundConfig, GenerativeConfig
from nvisa_tf.config.objectives import OBJECTIVES, Objective
from nvisa_tf.config.options import check_fields, option

OF_IMAGES = (
    "contrastive",
    "contrastive_communities",
    "mutual_information",
    "contrastive_information",
    "best_information",
)  # initializations that change images


@dataclasses.dataclass(frozen=True)
class NVISAConfig(GenerativeConfig):
    """The generative model and its posteriors (Li et al., IJCNN 2020, section "Model"); all that the networks depend on.

    Raises:
      ValueError: a value out of range, or `binarize` without the Bernoulli likelihood.
    """

    posterior_units: int = option(500, "width of the layer of q(z|y,x) in which y joins h(x)", minimum=1)
    binarize: bool = option(False, "Bernoulli of inputs cut at 0.5 to 0 or 1; otherwise of the values in [0, 1] as they are")
    decoder_scale: str = option(
        "network", "sigma_x: a function of z by the network, or one learned value per dimension", ("network", "per_dimension")
    )
    posterior: str = option("full", "q(y|x) q(z|y,x), or q(y|x) q(z|x)", ("full", "mean_field"))
    learn_prior_weights: bool = option(False, "learn pi in p(y) = Cat(pi); otherwise it stays uniform, or as the init found it")
    baseline_units: tuple[int, ...] = option((), "hidden widths of nvil's baseline network C(x); nvil without any gets 100", minimum=1)
    hold_scales: bool = option(False, "stop pushing a standard deviation down once it is negligible beside eps")
    l2: float = option(0.0, "L2 penalty on kernels, added to the loss and reported apart from the bound", minimum=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.binarize and self.likelihood != "bernoulli":
            raise ValueError(f"binarize goes with the Bernoulli likelihood, and likelihood is {self.likelihood}; set it to bernoulli.")

    @property
    def architecture(self) -> NVISAConfig:
        """These fields alone, of whatever subclass."""
        return NVISAConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(NVISAConfig)})


@dataclasses.dataclass(frozen=True)
class StepOptions(AugmentationConfig):
    """How one gradient step is made. The command line, TOML files, `NVISA.compile` and the step itself all take it from here.

    decoder_gradient: "all" takes the decoder's gradient from all samples, weighted; "resampled" from one sample drawn by its weight:
      unbiased, and the other M - 1 are only run forward. Not for objectives that reparameterize z.
    max_rows: beyond it the samples go in chunks of at least one (where y is enumerated, one cluster's), the decoder forward twice (once
      where resampled): memory no longer grows with their number, and the result is the same to rounding, but that hold_scales looks at
      each chunk's gradient.
    consistency_weight: of KL(q(y|x) || q(y|x')) in nats, where x' is the image x a little changed and q(y|x) is held.
    balance_weight: of KL(q(y) || p(y)) in nats, where q(y) is the mean of q(y|x) over the batch. Consistency alone lets large clusters
      grow. With both, the loss has what IMSAT (Hu et al., ICML 2017, arXiv 1702.08720) asks of clusters, but for its H(y|x).

    Raises:
      ValueError: an option that is unknown, out of range, or does not go with another.
    """

    objective: str = option("vimco", "the variational objective", tuple(OBJECTIVES))
    n_samples: int = option(15, "samples of (y, z) per example, M; of z for each y where the objective enumerates y", minimum=1)
    baseline: str = option("geometric", "mean that stands in for the left-out sample", ("geometric", "arithmetic"))
    decoder_gradient: str = option(
        "all",
        "decoder gradient from all M samples, or from one drawn by its importance weight (unbiased, faster)",
        ("all", "resampled"),
    )
    forward_precision: str = option(
        "auto",
        "dense layers' products in the decoder's passes without gradient (decoder_gradient resampled); auto: bfloat16 where the CPU has "
        "AMX or AVX512-BF16, or the GPU tensor cores for it, else float32; a run keeps what it began with",
        ("auto", "float32", "bfloat16"),
    )
    max_rows: int = option(16384, "decoder rows (samples times examples) at once; more go in chunks, the result the same", minimum=1)
    consistency_weight: float = option(1.0, "with augment: the weight of its term, KL(q(y|x) || q(y|changed x)), nats", minimum=0.0)
    balance_weight: float = option(
        0.0,
        "the weight of KL(q(y) || p(y)), nats, where q(y) is q(y|x) on average over a batch: keeps clusters about as large as p(y) says, "
        "which is equal unless the init linked clusters of any size",
        minimum=0.0,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        objective = OBJECTIVES[self.objective]
        if self.n_samples < objective.min_samples:
            why = " because each sample's baseline is the mean of the others" if "vimco" in self.objective else ""
            raise ValueError(f"n_samples is {self.n_samples}; {self.objective} needs at least {objective.min_samples}{why}.")
        if self.decoder_gradient == "resampled" and objective.reparameterizes_z:
            raise ValueError(f"decoder_gradient is resampled, but {self.objective} takes its gradient through every sample; use all.")
        if self.forward_precision == "bfloat16" and self.decoder_gradient == "all":
            raise ValueError("forward_precision is bfloat16, which is for passes without gradient; set decoder_gradient to resampled.")
        self.check_augmentation()

    @property
    def about_objective(self) -> Objective:
        """What is known of the objective beforehand."""
        return OBJECTIVES[self.objective]

    @property
    def has_consistency(self) -> bool:
        """Whether the loss has the consistency term."""
        return self.augment and self.consistency_weight > 0

    def check_model(self, config: NVISAConfig) -> None:
        """Raise ValueError where the step does not go with the model."""
        if self.objective == "nvil" and not config.baseline_units:
            raise ValueError("nvil needs a baseline network; set baseline_units, such as (100,).")
        if self.has_consistency and len(config.input_shape) < 2:
            raise ValueError(f"augment is for images, and inputs have the shape {list(config.input_shape)}; leave it out.")

    @property
    def step_options(self) -> StepOptions:
        """These fields alone, of whatever subclass."""
        return StepOptions(**{field.name: getattr(self, field.name) for field in dataclasses.fields(StepOptions)})


@dataclasses.dataclass(frozen=True)
class ScheduleOptions:
    """Std annealing, the learning rate's fall, clipping and averaging."""

    lr_halving_epochs: float = option(0.0, "halve the learning rate every so many epochs; 0: never", minimum=0.0)
    lr_eps_power: float = option(0.0, "multiply the learning rate by (eps / eps_start) to this power; 0: no tie", minimum=0.0)
    lr_floor: float = option(0.0, "the learning rate never falls below this", minimum=0.0)
    clip_norm: float = option(0.0, "clip the global gradient norm at this; 0: no clipping", minimum=0.0)
    ema_momentum: float = option(
        0.0, "cluster, score and export with a moving average of the weights, which keeps this much of itself a step; 0: none", minimum=0.0
    )
    anneal: str = option("both", "which standard deviations are annealed", ("both", "x", "z", "none"))
    anneal_mode: str = option(
        "staircase", "staircase: eps halves at epoch marks; exponential: a little at every step", ("staircase", "exponential")
    )
    eps_start: float = option(1.0, "eps at the start", minimum=0.0)
    eps_halving_epochs: float = option(100.0, "epochs in which eps halves", minimum=1e-9)
    eps_floor: float = option(1e-4, "smallest eps; also the eps of what is not annealed", minimum=0.0)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.ema_momentum >= 1:
            raise ValueError(f"ema_momentum is {self.ema_momentum}; it must be below 1.")
        if self.eps_start == 0:
            raise ValueError("eps_start is 0; it must be above 0 (use anneal none to switch annealing off).")
        if self.eps_start < self.eps_floor:
            raise ValueError(f"eps_start is {self.eps_start}; it must not be below eps_floor, {self.eps_floor}.")


@dataclasses.dataclass(frozen=True)
class NVISAOptions(NVISAConfig, StepOptions, ScheduleOptions, BoundConfig):
    """All of NVISA's own options.

    Raises:
      ValueError: as its bases, or options that do not go together.
    """

    init: str = option(
        "random",
        "initialization: random weights, or an autoencoder's codes clustered by k-means (ae_kmeans), by a Gaussian mixture (ae_gmm), or by "
        "one in their t-SNE or UMAP map (ae_tsne, ae_umap; not in the paper), or the codes of a contrastive network cut into clusters of "
        "equal size (contrastive; not in the paper) or of any size, as communities of nearest neighbours (contrastive_communities; not in "
        "the paper), or networks that give clusters themselves, alike however an image is changed, from "
        "random weights (mutual_information, clusters of any size), from the contrastive network's clusters (contrastive_information), or "
        "from whichever does clearly better on images kept from them, without labels, else from both (best_information; none of the three "
        "in the paper), or the best of many linear heads that answer alike for nearest neighbours (neighbor_information, for features; "
        "not in the paper); with eps_start 0.25 or so",
        ("random", "ae_kmeans", "ae_gmm", "ae_tsne", "ae_umap", *OF_IMAGES, "neighbor_information"),
    )
    init_epochs: int = option(
        50, "epochs of the autoencoder, and of the contrastive network, where init is not random (500 steps at least)", minimum=1
    )

    def __post_init__(self) -> None:
        NVISAConfig.__post_init__(self)
        StepOptions.__post_init__(self)
        ScheduleOptions.__post_init__(self)
        if self.binarize and self.augment_brightness and self.image_changers:
            raise ValueError(
                "augment_brightness would make a binarized image black or white as a whole; set it to 0, or binarize to false."
            )
        if self.objective == "nvil" and not self.baseline_units:
            object.__setattr__(self, "baseline_units", (100,))  # Mnih & Gregor's width

    def check_run(self, data: Any, train: Any) -> None:
        """Raise ValueError where these options do not go with the run's others."""
        if train.init_from and self.init != "random":
            raise ValueError(f"init_from names a run and init is {self.init}, so there are two initializations; set init to random.")
        if train.epochs == 0 and self.init == "random" and not train.init_from:
            raise ValueError("epochs is 0 and init is random, so there is nothing to train; set epochs to 1 or more.")

    @property
    def image_changers(self) -> tuple[str, ...]:
        """What is chosen that changes images, in words."""
        chosen = {"augment": self.augment, f"init {self.init}": self.init in OF_IMAGES}
        return tuple(name for name, is_chosen in chosen.items() if is_chosen)
