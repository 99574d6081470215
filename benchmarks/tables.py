"""Clusters in tables, by preset and seed, beside k-means: scikit-learn's real ones, and one of unequal clusters.

    python benchmarks/tables.py --output results/tables.md

Every method sees standardized columns and clusters all rows; accuracies are of these, against the labels that come with the tables.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import time
from typing import Any

import numpy as np
import report
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.preprocessing import StandardScaler

from nvisa_tf import NVISAClustering, clustering_accuracy
from nvisa_tf.config.presets import method_of

SIZES = (1200, 800, 450, 280, 150, 120)  # of the clusters of "unequal"


def unequal() -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clusters of unequal size, [3000, 40], two columns constant and each of a scale of its own, and labels [3000]."""
    rng = np.random.default_rng(0)
    centres = 1.2 * rng.normal(size=(len(SIZES), 38))
    x = np.concatenate([centre + rng.normal(size=(n, 38)) for centre, n in zip(centres, SIZES, strict=True)])
    x = np.hstack([x, np.ones((len(x), 1)), np.full((len(x), 1), 7.0)]) * np.exp(rng.normal(0, 3, 40))
    return x, np.repeat(np.arange(len(SIZES)), SIZES)


TABLES: dict[str, Any] = {
    "wine": lambda: load_wine(return_X_y=True),
    "breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "iris": lambda: load_iris(return_X_y=True),
    "digits, 64 columns": lambda: load_digits(return_X_y=True),
    "unequal": unequal,
}


def parser_of(about: str | None, presets: str, output: str) -> argparse.ArgumentParser:
    """A parser of the flags that `compare` reads, with these defaults."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", default=presets)
    parser.add_argument("--seeds", type=report.numbers, default=[0, 1, 2])
    parser.add_argument("--output", default=output)
    return parser


def compare(sets: dict[str, Any], flags: argparse.Namespace, command: str, title: str, shape: str) -> None:
    """Fit k-means and presets to sets, print, and write a table, anew after each row.

    Args:
      sets: by name what gives scaled examples [n, ...] and labels [n].
      flags: of `parser_of`.
      command: without these flags.
      title: of the table.
      shape: the head of the column of shapes.
    """
    presets, seeds, output = flags.presets, flags.seeds, flags.output
    header = ["data", shape, "method", *(f"seed {seed}, %" for seed in seeds), "mean, %", "seconds a fit"]
    about = (
        f"`{command} --presets {presets} --seeds {','.join(map(str, seeds))}`, {datetime.date.today()}, "
        f"commit {report.commit()}, {report.cores()}. Accuracy on all examples, which are what was clustered, without their labels."
    )
    rows = []
    for name, load in sets.items():
        x, y = load()
        k = len(np.unique(y))
        methods = {"k-means": lambda seed, k=k: KMeans(k, n_init=10, random_state=seed)}
        methods |= {
            p: lambda seed, p=p, k=k: NVISAClustering(k, method=method_of(p), preset=p, random_state=seed) for p in presets.split(",")
        }
        for method, make in methods.items():
            began, seen = time.monotonic(), x.reshape(len(x), -1) if method == "k-means" else x
            found = [100 * clustering_accuracy(y, make(seed).fit_predict(seen)) for seed in seeds]
            seconds = (time.monotonic() - began) / len(found)
            scores = [f"{value:.1f}" for value in (*found, statistics.mean(found))]
            rows.append([name, ", ".join(f"{n:,}" for n in x.shape), method, *scores, f"{seconds:.1f}"])
            print("  ".join(rows[-1]), flush=True)
            report.write(output, title, about, header, rows)


def standardized(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of mean 0 and standard deviation 1, and the labels."""
    return StandardScaler().fit_transform(np.asarray(x, float)), y


def main() -> None:
    """Compare by the flags."""
    flags = parser_of(__doc__, "tabular,random_small", "results/tables.md").parse_args()
    sets = {name: lambda load=load: standardized(*load()) for name, load in TABLES.items()}
    compare(sets, flags, "python benchmarks/tables.py", "Clusters in tables", "rows, columns")


if __name__ == "__main__":
    main()
