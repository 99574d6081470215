"""A few hundred colour photos: how the held-out bound goes, how large the clusters are, and what they have of the labels.

    python benchmarks/photos.py cifar10_images500.npz --presets few_images,tsne_augmented_small --output results/photos.csv

The file has x, uint8 [n, 32, 32, 3], and y. A fifth of the images is held out, for the bound; sizes of clusters and NMI with the labels
are of all. k-means of the pixels stands beside. `--with` adds variants of a preset: name=preset,option=value,... At the end it prints the
means over seeds as a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import operator
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.cluster import KMeans

from nvisa_tf import Dataset, Monitor, RunConfig, Trainer, input_scaling
from nvisa_tf.clustering.metrics import cluster_sizes, clustering_scores
from nvisa_tf.config.presets import preset
from nvisa_tf.data import Splits
from nvisa_tf.runs.workflows import build_model

COLUMNS = (
    "images", "side", "clusters", "method", "seed", "bound_before", "bound_best", "best_epoch", "bound_end", "training_bound_end",
    "smallest", "largest", "uncertain", "nmi", "accuracy", "seconds",
)  # fmt: skip


class Course(Monitor):
    """Keeps the rows of the last stage."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def on_evaluation(self, row: dict[str, Any], model: Any, stage: Any) -> None:
        """After every evaluation."""
        self.rows.append(row)


def photos(path: Path, n: int, side: int) -> Dataset:
    """The first n images, enlarged to side x side where they are smaller."""
    with np.load(path) as file:
        x, y = file["x"][:n], file["y"][:n]
    if side != x.shape[1]:
        x = np.stack([np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)) for image in x])
    return Dataset("photos", x, y, 255.0)


def trained(data: Dataset, options: dict[str, Any], n_clusters: int, seed: int) -> dict[str, Any]:
    """One run: its course and what came of it."""
    config = RunConfig().replace({**options, "n_clusters": n_clusters, "seed": seed, "eval_epochs": options["epochs"] / 10})
    held_out = np.arange(len(data)) % 5 == 4
    train, test = data.take(np.flatnonzero(~held_out)), data.take(np.flatnonzero(held_out))
    started, course = time.process_time(), Course()
    model = build_model(config.replace({"input_shape": data.shape}), Splits(train, test, ""))
    trainer = Trainer(model, config, train, test, None, [course])
    before: dict[str, float] = {}
    begin = trainer.stages[-1].begin

    def begin_and_score() -> None:
        begin()
        before.update(trainer.stages[-1].held_out(np.asarray(test.x)))

    trainer.stages[-1].begin = begin_and_score  # type: ignore[method-assign]
    trainer.train()
    trainer.keep_averages()
    probabilities = model.predict_proba(data.x)
    bounds = [row["held_out_iw_bound"] for row in course.rows]
    best = int(np.argmax(bounds))
    return {
        "bound_before": before["held_out_iw_bound"],
        "bound_best": bounds[best],
        "best_epoch": course.rows[best]["epoch"],
        "bound_end": bounds[-1],
        "training_bound_end": course.rows[-1]["bound"],
        "uncertain": float(np.mean(probabilities.max(1) < 0.8)),
        "seconds": time.process_time() - started,
        **scored(data, probabilities.argmax(1), n_clusters),
    }


def scored(data: Dataset, clusters: np.ndarray, n_clusters: int) -> dict[str, Any]:
    """Sizes, NMI and accuracy of clusters."""
    sizes, scores = cluster_sizes(clusters, n_clusters), clustering_scores(data.y, clusters)
    return {"smallest": int(sizes.min()), "largest": int(sizes.max()), "nmi": scores.nmi, "accuracy": scores.accuracy}


def by_kmeans(data: Dataset, n_clusters: int, seed: int) -> dict[str, Any]:
    """k-means of the scaled pixels."""
    scale, shift = input_scaling(data)
    started = time.process_time()
    clusters = KMeans(n_clusters, n_init=1, random_state=seed).fit_predict(data.x.reshape(len(data), -1) * scale + shift)
    return {**scored(data, clusters, n_clusters), "seconds": time.process_time() - started}


