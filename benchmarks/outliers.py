"""How many examples of other data a run takes for outliers, and how many of its own held-out ones, by the false-alarm rate.

    python benchmarks/outliers.py --run RUN --others fashion_mnist --out results/outliers.csv

The limits are taken from one half of the run's held-out examples, chosen at random, and the false alarms are counted on the other half.
With each data set by name, its held-out examples; or a file. Of images also: inverted ones, ones of one colour, ones of noise, shifted by a
quarter of their width, and upside down.
"""

import argparse
import csv
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from nvisa_tf import Dataset, load_dataset, load_run
from nvisa_tf.evaluation.detector import OutlierDetector
from nvisa_tf.runs.workflows import load_run_splits

RATES = (0.001, 0.01, 0.05)
MOST = 10_000


def changed(images):
    """Images [n, h, w, ...] that are unlike the given ones, by what was done."""
    rng, top = np.random.default_rng(0), images.max()
    return {
        "inverted": top - images,
        "one colour": np.stack([np.full(images.shape[1:], value, images.dtype) for value in np.linspace(0, top, 11)]),
        "noise": rng.uniform(0, top, (1000, *images.shape[1:])).astype(images.dtype),
        "shifted by a quarter": np.roll(images, images.shape[2] // 4, axis=2),
        "upside down": images[:, ::-1],
    }


def main():
    """Measure, print, and add rows to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="a run directory")
    parser.add_argument("--others", nargs="*", default=[], help="other data sets, by name, or files")
    parser.add_argument("--out", required=True, help="a .csv file, to which rows are added")
    flags = parser.parse_args()
    model, config, run = load_run(flags.run)
    splits = load_run_splits(run, config)
    order = np.random.default_rng(0).permutation(len(splits.test))
    half = len(order) // 2
    began = time.monotonic()
    detector = OutlierDetector.of(model, splits.train, splits.test.take(np.sort(order[:half])))
    seconds = time.monotonic() - began
    own = splits.test.take(np.sort(order[half:]))
    shown = {"held out": own}
    for name in flags.others:
        shown[Path(name).name] = load_dataset(name).test.spread(MOST)
    if own.is_image:
        shown |= {name: Dataset(name, x, None, own.max_value) for name, x in changed(np.asarray(own.x)).items()}
    rows = []
    for name, data in shown.items():
        novelty = [detector.novelty(model, data, rate) if rate >= detector.smallest_rate() else None for rate in RATES]
        found = ["" if one is None else f"{100 * (one > 1).mean():.2f}" for one in novelty]
        rows.append([Path(config.data.dataset).name, config.method, name, len(data), *found])
        print(*rows[-1], flush=True)
    print(f"fitted in {seconds:.1f} s; {len(detector.held_out):,} examples, {detector.held_out.shape[1]} distances")
    new = not Path(flags.out).exists()
    with open(flags.out, "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([["run_on", "method", "shown", "n", *(f"outliers_at_{rate}" for rate in RATES)]] * new + rows)


if __name__ == "__main__":
    main()
