"""The paper's table of accuracies (Li et al., IJCNN 2020): its figures, and the runs that stand beside them.

Methods that begin with an autoencoder share it: one is trained for a data set, a seed and the networks that they have, as a run of AE+GMM.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nvisa_tf.config.datasets import DATASETS, defaults_of
from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.options import near
from nvisa_tf.config.presets import automatic, method_of, of_length, preset
from nvisa_tf.config.run import RunConfig, section_of
from nvisa_tf.reproduce.ablation import Row, run_config
from nvisa_tf.runs.jobs import Job

OF_PAPER = ("mnist", "fashion_mnist", "stl10", "cifar10", "cifar100")  # its data sets; the last three as features of a ResNet-50
OF_PIXELS = OF_PAPER[:2]
FROM_RANDOM_WEIGHTS = "random_fast"  # of nvisa, as in the paper's table


class PaperRow(NamedTuple):
    """What the paper has of a method.

    Attributes:
      title: its name there.
      figures: in percent, by data set; "-": none.
      measure: the measure of these, as reports call it; that of the original papers, which the table cites.
      of_training_data: whether it is of the data that were trained on.
    """

    title: str
    figures: Mapping[str, str]
    measure: str = "accuracy"
    of_training_data: bool = False


def _figures(*of_data_sets: str) -> dict[str, str]:
    return dict(zip(OF_PAPER, of_data_sets, strict=True))


PAPER: dict[str, PaperRow] = {
    "ae_gmm": PaperRow("AE+GMM", _figures("84.27", "53.83", "76.18", "43.66", "29.41")),
    "vae_gmm": PaperRow("VAE+GMM", _figures("76.87", "53.43", "82.42", "59.40", "30.81")),
    "dec": PaperRow("DEC", _figures("84.30", "57.58", "84.08", "70.31", "31.22")),
    "gm_gan": PaperRow("GM-GAN", _figures("99.24", "58.16", "-", "-", "-")),
    "gmvae": PaperRow("GMVAE", _figures("88.54", "50.15", "65.72", "49.79", "14.46"), "exemplar_accuracy"),
    "vade": PaperRow("VaDE", _figures("94.46", "56.12", "84.45", "59.69", "23.58")),
    "ltvae_gmm": PaperRow("LTVAE-GMM", _figures("86.31", "55.69", "81.66", "63.51", "16.98"), "accuracy", True),
    "ltvae": PaperRow("LTVAE-full", _figures("86.32", "61.32", "90.00", "69.16", "38.52"), "majority_accuracy", True),
    "nvisa": PaperRow(
        "NVISA",
        _figures(
            "96.55 +- 2.64, best 98.40",
            "62.63 +- 2.92, best 66.14",
            "89.15 +- 2.36, best 91.22",
            "71.37 +- 2.79, best 76.96",
            "37.32 +- 0.70, best 38.79",
        ),
    ),
}


class Entry(NamedTuple):
    """A row of our table: a method with a preset on a data set."""

    dataset: str
    method: str
    preset: str

    @property
    def name(self) -> str:
        """Of its jobs."""
        return f"{Path(self.dataset).stem}-{self.preset}"

    @property
    def paper(self) -> PaperRow:
        """What the paper has; of a method that it has not, nothing."""
        return PAPER.get(self.method, PaperRow(self.method, {}))


def methods_of(names: Sequence[str]) -> list[str]:
    """The methods of these names, in the order of the paper's table, those that it has not at the end; "all" is every one.

    Raises:
      ValueError: there is no such method.
    """
    for name in names:
        if name != "all" and name not in METHODS:
            raise ValueError(f"There is no method {name!r}{near(name, METHODS)}.")
    return [name for name in dict.fromkeys([*PAPER, *METHODS]) if name in METHODS and (name in names or "all" in names)]


def check_datasets(names: Sequence[str]) -> None:
    """Raise ValueError for a data set that is neither known by name nor a file or folder, or for two whose runs would have one name."""
    for name in names:
        if name not in DATASETS and not Path(name).exists():
            raise ValueError(f"There is no data set {name!r}{near(name, DATASETS)}.")
    if len({Path(name).stem for name in names}) < len(names):
        raise ValueError(f"Two of the data sets {', '.join(names)} have the same name, and so would their runs; rename one.")


def entries(
    dataset: str, methods: Sequence[str], presets: Sequence[str], n_examples: int, are_images: bool, are_features: bool = False
) -> list[Entry]:
    """The rows of a data set: each method with the presets that are named for it, else its `automatic` one for so many examples.

    Raises:
      ValueError: a preset that there is not, or that is of none of the methods.
    """
    for name in presets:
        if method_of(name) not in methods:
            raise ValueError(f"The preset {name} is of the method {method_of(name)}, which is not among --methods; name that too.")

    def own(method: str) -> str:
        is_default = method == "nvisa" and are_images and not presets
        return FROM_RANDOM_WEIGHTS if is_default else automatic(method, n_examples, are_images, are_features)

    chosen = {method: [name for name in presets if method_of(name) == method] for method in methods}
    return [Entry(dataset, method, name) for method in methods for name in chosen[method] or [own(method)]]


class Plan(NamedTuple):
    """What is to be run for one row and seed: its job, and the one whose autoencoder it begins with, if it needs one."""

    entry: Entry
    job: Job
    autoencoder: Job | None


def plan(entry: Entry, seed: int, out: Path, epochs: int | None, common: Mapping[str, Any], pretrain_epochs: int | None = None) -> Plan:
    """One row's run of a seed, in a folder under `out`, and the autoencoder that `merged` makes it begin with.

    Args:
      entry: of the table.
      seed: of the run.
      out: where the runs are.
      epochs: of the last stage with steps, instead of the preset's, as `of_length` has it; None: the preset's.
      common: options for every row.
      pretrain_epochs: of the autoencoder, where the preset has one trained first; None: the preset's.
    """
    given = {**defaults_of(entry.dataset), **common, "dataset": entry.dataset}
    if entry.method == "nvisa":
        config = run_config(Row("", "", "", {}), entry.preset, seed, epochs, given)
    else:
        options = preset(entry.preset) if epochs is None else of_length(preset(entry.preset), epochs)
        if pretrain_epochs is not None and options.get("pretrain_epochs"):
            options["pretrain_epochs"] = pretrain_epochs
        config = RunConfig().replace({**options, **given, "seed": seed})
    folder = out / f"{entry.name}-seed{seed}"
    shared = autoencoder_of(config, entry.preset.endswith("_small"))
    if shared is None:
        return Plan(entry, Job(entry.name, seed, config, folder), None)
    name = f"{Path(entry.dataset).stem}-{name_of(shared)}"
    return Plan(entry, Job(entry.name, seed, config, folder), Job(name, seed, shared, out / f"{name}-seed{seed}"))


def autoencoder_of(config: RunConfig, is_small: bool) -> RunConfig | None:
    """The run of AE+GMM whose autoencoder a run can begin with; None where its method trains none first.

    Its networks, their inputs, its epochs and what it minimizes are those of `config`; batches and rate are of AE+GMM's own preset, so that
    methods with other batches share it.
    """
    options = config.options()
    if not options.get("pretrain_epochs"):
        return None
    known = section_of("ae_gmm")
    networks = {field for field, section in known.items() if section == "model"} - {"covariance"}
    taken = {name: value for name, value in options.items() if name in networks or known.get(name) == "data"}
    of_run = {"epochs": options["pretrain_epochs"], "seed": options["seed"]}
    return RunConfig().replace({**preset("ae_gmm_small" if is_small else "ae_gmm"), **taken, **of_run})


def name_of(autoencoder: RunConfig) -> str:
    """A name that tells the autoencoders of one data set apart, such as "autoencoder-gaussian-500-500-2000-50"."""
    options = autoencoder.options()
    filters = [f"c{n}" for n in options["encoder_filters"]]
    changed = ["augmented"] if options["augment"] else []
    parts = ["autoencoder", options["likelihood"], *filters, *map(str, options["encoder_units"]), str(autoencoder.train.epochs), *changed]
    return "-".join(parts)


def merged(plans: Sequence[Plan]) -> list[Plan]:
    """The same, where every autoencoder is one job, a row's where that is the same run, and the others begin with it."""
    by_config = {plan.job.config: plan.job for plan in plans}

    def beginning_with(plan: Plan, autoencoder: Job) -> Plan:
        config = plan.job.config.replace({"autoencoder_from": str(autoencoder.folder.resolve())})
        return plan._replace(job=dataclasses.replace(plan.job, config=config), autoencoder=autoencoder)

    return [
        one if one.autoencoder is None else beginning_with(one, by_config.setdefault(one.autoencoder.config, one.autoencoder))
        for one in plans
    ]
