"""Named sets of options, what they suit, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.objectives import OBJECTIVES
from nvisa_tf.config.options import near
from nvisa_tf.config.run import RunConfig

RANDOM_FAST: dict[str, Any] = {
    "epochs": 180,
    "n_samples": 5,
    "decoder_scale": "per_dimension",
    "hold_scales": True,
    "decoder_gradient": "resampled",
    "anneal_mode": "exponential",
    "eps_halving_epochs": 30.0,
    "clip_norm": 100.0,
    "lr_eps_power": 0.5,
    "lr_floor": 1e-4,
}
CHANGED: dict[str, Any] = {  # what goes on from clusters of the start, with images slightly changed
    "augment": True,
    "augment_scale": 0.15,
    "augment_shear": 0.2,
    "consistency_weight": 100.0,
    "eps_start": 0.25,
    "lr_eps_power": 0.0,
}
UMAP_AUGMENTED: dict[str, Any] = {
    **RANDOM_FAST,
    **CHANGED,
    "init": "ae_umap",
    "init_epochs": 100,
    "epochs": 40,
    "eps_halving_epochs": 8.0,
    "learning_rate": 1e-4,
    "ema_momentum": 0.999,
    "eval_epochs": 2.0,
}
CONTRASTIVE: dict[str, Any] = {
    **UMAP_AUGMENTED,
    "init": "contrastive",
    "init_epochs": 10,
    "augment_shear": 0.0,
    "augment_brightness": 1.0,
    "epochs": 30,
    "eps_halving_epochs": 6.0,
    "learning_rate": 2e-4,
}
RANDOM_SMALL: dict[str, Any] = {
    "epochs": 600,
    "n_samples": 5,
    "encoder_units": (256, 256),
    "posterior_units": 256,
    "decoder_units": (256, 256),
    "decoder_scale": "per_dimension",
    "decoder_gradient": "resampled",
    "anneal_mode": "exponential",
    "eps_halving_epochs": 120.0,
    "clip_norm": 100.0,
    "lr_eps_power": 0.5,
    "lr_floor": 1e-4,
    "eval_epochs": 50.0,
}
# The other methods of the table have the widths of DEC's authors, which those of VaDE and LTVAE took over. Epochs are ours, by time:
# about 20 minutes on one core for MNIST, with "_slow" about an hour.
WIDE: dict[str, Any] = {"encoder_units": (500, 500, 2000), "decoder_units": (2000, 500, 500), "batch_size": 256}
# The authors' batch and renewals too; epochs are a limit, as training ends where clusters have settled.
DEC: dict[str, Any] = {**WIDE, "pretrain_epochs": 100, "epochs": 100, "eval_epochs": 5.0}
DEC_SLOW: dict[str, Any] = {**DEC, "pretrain_epochs": 300, "epochs": 200}
DEC_SMALL: dict[str, Any] = {
    "encoder_units": (256, 256),
    "decoder_units": (256, 256),
    "pretrain_epochs": 400,
    "epochs": 200,
    "target_steps": 20,
    "eval_epochs": 20.0,
}
VAE_SMALL: dict[str, Any] = {"encoder_units": (256, 256), "decoder_units": (256, 256)}
# The authors' batch too, and the least of their rates: at the first, 2e-3, MNIST loses 14 points in 60 epochs (docs/methods/vade.md).
VADE: dict[str, Any] = {**WIDE, "batch_size": 100, "learning_rate": 2e-4, "pretrain_epochs": 100, "epochs": 20}
# The authors' batch too; they train for 300 epochs at a rate of 1e-4, which LTVAE-GMM has here too.
LTVAE: dict[str, Any] = {**WIDE, "pretrain_epochs": 100, "epochs": 50}
LTVAE_SLOW: dict[str, Any] = {**LTVAE, "pretrain_epochs": 200, "epochs": 150}
LTVAE_SMALL: dict[str, Any] = {**VAE_SMALL, "pretrain_epochs": 400, "epochs": 200, "eval_epochs": 20.0}
# Without an autoencoder, as in the paper.
GMVAE: dict[str, Any] = {"likelihood": "bernoulli", "pretrain_epochs": 0, "epochs": 120, "kl_warmup_epochs": 80.0, "learning_rate": 3e-3}
# With a lower rate or a shorter warm-up, clusters of the digits run empty or join (docs/methods/gmvae.md).
GMVAE_SMALL: dict[str, Any] = {
    **VAE_SMALL,
    **GMVAE,
    "epochs": 300,
    "kl_warmup_epochs": 200.0,
    "learning_rate": 0.01,
    "eval_epochs": 20.0,
}
GM_GAN: dict[str, Any] = {"method": "gm_gan", "generator_output": "sigmoid", "augment": True}
# Chosen on CIFAR-10's features (docs/methods/neighbor_information.md).
NEIGHBORS: dict[str, Any] = {"latent_dim": 256, "epochs": 10, "batch_size": 512, "learning_rate": 3e-3, "eval_epochs": 2.0}
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"epochs": 1400, "lr_halving_epochs": 300.0, "l2": 1e-4},
    "random_fast": RANDOM_FAST,
    "random_slow": {**RANDOM_FAST, "epochs": 540, "eps_halving_epochs": 90.0},
    # The paper's M, eps and epochs with the options that keep `random_fast` stable, compiled, and seldom interrupted.
    "random_gpu": {**RANDOM_FAST, "epochs": 1400, "n_samples": 15, "eps_halving_epochs": 100.0, "xla": True, "eval_epochs": 20.0},
    "tsne": {
        "init": "ae_tsne",
        "init_epochs": 25,
        "epochs": 36,
        "n_samples": 5,
        "decoder_scale": "per_dimension",
        "hold_scales": True,
        "decoder_gradient": "resampled",
        "anneal_mode": "exponential",
        "eps_start": 0.25,
        "eps_halving_epochs": 4.0,
        "clip_norm": 100.0,
        "learning_rate": 1e-4,
        "eval_epochs": 2.0,
    },
    "umap_augmented": UMAP_AUGMENTED,
    # The same with nothing that is not installed by default.
    "tsne_augmented": {**UMAP_AUGMENTED, "init": "ae_tsne"},
    "contrastive_balanced": CONTRASTIVE,
    # The same for clusters that may differ in size (results/unequal.md).
    "contrastive_communities": {**CONTRASTIVE, "init": "contrastive_communities"},
    # What images get where no preset is named. Training keeps the clusters of the initialization, and is as long as that deserves.
    "information": {
        **UMAP_AUGMENTED,
        "init": "best_information",
        "init_epochs": 10,
        "augment_brightness": 1.0,
        "balance_weight": 15.0,
        "epochs": 10,
        "eps_halving_epochs": 6.0,
    },
    "random_small": RANDOM_SMALL,
    # From random weights seeds differ by twenty points on the digits of the default data set (results/small.md).
    "tsne_augmented_small": {
        **RANDOM_SMALL,
        **CHANGED,
        "init": "ae_tsne",
        "init_epochs": 400,
        "epochs": 200,
        "eps_halving_epochs": 40.0,
        "learning_rate": 5e-4,
        "eval_epochs": 20.0,
    },
    # So few that an epoch is one step or a few: with the schedule above, eps falls before the decoder's scale can follow, and the bound of
    # held-out images with it (results/photos.md). eps stays above what the decoder is wrong by on images that it has not seen, and the
    # low rate keeps the clusters of the initialization, none of which then runs empty.
    "few_images": {
        **RANDOM_SMALL,
        **CHANGED,
        "init": "ae_kmeans",
        "init_epochs": 50,
        "epochs": 40,
        "eps_halving_epochs": 40.0,
        "eps_floor": 0.12,
        "learning_rate": 1e-4,
        "eval_epochs": 4.0,
    },
    # eps as above, since a thousand images are soon overfitted too.
    "information_small": {
        **RANDOM_SMALL,
        **CHANGED,
        "init": "best_information",
        "init_epochs": 50,
        "augment_brightness": 0.5,
        "balance_weight": 15.0,
        "epochs": 40,
        "eps_halving_epochs": 40.0,
        "eps_floor": 0.12,
        "learning_rate": 1e-4,
        "eval_epochs": 8.0,
    },
    # A table's clusters are often of unequal size, and from random weights, or in a t-SNE map, the larger ones are cut in parts
    # (results/tables.md).
    "tabular": {
        **RANDOM_SMALL,
        "init": "ae_kmeans",
        "init_epochs": 100,
        "learn_prior_weights": True,
        "epochs": 150,
        "eps_start": 0.25,
        "eps_halving_epochs": 60.0,
        "eval_epochs": 25.0,
    },
    # Features of a pretrained network: training keeps the clusters of the initialization. eps of x hardly falls: of a few hundred photos
    # the bound of held-out ones falls with it, as does every bound where sigma_x cannot follow. That of z is small from the first step on,
    # since a large one blurs the clusters (results/features.md).
    "features": {
        **RANDOM_FAST,
        "init": "neighbor_information",
        "unit_length": True,
        "latent_dim": 32,
        "init_epochs": 10,
        "epochs": 10,
        "anneal": "x",
        "eps_start": 0.5,
        "eps_floor": 0.1,
        "eps_halving_epochs": 1_000.0,
        "lr_eps_power": 0.0,
        "learning_rate": 1e-4,
        "balance_weight": 15.0,
        "ema_momentum": 0.999,
        "eval_epochs": 2.0,
    },
    "dec": {"method": "dec", **DEC, "learning_rate": 0.01},
    "dec_slow": {"method": "dec", **DEC_SLOW, "learning_rate": 0.01},
    "dec_small": {"method": "dec", **DEC_SMALL, "learning_rate": 0.01},
    "idec": {"method": "idec", **DEC},
    "idec_slow": {"method": "idec", **DEC_SLOW},
    "idec_small": {"method": "idec", **DEC_SMALL},
    "vae_gmm": {"method": "vae_gmm", **WIDE, "likelihood": "bernoulli", "epochs": 100},
    "vae_gmm_slow": {"method": "vae_gmm", **WIDE, "likelihood": "bernoulli", "epochs": 300},
    "vae_gmm_small": {**VAE_SMALL, "method": "vae_gmm", "likelihood": "bernoulli", "epochs": 400},
    "vae_gmm_vectors": {**VAE_SMALL, "method": "vae_gmm", "epochs": 200},
    "vade": {"method": "vade", **VADE, "likelihood": "bernoulli"},
    "vade_slow": {"method": "vade", **VADE, "likelihood": "bernoulli", "pretrain_epochs": 300, "epochs": 60},
    "vade_small": {**VAE_SMALL, "method": "vade", "likelihood": "bernoulli", "pretrain_epochs": 400, "epochs": 200, "eval_epochs": 20.0},
    "vade_vectors": {**VAE_SMALL, "method": "vade", "pretrain_epochs": 200, "epochs": 200, "eval_epochs": 20.0},
    "ltvae_gmm": {"method": "ltvae_gmm", **LTVAE, "likelihood": "bernoulli", "learning_rate": 1e-4},
    "ltvae_gmm_slow": {"method": "ltvae_gmm", **LTVAE_SLOW, "likelihood": "bernoulli", "learning_rate": 1e-4},
    "ltvae_gmm_small": {"method": "ltvae_gmm", **LTVAE_SMALL, "likelihood": "bernoulli"},
    "ltvae_gmm_vectors": {"method": "ltvae_gmm", **LTVAE_SMALL, "pretrain_epochs": 200},
    "ltvae": {"method": "ltvae", **LTVAE, "likelihood": "bernoulli"},
    "ltvae_slow": {"method": "ltvae", **LTVAE_SLOW, "likelihood": "bernoulli"},
    "ltvae_small": {"method": "ltvae", **LTVAE_SMALL, "likelihood": "bernoulli", "structure_epochs": 40},
    "ltvae_vectors": {"method": "ltvae", **LTVAE_SMALL, "pretrain_epochs": 200, "structure_epochs": 40},
    "ae_gmm": {"method": "ae_gmm", **WIDE, "epochs": 100},
    "ae_gmm_slow": {"method": "ae_gmm", **WIDE, "epochs": 300},
    "gmvae": {"method": "gmvae", **GMVAE},
    "gmvae_slow": {"method": "gmvae", **GMVAE, "epochs": 360, "kl_warmup_epochs": 240.0},
    "gmvae_small": {"method": "gmvae", **GMVAE_SMALL},
    "gmvae_vectors": {"method": "gmvae", **GMVAE_SMALL, "likelihood": "gaussian", "learning_rate": 3e-3},
    # Changed images make components agree with classes far better than the images alone (docs/methods/gm_gan.md).
    "gm_gan": {**GM_GAN, "epochs": 100, "classifier_epochs": 10},
    "gm_gan_slow": {**GM_GAN, "epochs": 300, "classifier_epochs": 20},
    "gm_gan_small": {**GM_GAN, **VAE_SMALL, "epochs": 900, "classifier_epochs": 50, "eval_epochs": 25.0},
    "gm_gan_vectors": {**VAE_SMALL, "method": "gm_gan", "epochs": 300, "classifier_epochs": 50, "eval_epochs": 25.0},
    "neighbor_information": {"method": "neighbor_information", **NEIGHBORS},
    "neighbor_information_features": {"method": "neighbor_information", **NEIGHBORS, "unit_length": True},
    "temi": {"method": "temi", **NEIGHBORS},
    "temi_features": {"method": "temi", **NEIGHBORS, "unit_length": True},
    "ae_gmm_small": {"method": "ae_gmm", "epochs": 400, "encoder_units": (256, 256), "decoder_units": (256, 256)},
}


SCHEDULES = ("eps_halving_epochs", "lr_halving_epochs", "kl_warmup_epochs", "lr_decay_epochs")  # times of a method's last stage
SMALL = 10_000  # examples, under which the automatic preset is one for small data
FEW = 1_000  # images, under which it is one for a few


def method_of(name: str) -> str:
    """The method that a preset is of; ValueError where there is no such preset."""
    return preset(name).get("method", "nvisa")


def automatic(method: str, n_examples: int, are_images: bool, are_features: bool = False) -> str:
    """A method's preset for so many training examples, where none is named: images, vectors, or features of photos."""
    known = METHODS[method]
    if known.feature_preset and are_features:
        return known.feature_preset
    if known.vector_preset and not are_images:
        return known.vector_preset
    if known.few_preset and n_examples < FEW:
        return known.few_preset
    return known.small_preset if n_examples < SMALL else known.large_preset


