"""Which label-free criterion picks good restarts, and whether their consensus beats picking one.

    nvisa-tf train --dataset mnist --preset random_fast --epochs 10 --eps-halving-epochs 2.5 --restarts 8 --jobs 2 --out mnist_restarts
    python benchmarks/restart_criteria.py mnist_restarts ... --output results/restarts.md

For each folder of restarts: accuracy's mean, best, and of the run that each criterion picks; each criterion's rank correlation with
accuracy; and the accuracy of the consensus, for which every restart's clusters are matched to those of the restart that agrees most with
the others, and their q(y|x) averaged.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
from pathlib import Path

import numpy as np
import report
from scipy.optimize import linear_sum_assignment

from nvisa_tf import clustering_accuracy, load_run
from nvisa_tf.config import CRITERIA
from nvisa_tf.data import load_splits
from nvisa_tf.io.files import write_text
from nvisa_tf.runs.restarts import choose, compare, rank_correlations


def consensus(probabilities: list[np.ndarray], reference: int) -> np.ndarray:
    """Clusters [n] from the mean of q(y|x), each [n, K], the clusters matched to the reference's by shared probability."""
    mean = np.zeros_like(probabilities[reference])
    for q in probabilities:
        rows, columns = linear_sum_assignment(probabilities[reference].T @ q, maximize=True)
        mean[:, rows] += q[:, columns]
    return mean.argmax(1)


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--output", default="results/restarts.md")
    flags = parser.parse_args()
    picked, ranked = [], []
    for folder in flags.folders:
        paths = sorted(path.parent for path in folder.glob("seed*/report.json"))
        runs = [load_run(path)[:2] for path in paths]
        test = load_splits(runs[0][1].data).test
        found = compare(paths, test.x)
        accuracies = [restart.accuracy for restart in found]
        reference = found.index(choose(found, "mean_pairwise_nmi"))
        together = clustering_accuracy(test.y, consensus([model.predict_proba(test.x) for model, _ in runs], reference))
        scores = [statistics.mean(accuracies), max(accuracies), *(choose(found, name).accuracy for name in CRITERIA), together]
        label = f"{test.name}, {runs[0][1].train.epochs} epochs, {len(found)} restarts"
        picked.append([label, *(f"{100 * score:.1f}" for score in scores)])
        correlations = rank_correlations(found)
        ranked.append([label, *(f"{correlations[name]:.2f}" if name in correlations else "-" for name in CRITERIA)])
        print(picked[-1], ranked[-1], flush=True)
    about = f"`python benchmarks/restart_criteria.py`, {datetime.date.today()}, commit {report.commit()}."
    text = f"# Choosing among restarts without labels\n\n{about}\n"
    tables = (
        ("Accuracy on the test split, %, of all on average, of the best, of what each criterion picks, and of the consensus",
         ["restarts", "mean", "best", *CRITERIA, "consensus"], picked),
        ("Rank correlation of each criterion with accuracy", ["restarts", *CRITERIA], ranked),
    )  # fmt: skip
    for title, header, rows in tables:
        text += f"\n{title}:\n\n{report.markdown(header, rows)}\n"
    write_text(Path(flags.output), text)


if __name__ == "__main__":
    main()
