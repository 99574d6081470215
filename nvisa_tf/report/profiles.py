"""What the values of vectors say of clusters: means against the whole. Shapes: n examples, d values, K clusters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

LEAST_DIFFERENCE = 0.1  # standard deviations, under which a mean is not said to differ


class Profiles(NamedTuple):
    """Statistics of n examples.

    Attributes:
      mean, sd: of all examples, float64 [d].
      cluster_mean: of each cluster's, float64 [K, d]; NaN where it has none.
      sizes: examples in each cluster, int64 [K].
      is_share: whether all values are 0 or 1, so that a mean is a share, bool [d].
    """

    mean: np.ndarray
    sd: np.ndarray
    cluster_mean: np.ndarray
    sizes: np.ndarray
    is_share: np.ndarray

    @property
    def difference(self) -> np.ndarray:
        """The clusters' means against the whole's, in units of its standard deviation, [K, d]; 0 where the latter is 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found = (self.cluster_mean - self.mean) / self.sd
        return np.where(np.isfinite(found), found, 0.0)

    @property
    def explained(self) -> np.ndarray:
        """The share of each value's variance that lies between clusters, [d]."""
        return (self.sizes[:, None] * self.difference**2).sum(0) / self.sizes.sum()

    def distinctive(self, cluster: int, most: int) -> np.ndarray:
        """The values whose mean in the cluster differs the most, the largest difference first, at most `most`."""
        size = np.abs(self.difference[cluster])
        order = np.argsort(-size, kind="stable")[:most]
        return order[size[order] >= LEAST_DIFFERENCE]


def profiles(chunks: Iterable[tuple[np.ndarray, np.ndarray]], clusters: np.ndarray, n_clusters: int) -> Profiles:
    """Statistics of examples in pieces.

    Args:
      chunks: (places [b], examples [b, *shape]) each, all n once.
      clusters: of every example, by place, [n].
      n_clusters: K.
    """
    from sklearn.preprocessing import StandardScaler

    scaler, sums, binary = StandardScaler(), None, None
    for places, part in chunks:
        x = np.asarray(part, np.float64).reshape(len(part), -1)
        scaler.partial_fit(x)
        member = clusters[places] == np.arange(n_clusters)[:, None]
        here, are_binary = member.astype(np.float64) @ x, ((x == 0) | (x == 1)).all(0)
        sums = here if sums is None else sums + here
        binary = are_binary if binary is None else binary & are_binary
    if sums is None or binary is None:
        raise ValueError("There are no examples to describe.")
    sizes = np.bincount(clusters, minlength=n_clusters)
    with np.errstate(invalid="ignore"):
        means = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], np.nan)
    return Profiles(scaler.mean_, np.sqrt(scaler.var_), means, sizes, binary)