def for_features(are_features: bool) -> dict[str, Any]:
    """What is other than in an `automatic` preset where the vectors are features of photos: their length counts for nothing."""
    return {"unit_length": True} if are_features else {}


def preset(name: str, objective: str = "vimco", binarize: bool = False) -> dict[str, Any]:
    """The options that a preset sets, by bare name, as they suit an objective; "method" among them where it is not nvisa.

    An objective that goes through z of every sample has its decoder's gradient from all of them, and one
    that enumerates y draws z as few times for each as it can. The brightness of images that are binarized is not changed, as that would
    make them black or white as a whole.

    Raises:
      ValueError: no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"There is no preset {name!r}{near(name, PRESETS)}.")
    options, known = dict(PRESETS[name]), OBJECTIVES.get(objective)
    if known and known.reparameterizes_z:
        options["decoder_gradient"] = "all"
    if known and known.preset_samples:
        options["n_samples"] = known.preset_samples
    if binarize:
        options.pop("augment_brightness", None)
    return options


def of_length(options: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """A preset's options with other epochs, and all that is counted in epochs of its last stage at the same share of them."""
    whole, factor = {**RunConfig.of(options.get("method", "nvisa")).options(), **options}, epochs / options["epochs"]
    schedules = {name: factor * whole[name] for name in SCHEDULES if name in whole}
    if whole.get("structure_epochs"):
        schedules["structure_epochs"] = max(1, round(factor * whole["structure_epochs"]))
    return {**options, "epochs": epochs, **schedules}


