"""Principal components of many examples, and the nearest neighbours of each. NumPy in, NumPy out.

Shapes: n examples, d values of one, D components.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

EXACT_VALUES = 4_096  # of an example, up to which all components are computed from the covariance


class Projection(NamedTuple):
    """An affine map to codes: x @ kernel + bias, [d, D] and [D]."""

    kernel: np.ndarray
    bias: np.ndarray


def principal_components(x: np.ndarray, count: int, seed: int) -> Projection:
    """The first principal components, all brought by one factor to a variance of 1 on average.

    Args:
      x: float [n, d].
      count: D. Where n or d is less, the components that are missing are 0.
      seed: of the randomized solver, which is taken for more than `EXACT_VALUES` values, or fewer examples than values.

    Raises:
      ValueError: all examples are the same.
    """
    if not np.ptp(x, axis=0).any():
        raise ValueError("All examples are the same, so they have no principal components; use other examples.")
    there = min(count, *x.shape)
    exact = x.shape[1] <= EXACT_VALUES and x.shape[0] >= x.shape[1]
    pca = PCA(there, svd_solver="covariance_eigh" if exact else "randomized", random_state=seed).fit(x)
    scale = float(np.sqrt(pca.explained_variance_.sum() / count))
    kernel = np.zeros((x.shape[1], count), np.float32)
    kernel[:, :there] = pca.components_.T / scale
    return Projection(kernel, -(pca.mean_ @ kernel).astype(np.float32))


def nearest_neighbors(codes: np.ndarray, count: int) -> np.ndarray:
    """The `count` others at the least distance, the nearest first, int32 [n, count]; codes: [n, D].

    Exact (scikit-learn), by products of all pairs: time grows with n squared. Of a single example its only neighbour is itself.

    Raises:
      ValueError: there are not so many others.
    """
    n = len(codes)
    if n == 1:
        return np.zeros((1, 1), np.int32)
    if count >= n:
        raise ValueError(f"{count} neighbours are asked for among {n} examples; ask for {n - 1} at most.")
    # Without an argument, an example is not its own neighbour, also where others are the same.
    found = NearestNeighbors(n_neighbors=count, algorithm="brute", n_jobs=-1).fit(codes).kneighbors(return_distance=False)
    return np.asarray(found, np.int32)
