"""Write a data set of which class y keeps 0.8^y of its examples, as a file: classes of unequal size.

python benchmarks/thinned.py --dataset mnist --out mnist-thinned.npz
"""

import argparse

import numpy as np

from nvisa_tf import load_dataset


def main():
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="a name or a file, with labels")
    parser.add_argument("--keep", type=float, default=0.8, help="share of a class that is kept of the one before (default 0.8)")
    parser.add_argument("--out", required=True, help="a .npz file")
    flags = parser.parse_args()
    arrays = {}
    for name, data in load_dataset(flags.dataset).parts():
        kept = np.zeros(len(data), bool)
        for label in np.unique(data.y):
            rows = np.flatnonzero(data.y == label)
            kept[rows[: round(len(rows) * flags.keep**label)]] = True
        arrays |= {f"x_{name}": np.asarray(data.x[kept]), f"y_{name}": data.y[kept]}
        print(f"{name}: {kept.sum():,} examples, classes of {', '.join(map(str, np.bincount(data.y[kept])))}")
    np.savez(flags.out, **arrays)


if __name__ == "__main__":
    main()