# Accuracy on the test split with the preset as it is: our own runs, listed with commit and machine in results/README.md.
EXPECTED: dict[tuple[str, str], str] = {
    ("random_fast", "mnist"): "59.7% once, in 27 minutes on one core (Zen 5; 50 on a Zen 4); seeds differ by ten points and more",
    ("random_fast", "fashion_mnist"): "63.5% once, in 27 minutes on one core (Zen 5; 50 on a Zen 4); short runs differ by several points",
    ("random_slow", "mnist"): "87.2% once, in 74 minutes on one core (Zen 5; twice that on a Zen 4)",
    ("random_slow", "fashion_mnist"): "64.7% once, in 74 minutes on one core (Zen 5; twice that on a Zen 4)",
    ("umap_augmented", "mnist"): "98.5% on average of five seeds (sd 0.06), in about 33 minutes on one core",
    ("contrastive_balanced", "fashion_mnist"): "71.1% on average of five seeds (sd 0.9), in about 17 minutes on one core",
    ("information", "mnist"): "97.9% on average of five seeds (sd 0.6), in 7 minutes on one core",
    ("information", "fashion_mnist"): "74.4% on average of five seeds (sd 0.3), in 7 minutes on one core",
    ("information_small", "digits"): "91.4% on average of five seeds (sd 0.6), in half a minute on two cores",
    ("tsne_augmented", "mnist"): "98.35% once, in 44 minutes on one core, other work beside",
    ("tsne_augmented", "fashion_mnist"): "66.4% once, in 35 minutes on one core, other work beside; another seed started at 56.7%",
    ("tsne_augmented_small", "digits"): "90% on average of five seeds (82 to 94%), in about a minute on one core",
    ("tsne", "mnist"): "93.1% once, in 20 minutes on one core",
}
# What gave the most on a data set.
RECOMMENDED = {"mnist": "umap_augmented", "fashion_mnist": "information", "digits": "information_small"}
# Options that change no result of training.
UNFELT = {"dataset", "data_dir", "seed", "eval_epochs", "eval_examples", "eval_samples", "checkpoint_minutes", "keep_checkpoints"}


def expected(preset_name: str, config: RunConfig) -> str:
    """What a preset gave on the data set of `config`, for a person; "" where it was not measured, or other options are set that matter."""
    plain = RunConfig().replace({**preset(preset_name), **{name: value for name, value in config.options().items() if name in UNFELT}})
    return EXPECTED.get((preset_name, config.data.dataset), "") if config == plain else ""


def better(preset_name: str, dataset: str) -> str:
    """The preset that gave the most on a data set and what it gave, for a person; "" where it is this one, or none was measured."""
    name = RECOMMENDED.get(dataset, preset_name)
    return "" if name == preset_name else f"{name}, accuracy {EXPECTED[name, dataset]}"
