"""How many clusters data have, without labels: communities of the graph of nearest neighbours, and whether a valley divides each two.

The partition of largest modularity (Newman and Girvan, 2004), found by the Leiden method (Traag et al., 2019) at several resolutions, needs
no number of clusters. It cuts large clusters in pieces beside small ones, and a single Gaussian too, so communities without a valley of
density between them are merged (`nvisa_tf.clustering.separation`). All is done for several random parts of the data: where they give
other numbers, these are as plausible.

Shapes: n examples, d values of one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sknetwork.clustering import Leiden, get_modularity

from nvisa_tf.clustering.neighbors import nearest_neighbors, principal_components
from nvisa_tf.clustering.separation import merge_nearest

FEWEST_EXAMPLES = 20
PARTS = 5
PART = 0.8  # of the examples, of which the largest part has
LARGEST_PART = 10_000
LARGEST_VALUES = 2**27  # of a part: half a gigabyte
COMPONENTS = 64
NEIGHBORS = 30
RESOLUTIONS = (0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
FINER = 1.5  # the factor from one resolution to the next, where all of them give too few clusters
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

    @property
    def plausible(self) -> tuple[int, int]:
        """The least and the largest number that a part of the data has."""
        return min(self.found), max(self.found)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {**self._asdict(), "found": list(self.found), "curve": [list(point) for point in self.curve]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NumberOfClusters:
        """What `as_dict` made plain values of."""
        return cls(**{**values, "found": tuple(values["found"]), "curve": tuple(tuple(point) for point in values["curve"])})


class _Partition(NamedTuple):
    clusters: np.ndarray  # integers [n], from 0 on
    modularity: float

    @property
    def n_clusters(self) -> int:
        return int(self.clusters.max()) + 1


class _Part(NamedTuple):
    partitions: list[_Partition]  # one for each of `RESOLUTIONS`
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
      examples: gives those with these numbers, sorted integers [m], as float [m, d], on the scale on which distances mean something.
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
        raise ValueError(f"There are {n:,} examples, too few to find how many clusters they have; give the number of clusters.")
    parts = []
    for number in range(PARTS):
        rng = np.random.default_rng([seed, number])
        codes = _codes(examples(np.sort(rng.permutation(n)[:size])), seed)
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
        _communities(_graph(gaussian), 1.0, rng).modularity,
    )


def _codes(x: np.ndarray, seed: int) -> np.ndarray:
    """Principal components, float32 [n, at most COMPONENTS]."""
    flat = np.asarray(x, np.float32).reshape(len(x), -1)
    kernel, bias = principal_components(flat, min(COMPONENTS, flat.shape[1]), seed)
    return flat @ kernel + bias


def _graph(codes: np.ndarray) -> sparse.csr_matrix:
    """The graph in which two examples are joined where one is among the nearest neighbours of the other, [n, n]."""
    n = len(codes)
    count = min(NEIGHBORS, n // 4)
    near = nearest_neighbors(codes, count)
    directed = sparse.csr_matrix((np.ones(n * count), (np.repeat(np.arange(n), count), near.ravel())), (n, n))
    return directed.maximum(directed.T).tocsr()


def _communities(graph: sparse.csr_matrix, resolution: float, rng: np.random.Generator) -> _Partition:
    clusters = Leiden(resolution=resolution, random_state=int(rng.integers(2**31))).fit_predict(graph)
    return _Partition(clusters, float(get_modularity(graph, clusters)))


def _part(codes: np.ndarray, rng: np.random.Generator, fewest: int | None, most: int | None) -> _Part:
    graph = _graph(codes)
    partitions = [_communities(graph, resolution, rng) for resolution in RESOLUTIONS]
    low, high = fewest or 1, most or len(codes)
    candidates = list(partitions)
    resolution = RESOLUTIONS[-1]
    while not any(partition.n_clusters >= low for partition in candidates):
        resolution *= FINER
        candidates.append(_communities(graph, resolution, rng))
    fitting = [partition for partition in candidates if low <= partition.n_clusters <= high]
    best = max(fitting or [p for p in candidates if p.n_clusters >= low], key=lambda partition: partition.modularity)
    clusters, apart = merge_nearest(codes, best.clusters, rng, LEAST_SEPARATION, low, high)
    return _Part(partitions, int(clusters.max()) + 1, apart)


def _curve(parts: Sequence[_Part]) -> tuple[tuple[float, float, float], ...]:
    numbers = np.array([[partition.n_clusters for partition in part.partitions] for part in parts], float)
    modularity = np.array([[partition.modularity for partition in part.partitions] for part in parts])
    return tuple(zip(numbers.mean(0).tolist(), modularity.mean(0).tolist(), modularity.std(0, ddof=1).tolist(), strict=True))
