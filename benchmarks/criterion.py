"""What the default initialization of images chooses without labels, and what every other choice would have given.

    python benchmarks/criterion.py --sets 'mnist;fashion_mnist;digits;digits 0.8;usps.npz' --seeds 0,1 --output results/criterion.csv

A set is a data set's name or a file, as for `nvisa-tf train --dataset`. Then comes the number of examples to take, if not all, then how
many times as frequent as the one before each class is to be, if they are to differ. The training examples are clustered, without their
labels, and scored. NVISA's own training does not begin. Rows that the file has already are not computed again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import report
from initializations import train_network

from nvisa_tf import NVISA, Dataset, RunConfig, clustering_accuracy, input_scaling, load_dataset
from nvisa_tf.clustering.mixtures import fit_mixture
from nvisa_tf.config.presets import automatic, preset
from nvisa_tf.models.agreement import BEST_NETWORKS, Answer, groups_in_order, linked, matched
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.mutual_information import MutualInformationStage
from nvisa_tf.models.nvisa.initialization import initialization_stages
from nvisa_tf.models.pretraining import ContrastiveStage

FIELDS = (
    "set", "examples", "classes", "largest", "smallest", "seed", "taken", "clusters", "accuracy", "linked", "taught", "both",
    "contrastive", "information", "standard_error", "accuracies", "seconds", "date", "commit", "machine",
)  # fmt: skip


def some(x: np.ndarray, y: np.ndarray, n: int, rarer: float) -> tuple[np.ndarray, np.ndarray]:
    """About n examples and labels in random order, each class `rarer` times as many as the one before; as many as there are at most."""
    classes, counts = np.unique(y, return_counts=True)
    wanted = rarer ** np.arange(len(classes))
    if rarer == 1:
        wanted = counts
    scale = min(n / wanted.sum(), *(counts / wanted))
    rng = np.random.default_rng(0)
    rows = [rng.permutation(np.flatnonzero(y == one))[: round(scale * each)] for one, each in zip(classes, wanted, strict=True)]
    shuffled = rng.permutation(np.concatenate(rows))
    return x[shuffled], y[shuffled]


def load(name: str) -> Dataset:
    """A set, as `--sets` has it."""
    dataset, *numbers = name.split()
    train = load_dataset(dataset).train
    n = next((int(number) for number in numbers if "." not in number), len(train))
    rarer = next((float(number) for number in numbers if "." in number), 1.0)
    x, y = some(np.asarray(train.x), np.asarray(train.y), n, rarer)
    return Dataset(name, x, np.unique(y, return_inverse=True)[1])


def measure(name: str, seed: int) -> dict[str, Any]:
    """A row: accuracies in percent."""
    data, began = load(name), time.monotonic()
    sizes = np.bincount(data.y)
    options = {**preset(automatic("nvisa", len(data), True)), "n_clusters": len(sizes), "input_shape": data.shape, "seed": seed}
    config = RunConfig.of("nvisa", {**options, "init": "best_information"})
    model = NVISA(config.model, seed=seed)
    model.set_preprocessing(*input_scaling(data))
    stages = initialization_stages(model, TrainingData(data, data), config.model, config.train)[:-1]
    for stage in stages:
        train_network(stage)
    contrastive, networks = stages[-2:]
    if not isinstance(networks, MutualInformationStage) or not isinstance(contrastive, ContrastiveStage):
        raise TypeError(f"The stages are {', '.join(stage.name for stage in stages)}.")

    def accuracy(p: np.ndarray) -> float:
        return round(100 * clustering_accuracy(data.y, p.argmax(1)), 2)

    def accuracy_of(answer: Answer) -> float:
        return accuracy(answer.probabilities(data))

    found, of_choice = accuracy_of(networks.choose_answer(data)), networks.report
    seconds, names = time.monotonic() - began, list(of_choice["tries"])
    information = np.array([np.nan if nats is None else nats for nats in of_choice["tries"].values()])
    taught, random = groups_in_order(networks, information)
    by_links = linked(networks, data, random) if random else None
    row = {"set": name, "examples": len(data), "classes": len(sizes), "largest": sizes.max(), "smallest": sizes.min(), "seed": seed}
    return row | {
        "taken": ", ".join(of_choice["heads"]),
        "clusters": of_choice["clusters"],
        "accuracy": found,
        "linked": accuracy_of(by_links) if by_links else "",
        "taught": accuracy_of(matched(networks, data, taught[:BEST_NETWORKS])) if taught else "",
        "both": accuracy_of(matched(networks, data, [*taught[:BEST_NETWORKS], *random[:BEST_NETWORKS]])),
        "contrastive": accuracy(fit_mixture(contrastive.codes(data), len(sizes), "balanced", seed).responsibilities),
        "information": json.dumps(of_choice["tries"]),
        "standard_error": of_choice.get("standard_error", ""),
        "accuracies": json.dumps(
            {name: accuracy_of(matched(networks, data, [index])) for index, name in enumerate(names) if index in taught + random}
        ),
        "seconds": round(seconds),
        "date": datetime.date.today(),
        "commit": report.commit(),
        "machine": report.cores(),
    }


def main() -> None:
    """Measure, print and write, a row after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="digits", help="with semicolons between them")
    parser.add_argument("--seeds", type=report.numbers, default=[0])
    parser.add_argument("--output", default="results/criterion.csv")
    flags = parser.parse_args()
    output = Path(flags.output)
    rows = report.rows_of(output, FIELDS)
    done = {(row["set"], int(row["seed"])) for row in rows}
    for seed in flags.seeds:
        for name in flags.sets.split(";"):
            short = Path(name).name.replace(".npz", "")
            if (short, seed) in done:
                continue
            rows.append({**measure(name, seed), "set": short})
            print({field: rows[-1][field] for field in FIELDS[:15]}, flush=True)
            report.write_rows(output, FIELDS, rows)


if __name__ == "__main__":
    main()
