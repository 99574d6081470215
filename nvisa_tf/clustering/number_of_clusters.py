"""How many clusters data have, without labels: communities of the graph of nearest neighbours, and whether a valley divides each two.

The partition of largest modularity (Newman and Girvan, 2004), found by the Louvain method (Blondel et al., 2008) at several resolutions,
needs no number of clusters. It cuts large clusters in pieces beside small ones, and a single Gaussian too, so communities without a valley
of density between them are merged (`nvisa_tf.clustering.separation`). All is done for several random parts of the data: where they give
other numbers, these are as plausible.

Shapes: n examples, d values of one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nvisa_tf.clustering.communities import (
    LARGEST_PART,
    RESOLUTIONS,
    Partition,
    best_partition,
    communities,
    components,
    neighbor_graph,
)
from nvisa_tf.clustering.separation import merge_nearest

FEWEST_EXAMPLES = 20
PARTS = 5
PART = 0.8  # of the examples, of which the largest part has
LARGEST_VALUES = 2**27  # of a part: half a gigabyte
LEAST_SEPARATION = 0.1


class NumberOfClusters(NamedTuple):
    """What was found.

    Attributes:
      chosen: K; 1 where nothing divides the data.
      found: K of each part of the data.
      fewest, most: what K had to be, None where no limit was given.
      separation: how far those two clusters are apart that are the least so, in [0, 1], on average over the parts with `chosen` clusters.
      curve: for each resolution the mean number of communities, their mean modularity, and its standard deviation over the parts.
      modularity_of_gaussian: the largest modularity of as many draws of one Gaussian with the data's covariance, for comparison.
    """

    chosen: int
    found: tuple[int, ...]
    fewest: int | None
    most: int | None
    separation: float
    curve: tuple[tuple[float, float, float], ...]
    modularity_of_gaussian: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {**self._asdict(), "found": list(self.found), "curve": [list(point) for point in self.curve]}


class _Part(NamedTuple):
    partitions: list[Partition]  # one for each of `RESOLUTIONS`
    n_clusters: int
    separation: float


def find_number_of_clusters(
    examples: Callable[[np.ndarray], np.ndarray],
    n: int,
    n_values: int,
    seed: int,
    fewest: int | None = None,
    most: int | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> NumberOfClusters:
    """How many clusters data have.

    Time and memory do not grow with n once a part is as large as it may be, `LARGEST_PART` examples or `LARGEST_VALUES` values.

    Args:
      examples: gives those with these numbers, sorted integers [m], as float [m, ...], on the scale on which distances mean something.
      n: how many there are.
      n_values: d.
      seed: of which parts are looked at, and of everything else that is drawn.
      fewest, most: limits of K, 2 <= fewest <= most, both or none.
      tell: is told the number of each part.

    Raises:
      ValueError: limits that are none, too few examples, or examples that are all the same.
    """
    if fewest is not None and most is not None and not 2 <= fewest <= most:
        raise ValueError(f"The number of clusters is to be from {fewest} to {most}; give two numbers from 2 on, the smaller one first.")
    size = min(LARGEST_PART, int(PART * n), max(FEWEST_EXAMPLES, LARGEST_VALUES // n_values))
    if n < FEWEST_EXAMPLES or size < (fewest or 0):
        what = f"{fewest} clusters in parts of {size:,} of them" if size < (fewest or 0) else "how many clusters they have"
        raise ValueError(f"There are {n:,} examples, too few to find {what}; give a smaller range, or the number of clusters.")
    parts = []
    for number in range(PARTS):
        rng = np.random.default_rng([seed, number])
        codes = components(examples(np.sort(rng.permutation(n)[:size])), seed)
        parts.append(_part(codes, rng, fewest, most))
        tell(f"clusters of part {number + 1} of {PARTS}, {size:,} examples: {parts[-1].n_clusters}")
    found = tuple(part.n_clusters for part in parts)
    chosen = min(statistics.multimode(found))
    rng = np.random.default_rng([seed, PARTS])
    gaussian = (rng.standard_normal(codes.shape) * codes.std(0)).astype(np.float32)
    return NumberOfClusters(
        chosen,
        found,
        fewest,
        most,
        statistics.mean(part.separation for part in parts if part.n_clusters == chosen),
        _curve(parts),
        communities(neighbor_graph(gaussian), 1.0, rng).modularity,
    )


def _part(codes: np.ndarray, rng: np.random.Generator, fewest: int | None, most: int | None) -> _Part:
    graph = neighbor_graph(codes)
    partitions = [communities(graph, resolution, rng) for resolution in RESOLUTIONS]
    low, high = fewest or 1, most or len(codes)
    clusters, apart = merge_nearest(codes, best_partition(graph, partitions, low, high, rng).clusters, rng, LEAST_SEPARATION, low, high)
    return _Part(partitions, int(clusters.max()) + 1, apart)


def _curve(parts: Sequence[_Part]) -> tuple[tuple[float, float, float], ...]:
    numbers = np.array([[partition.n_clusters for partition in part.partitions] for part in parts], float)
    modularity = np.array([[partition.modularity for partition in part.partitions] for part in parts])
    return tuple(zip(numbers.mean(0).tolist(), modularity.mean(0).tolist(), modularity.std(0, ddof=1).tolist(), strict=True))
