"""Clusters in small sets of images, by preset and seed, beside k-means of their pixels.

    python benchmarks/small_images.py --output results/small.md

The default data set, and, where MNIST and Fashion-MNIST are at hand, 2,000 images of each, and as many of MNIST whose digits are the rarer
the larger they are. Every method clusters all images; accuracies are of these, against their labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from tables import compare, parser_of

from nvisa_tf import load_dataset

N_IMAGES = 2000
RARER = 0.8  # a digit's frequency, over that of the digit before


def some(dataset: str, rarer: float) -> tuple[np.ndarray, np.ndarray]:
    """`N_IMAGES` training images and labels, each class `rarer` times as many as the one before; a small class gives all it has."""
    train = load_dataset(dataset).train
    x, y = np.asarray(train.x), np.asarray(train.y)
    shares = rarer ** np.arange(10)
    rng = np.random.default_rng(0)
    rows = [rng.permutation(np.flatnonzero(y == one))[: round(N_IMAGES * share)] for one, share in enumerate(shares / shares.sum())]
    shuffled = rng.permutation(np.concatenate(rows))
    return x[shuffled], y[shuffled]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The default data set, training and held-out images as scikit-learn gives them, and labels."""
    bunch: Any = load_digits()
    return bunch.images, bunch.target


SETS: dict[str, Any] = {
    "digits": digits,
    "MNIST, 2,000": lambda: some("mnist", 1.0),
    "Fashion-MNIST, 2,000": lambda: some("fashion_mnist", 1.0),
    "MNIST, 2,000, unequal": lambda: some("mnist", RARER),
}


def main() -> None:
    """Compare by the flags."""
    parser = parser_of(__doc__, "tsne_augmented_small,random_small", "results/small.md")
    parser.add_argument("--sets", default=";".join(SETS), help=f"names with semicolons between them, of {'; '.join(SETS)}")
    flags = parser.parse_args()
    sets = {name: SETS[name] for name in flags.sets.split(";")}
    compare(sets, flags, f"python benchmarks/small_images.py --sets '{flags.sets}'", "Clusters in small sets of images", "shape")


if __name__ == "__main__":
    main()