def variant(words: str) -> tuple[str, dict[str, Any]]:
    """A name and options from name=preset,option=value,..."""
    name, _, rest = words.partition("=")
    base, *changes = rest.split(",")
    return name, {**preset(base), **{key: _value(value) for key, _, value in (change.partition("=") for change in changes)}}


def _value(text: str) -> Any:
    if "x" in text and text.replace("x", "").isdigit():
        return tuple(int(part) for part in text.split("x"))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


def numbers(text: str) -> list[int]:
    """Integers with commas between them."""
    return [int(part) for part in text.split(",")]


def table(rows: list[dict[str, str]]) -> str:
    """A Markdown table of means over seeds, with the standard deviation of NMI."""
    lines = [
        "| images | side | K | method | seeds | held-out bound: before | best | at the end | training bound | smallest | largest | "
        "uncertain, % | NMI, % (sd) | seconds |",
        "|" + "---|" * 14,
    ]
    key = operator.itemgetter(*COLUMNS[:4])
    for case, group in itertools.groupby(
        sorted(rows, key=lambda row: (*map(int, key(row)[:3]), row["method"] != "k-means", key(row))), key
    ):
        runs = list(group)

        def mean(name: str, form: str = ",.0f", scale: float = 1.0, runs: list[dict[str, str]] = runs) -> str:
            values = [scale * float(row[name]) for row in runs if row[name]]
            return format(float(np.mean(values)), form) if values else ""

        nmi = [100 * float(row["nmi"]) for row in runs]
        spread = f" ({np.std(nmi, ddof=1):.1f})" if len(nmi) > 1 else ""
        bounds = [mean(name) for name in ("bound_before", "bound_best", "bound_end", "training_bound_end")]
        sizes = [" ".join(row[name] for row in runs) for name in ("smallest", "largest")]
        cells = [
            *case,
            str(len(runs)),
            *bounds,
            *sizes,
            mean("uncertain", ".0f", 100),
            f"{np.mean(nmi):.1f}{spread}",
            mean("seconds", ".1f"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Train by the flags, and write a row after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="an .npz file of images x and labels y")
    parser.add_argument("--presets", default="", help="names with commas between them")
    parser.add_argument("--with", dest="variants", action="append", default=[], metavar="NAME=PRESET,OPTION=VALUE", help="a variant")
    parser.add_argument("--images", type=numbers, default=[300, 500], help="how many (default 300,500)")
    parser.add_argument("--sides", type=numbers, default=[32], help="pixels a side (default 32)")
    parser.add_argument("--clusters", type=numbers, default=[3, 5, 10], help="how many (default 3,5,10)")
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2], help="of each (default 0,1,2)")
    parser.add_argument("--output", type=Path, default=Path("photos.csv"), help="CSV; rows that it has are not made again")
    flags = parser.parse_args()
    methods = {name: preset(name) for name in flags.presets.split(",") if name} | dict(variant(words) for words in flags.variants)
    done: set[tuple[str, ...]] = set()
    if flags.output.exists():
        with open(flags.output, newline="") as file:
            done = {tuple(row[name] for name in COLUMNS[:5]) for row in csv.DictReader(file)}
    else:
        flags.output.write_text(",".join(COLUMNS) + "\n")
    cases = itertools.product(flags.images, flags.sides, flags.clusters, ("k-means", *methods), flags.seeds)
    for case in cases:
        n, side, k, method, seed = case
        if tuple(map(str, case)) in done:
            continue
        data = photos(flags.file, n, side)
        found = by_kmeans(data, k, seed) if method == "k-means" else trained(data, methods[method], k, seed)
        row = {**dict(zip(COLUMNS, case, strict=False)), **found}
        with open(flags.output, "a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow({name: f"{v:.5g}" if isinstance(v, float) else v for name, v in row.items()})
        print(row, flush=True)
    with open(flags.output, newline="") as file:
        print(table(list(csv.DictReader(file))))


if __name__ == "__main__":
    main()
