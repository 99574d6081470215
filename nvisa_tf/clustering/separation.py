"""Whether two clusters are apart: how deep the valley of density between them is. NumPy in, NumPy out.

A cluster that was cut in pieces has none between them. The two clusters are seen from the side from which they look most apart, by
Fisher's linear discriminant; it is learned from one half of their examples and looked through at the other, or else it would find
a valley in anything with many dimensions. Leiber et al. (KDD 2021, "Dip-based deep embedded clustering with k-estimation") merge clusters
likewise, by Hartigan's dip test in place of the valley.

Shapes: n and m examples, D values of one.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from sklearn.covariance import ledoit_wolf

from nvisa_tf.clustering.neighbors import nearest_neighbors

LARGEST = 1_000  # examples of a cluster that are looked at
SMALLEST = 8  # examples of the smaller cluster, two a side of each half at least; under it no valley can be seen
REPEATS = 2  # of halving the examples
BINS = 256
COMPARED = 5  # clusters that one is compared with


def separation(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> float:
    """How far two clusters are apart, in [0, 1]: 1 minus the density between them over the lower of their peaks.

    0 where there is no valley, as between the halves of one Gaussian, and where a cluster is too small to tell; 1 where nothing lies
    between. The density is a kernel density estimate (Scott's rule, of a histogram) of as many examples of the one as of the other.

    Args:
      a, b: examples of each, float [n, D] and [m, D].
      rng: what is drawn from them.
    """
    count = min(LARGEST, len(a), len(b))
    if count < SMALLEST:
        return 0.0
    depths = []
    side = np.repeat([False, True], count)
    for _ in range(REPEATS):
        both = np.concatenate([a[rng.permutation(len(a))[:count]], b[rng.permutation(len(b))[:count]]])
        half = np.arange(2 * count) % 2 == 0
        for learned_from in (half, ~half):
            direction = discriminant(both[learned_from & ~side], both[learned_from & side])
            depths.append(valley_depth(both[~learned_from] @ direction, side[~learned_from]))
    return float(np.mean(depths))


def discriminant(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The direction [D] from which two groups, [n, D] and [m, D], look most apart (Fisher, 1936).

    By a shrunk covariance within them (Ledoit and Wolf, 2004).
    """
    within = np.concatenate([a - a.mean(0), b - b.mean(0)])
    covariance, _ = ledoit_wolf(within, assume_centered=True)
    return np.linalg.lstsq(covariance, b.mean(0) - a.mean(0), rcond=None)[0]


def valley_depth(values: np.ndarray, side: np.ndarray) -> float:
    """How deep the density is between the medians of two groups of numbers, in [0, 1], as in `separation`.

    Args:
      values: float [n].
      side: which group each is of, bool [n].
    """
    if np.ptp(values) == 0:
        return 0.0
    counts, edges = np.histogram(values, BINS)
    width = len(values) ** (-1 / 5) * values.std() / (edges[1] - edges[0])  # Scott's rule
    density = gaussian_filter1d(counts.astype(float), width, mode="constant")
    low, high = sorted(np.searchsorted(edges[1:-1], [np.median(values[side]), np.median(values[~side])]))
    deepest = low + density[low : high + 1].argmin()
    return float(1 - density[deepest] / min(density[: deepest + 1].max(), density[deepest:].max()))


def merge_nearest(
    x: np.ndarray, clusters: np.ndarray, rng: np.random.Generator, least: float = 0.0, fewest: int = 1, most: int | None = None
) -> tuple[np.ndarray, float]:
    """Merge the two clusters that are the least apart, again and again, while these are less than `least` apart or there are too many.

    A cluster is compared with those whose means are the nearest, `COMPARED` of them.

    Args:
      x: float [n, D].
      clusters: integers [n].
      rng: as for `separation`.
      least: in [0, 1].
      fewest: clusters that are left, at least 1.
      most: clusters that are left, however far they are apart; None: any number.

    Returns:
      The clusters, numbered from 0 on, integers [n]; and how far those two are apart that are the least so, 0 of a single cluster.
    """
    members = {int(k): np.flatnonzero(clusters == k) for k in np.unique(clusters)}
    found: dict[tuple[int, int], float] = {}
    while len(members) > 1:
        pairs = _near(x, members)
        found.update({(i, j): separation(x[members[i]], x[members[j]], rng) for i, j in pairs if (i, j) not in found})
        nearest = min(pairs, key=lambda pair: found[pair])
        too_many = most is not None and len(members) > most
        if len(members) <= fewest or (found[nearest] >= least and not too_many):
            break
        kept, gone = nearest
        members[kept] = np.concatenate([members[kept], members.pop(gone)])
        found = {pair: value for pair, value in found.items() if not set(pair) & set(nearest)}
    merged = np.empty(len(x), np.int64)
    for number, rows in enumerate(members.values()):
        merged[rows] = number
    return merged, found[nearest] if len(members) > 1 else 0.0


def _near(x: np.ndarray, members: dict[int, np.ndarray]) -> list[tuple[int, int]]:
    """Each cluster with those whose means are the nearest."""
    names = list(members)
    means = np.stack([x[rows].mean(0) for rows in members.values()])
    count = min(COMPARED, len(names) - 1)
    near = nearest_neighbors(means, count)
    return sorted({(min(names[i], names[j]), max(names[i], names[j])) for i, row in enumerate(near) for j in row})
