"""One clustering from several, which may number their clusters differently and be wrong about different examples.

The clusters of each are matched with those of the first, one to one, so that the two agree on as many examples as they can; then the
probabilities are averaged (bagged clustering: Dudoit & Fridlyand, Bioinformatics 19:9, 2003). One clustering alone stays as it is.

Shapes: n examples, K clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment


def matching(first: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which cluster of the other is each of the first, int [K]; both as probabilities, [n, K]."""
    shared = np.asarray(first, np.float64).T @ np.asarray(other, np.float64)
    return linear_sum_assignment(shared, maximize=True)[1]


def average(clusterings: Sequence[np.ndarray], matchings: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of probabilities [n, K], the clusters of each in the order that its matching gives; float64."""
    return np.asarray(np.mean([p[:, order] for p, order in zip(clusterings, matchings, strict=True)], 0, dtype=np.float64))
