"""Whether new inputs are of the training data's kind, by the inputs alone.

A model that has learnt its training examples by heart reconstructs every other one worse, so its errors tell nothing. What is compared
instead is as large for new examples of the same kind as for the training examples: the distance to the nearest of the others (as in
Ramaswamy, Rastogi and Shim, "Efficient Algorithms for Mining Outliers from Large Data Sets", SIGMOD 2000), and the mean and the spread
of an example's values, and of an image's the difference between neighbouring pixels.

Shapes: n examples of d values, r kept training examples, P values of a projection, S statistics of an example.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import betabinom

from nvisa_tf.data import Dataset
from nvisa_tf.evaluation.pieces import pieces

if TYPE_CHECKING:
    from nvisa_tf.models.base import ClusteringModel

KEPT = 1000  # training examples at most that others are compared with, evenly spread
PROJECTED = 64  # values at most; a random projection keeps distances to about a tenth (Johnson and Lindenstrauss, 1984)
SEED = 0  # of the projection, which is drawn again for new examples
RARE = 0.001  # the share of the training data's kind that lies beyond each limit
LEAST_SHARE = 0.1  # of examples that must lie beyond one: examples of one class alone may reach several times `RARE`
SIGNIFICANCE = 0.005  # the chance at which as many of the training data's kind would lie there


class Inputs(NamedTuple):
    """What new inputs are compared with.

    Attributes:
      kept: projected training examples, float32 [r, P].
      farthest: the distance to the nearest other, beyond which a share `RARE` of them lies.
      limits: below and above which such a share of the statistics of an example lies, float32 [2, S].
    """

    kept: np.ndarray
    farthest: np.ndarray
    limits: np.ndarray

    @classmethod
    def of(cls, model: ClusteringModel, train: Dataset) -> Inputs:
        """What the training data give, on the model's scale."""
        some = train.spread(KEPT)
        kept, statistics = (np.concatenate(values) for values in zip(*_measures(model, some), strict=True))
        distances = cdist(kept, kept)
        np.fill_diagonal(distances, np.inf)
        nearest = distances.min(1) if len(some) > 1 else np.array([np.inf])
        limits = np.quantile(statistics, [RARE, 1 - RARE], axis=0)
        return cls(kept, np.asarray(np.quantile(nearest, 1 - RARE), np.float32), limits.astype(np.float32))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Inputs:
        """What `Reference.save` wrote; errors as `load_arrays`."""
        return cls(**load_arrays(path, cls._fields))

    def unlike(self, model: ClusteringModel, data: Dataset) -> np.ndarray:
        """Whether each example lies beyond a limit, bool [n]."""
        slack = 1e-5 * np.abs(self.limits).max(0)  # for rounding
        found = []
        for projected, statistics in _measures(model, data):
            far = cdist(projected, self.kept).min(1) > self.farthest
            beyond = (statistics < self.limits[0] - slack) | (statistics > self.limits[1] + slack)
            found.append(far | beyond.any(1))
        return np.concatenate(found)

    def warning(self, model: ClusteringModel, data: Dataset) -> str:
        """A sentence where clearly more examples lie beyond the limits than those of the training data's kind would; else ""."""
        n, unlike = len(data), int(self.unlike(model, data).sum())
        if unlike <= LEAST_SHARE * n or self.chance(n, unlike) > SIGNIFICANCE:
            return ""
        return (
            f"{unlike:,} of {n:,} examples ({unlike / n:.0%}) are unlike the training data; "
            "check that they come in the same units, size and colours, and trust their clusters less."
        )

    def chance(self, n: int, unlike: int) -> float:
        """At most the probability that so many or more of n examples of the training data's kind lie beyond the limits.

        The limits are order statistics of r examples, so the share beyond them has a beta distribution; where r is small it is wide.
        """
        r, n_limits = len(self.kept), 1 + 2 * self.limits.shape[1]
        beyond = n_limits * max(1.0, RARE * r)
        return float(betabinom.sf(unlike - 1, n, beyond, max(1.0, r + 1 - beyond)))


def load_arrays(path: str | os.PathLike[str], names: Sequence[str], advice: str = "to predict without typicality") -> dict[str, np.ndarray]:
    """Arrays by name from a .npz file of a run.

    Args:
      path: of the file.
      names: of the arrays.
      advice: what removing the file is good for.

    Raises:
      ValueError: there is no such file, it is damaged, or it has other arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged or no file of ours; remove it {advice}.") from error


def _measures(model: ClusteringModel, data: Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Piece by piece projections [b, P] and statistics [b, S] of examples on the model's scale."""
    d = int(np.prod(data.shape))
    matrix = np.random.default_rng(SEED).normal(0, 1 / np.sqrt(PROJECTED), (d, PROJECTED)).astype(np.float32) if d > PROJECTED else None
    for x in pieces(data):
        scaled = np.asarray(model.scaled(x.astype(np.float32)), np.float32)
        flat = scaled.reshape(len(x), -1)
        statistics = [flat.mean(1), flat.std(1)]
        if data.is_image:
            steps = [np.abs(np.diff(scaled, axis=axis)).reshape(len(x), -1) for axis in (1, 2)]
            statistics.append(np.concatenate(steps, 1).mean(1))
        yield flat if matrix is None else flat @ matrix, np.stack(statistics, 1)
