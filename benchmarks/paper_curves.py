"""Draw accuracy against epochs of the runs in results/paper/, which follow the paper's schedule or one of its parts.

python benchmarks/paper_curves.py
"""

import csv
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FOLDER = Path(__file__).parents[1] / "results" / "paper"
PUBLISHED = {
    "mnist-published-s0.csv": "seed 0",
    "mnist-published-s1.csv": "seed 1",
    "mnist-published-s1-clipped.csv": "seed 1, clipped at 100 from epoch 383",
    "mnist-published-s1-clipped-1000.csv": "seed 1, clipped at 1,000 from epoch 383",
}
CLAIMED = 96.55  # the paper's average on MNIST, %


def curve(rows):
    """Epochs and accuracies in %."""
    return [float(row["epoch"]) for row in rows], [100 * float(row["accuracy"]) for row in rows]


def rows_of(name):
    """Of a file in the folder."""
    with open(FOLDER / name, newline="") as file:
        return list(csv.DictReader(file))


def main():
    """Write results/paper/curves.png."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    for name, label in PUBLISHED.items():
        left.plot(*curve(rows_of(name)), label=label)
    for epoch in range(100, 700, 100):
        left.axvline(epoch, color="0.85", linewidth=0.8, zorder=0)
    left.set(title="The published schedule (eps halves at each line)", xlabel="epoch", ylabel="accuracy on MNIST's test images, %")
    seeds = defaultdict(list)
    for row in rows_of("mnist-samples.csv"):
        if row["n_samples"] == "15":
            seeds[row["seed"]].append(row)
    for seed, rows in sorted(seeds.items()):
        right.plot(*curve(rows), label=f"seed {seed}")
    right.set(title="Batches of 1,024, M = 15, eps from 1 to 0.2", xlabel="epoch")
    for axes in (left, right):
        axes.axhline(CLAIMED, color="black", linestyle=":", label="the paper's average")
        axes.set_ylim(0, 100)
        axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(FOLDER / "curves.png", dpi=110)
    print(f"Written: {FOLDER / 'curves.png'}.")


if __name__ == "__main__":
    main()
