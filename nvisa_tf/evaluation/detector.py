"""Which examples are outliers: unlike all that a model was trained on, at a false-alarm rate that was measured on held-out examples.

Examples of each cluster are taken as normal about the cluster's mean, with one covariance for all clusters, up to a factor for each. Their
density falls with two distances, which are judged apart, as one of them would drown the other: Hotelling's T^2 within the principal
components of that covariance, and Q, the squared distance to the space that these span (Jackson and Mudholkar, "Control Procedures for
Residuals Associated With Principal Component Analysis", Technometrics 21, 1979). A third one, of images alone, is how little contrast there
is: an image of one colour lies near the mean, and is unlike the others all the same.

Where a limit is put decides how many examples of the training data's kind are taken for outliers; it is a quantile over examples that
nothing was fitted to (split conformal prediction; Bates et al., "Testing for outliers with conformal p-values", arXiv 2104.08279).

Shapes: n examples of d values, K clusters that have examples, C components, m examples that limits are taken from, S distances.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold

from nvisa_tf.data import Dataset
from nvisa_tf.evaluation.novelty import load_arrays
from nvisa_tf.evaluation.pieces import pieces
from nvisa_tf.io.files import replacing

SHOWN_RATE = 0.01  # of false alarms, in reports
FITTED = 10_000  # examples at most that means and components are of, and that limits are taken from
FITTED_VALUES = 20_000_000  # in all of them at most, 80 MB, unless `LEAST` examples have more
COMPONENTS = 256  # at most
VALUES = 2_000_000  # in all components at most: 8 MB
EACH = 5  # training examples for each component, and in a cluster, at least
FOLDS = 5  # where too few examples were held out
LEAST = 200  # held-out examples that limits are taken from alone
LEAST_REST = 1e-4  # of the variance within clusters that must lie outside of the components, for Q to be more than rounding
LEAST_BEYOND = 10  # of the examples that limits are taken from must lie beyond a limit, for it to be weighed against the others'
FARTHEST = 1e9  # on the model's scale; larger values are taken for this one, as their squares would be infinite
OF_CONTRAST = 0.1  # the share of false alarms that contrast may have: as large a one as the others' would hide what they find
LEAST_SPREAD = 1e-6  # of the components' mean variance, which every one is taken to have at least
CONTRAST = 1e-6  # the least there is


class Clusters(Protocol):
    """What is asked of a model: as in `nvisa_tf.models.base.ClusteringModel`."""

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """On the model's scale."""
        ...

    def predict_clusters(self, x: np.ndarray) -> np.ndarray:
        """Clusters [n]."""
        ...


class Distances(NamedTuple):
    """What T^2, Q and contrast are measured by.

    Attributes:
      means: of each cluster that has examples, float32 [K, d].
      components: of the covariance within clusters, orthonormal, float32 [d, C].
      variances: along each, float32 [C].
      spreads: of each cluster, by which T^2 and Q are divided: 1 of the average one, float32 [2, K].
      has_rest: whether anything lies outside of what they span, bool; else Q would be rounding alone.
      is_image: whether contrast counts, bool.
    """

    means: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    spreads: np.ndarray
    has_rest: np.ndarray
    is_image: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, clusters: np.ndarray, is_image: bool, count: int) -> Distances:
        """Fitted to examples on the model's scale, [n, d], in clusters [n], with so many components.

        Clusters of fewer than `EACH` examples are left out, as an outlier may be a cluster by itself, unless all are so small.
        """
        counts = np.bincount(clusters)
        if counts.max() >= EACH:
            of_some = counts[clusters] >= EACH
            x, clusters = x[of_some], clusters[of_some]
        present, clusters = np.unique(clusters, return_inverse=True)
        means = np.stack([x[clusters == k].mean(0) for k in range(len(present))])
        rest = x - means[clusters]
        n, d = x.shape
        count = min(count, n)
        pca = PCA(count, svd_solver="full" if d <= COMPONENTS else "randomized", random_state=0).fit(rest)
        total = float(np.square(rest).sum() / n)
        explained = pca.explained_variance_
        left = (total - float(explained.sum())) / max(1, d - count) if count < d else 0.0
        variances = explained + max(left, 0.0)  # what no component has is taken to be the same in every direction
        variances = np.maximum(variances, LEAST_SPREAD * max(float(variances.mean()), float(np.finfo(np.float32).tiny)))
        has_rest = count < d and left * (d - count) > LEAST_REST * total
        found = cls(
            means.astype(np.float32),
            pca.components_.T.astype(np.float32),
            variances.astype(np.float32),
            np.ones((2, len(means)), np.float32),
            np.asarray(has_rest),
            np.asarray(is_image),
        )
        return found._replace(spreads=found._spreads_of(x, clusters))

    def _spreads_of(self, x: np.ndarray, clusters: np.ndarray) -> np.ndarray:
        """How far each cluster's examples lie from its mean, of all clusters' on average; of few examples nearer to 1."""
        scaled, inside = self._inside(x)
        own = self.means[clusters]
        within = np.square(inside - own @ self.components)
        distances = [(within / self.variances).sum(1), np.maximum(np.square(scaled - own).sum(1) - within.sum(1), 0)]
        found = [np.bincount(clusters, each / max(float(each.mean()), np.finfo(np.float32).tiny)) for each in distances]
        return ((np.stack(found) + EACH) / (np.bincount(clusters) + EACH)).astype(np.float32)

    def _inside(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = np.clip(x, -FARTHEST, FARTHEST)
        return x, x @ self.components

    def measure(self, x: np.ndarray) -> np.ndarray:
        """T^2 of the nearest cluster, Q of it, and the reciprocal of the contrast, of examples on the model's scale, float32 [n, S]."""
        x, inside = self._inside(x)
        middles, scales = self.means @ self.components, np.sqrt(self.variances)
        squares = cdist(inside / scales, middles / scales, "sqeuclidean") / self.spreads[0]
        nearest = squares.argmin(1)
        found = [squares[np.arange(len(x)), nearest]]
        if self.has_rest:
            rest = np.square(x - self.means[nearest]).sum(1) - np.square(inside - middles[nearest]).sum(1)
            found.append(rest / self.spreads[1, nearest])
        if self.is_image:
            found.append(1 / np.maximum(x.std(1), CONTRAST))
        return np.maximum(np.stack(found, 1), 0).astype(np.float32)


class OutlierDetector(NamedTuple):
    """Distances, and how large they are for examples that nothing was fitted to.

    Attributes:
      distances: what is measured.
      held_out: of those examples, float32 [m, S].
    """

    distances: Distances
    held_out: np.ndarray

    @classmethod
    def of(cls, model: Clusters, train: Dataset, test: Dataset) -> OutlierDetector:
        """Fitted to training examples, with limits from held-out ones, or, of less than `LEAST`, from training examples in turn."""
        most = max(LEAST, min(FITTED, FITTED_VALUES // int(np.prod(train.shape))))
        some = train.spread(most)
        x, clusters = _flat(model, some), _in_pieces(model.predict_clusters, some)
        is_image, is_held_out = train.is_image, test is not train and len(test) >= LEAST
        # The same number in every fit: distances by other numbers of components cannot be compared.
        fitted_to = len(x) if is_held_out else len(x) * (FOLDS - 1) // FOLDS
        count = int(max(1, min(COMPONENTS, x.shape[1], VALUES // x.shape[1], fitted_to // EACH)))
        distances = Distances.of(x, clusters, is_image, count)
        if is_held_out:
            return cls(distances, distances.measure(_flat(model, test.spread(most))))
        folds = min(FOLDS, len(x))
        parts = KFold(folds, shuffle=True, random_state=0).split(x) if folds > 1 else [(np.arange(len(x)),) * 2]
        fits = ((Distances.of(x[fitted], clusters[fitted], is_image, count), x[left]) for fitted, left in parts)
        # Whether there is a rest may differ where examples are few; what is measured may not.
        return cls(distances, np.concatenate([fit._replace(has_rest=distances.has_rest).measure(left) for fit, left in fits]))

    def smallest_rate(self) -> float:
        """The smallest false-alarm rate that can be told from so many examples."""
        return 1 / (len(self.held_out) + 1)

    def limits(self, rate: float) -> np.ndarray:
        """Of each distance, [S]: beyond any of them lies a share `rate` of examples like the training data, at most and on average.

        Raises:
          ValueError: the rate is not between `smallest_rate` and 1.
        """
        least = self.smallest_rate()
        if not least <= rate < 1:
            raise ValueError(
                f"The false-alarm rate is {rate:g}; it must be below 1, and at least {least:.2g}, as it is measured on "
                f"{len(self.held_out):,} examples."
            )
        # Weighed against each other where there are some examples beyond, and then put where the rate is kept.
        beyond = max(rate, min(1.0, LEAST_BEYOND / len(self.held_out)))
        shares = np.full(self.held_out.shape[1], 1 / self.held_out.shape[1])
        if self.distances.is_image:
            shares[-1], shares[:-1] = OF_CONTRAST, (1 - OF_CONTRAST) / (len(shares) - 1)
        quantiles = zip(self.held_out.T, 1 - beyond * shares, strict=True)
        each = np.array([np.quantile(values, share, method="higher") for values, share in quantiles])
        each = np.maximum(each, np.finfo(np.float32).tiny)
        worst = np.sort((self.held_out / each).max(1))
        return each * worst[min(len(worst), int(np.ceil((1 - rate) * (len(worst) + 1)))) - 1]

    def novelty(self, model: Clusters, data: Dataset, rate: float) -> np.ndarray:
        """The largest of the distances, each by its limit, float32 [n]: above 1 an example is an outlier; errors as `limits`."""
        limits = self.limits(rate)
        found = [(self.distances.measure(part) / limits).max(1) for part in _scaled(model, data)]
        return np.concatenate(found).astype(np.float32)

    def shown_novelty(self, model: Clusters) -> Callable[[Dataset], np.ndarray] | None:
        """`novelty` at the rate that reports show, `SHOWN_RATE`; None where that cannot be told from so few examples."""
        return None if self.smallest_rate() > SHOWN_RATE else lambda data: self.novelty(model, data, SHOWN_RATE)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .npz file."""
        with replacing(path) as temporary:
            np.savez(temporary, **self.distances._asdict(), held_out=self.held_out)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> OutlierDetector:
        """What `save` wrote; errors as `nvisa_tf.evaluation.novelty.load_arrays`."""
        arrays = load_arrays(path, [*Distances._fields, "held_out"], "and it is made again from the run's data")
        found = cls(Distances(**{name: arrays[name] for name in Distances._fields}), arrays["held_out"])
        expected = 1 + bool(found.distances.has_rest) + bool(found.distances.is_image)
        if found.held_out.ndim != 2 or found.held_out.shape[1] != expected:
            raise ValueError(f"{path} is damaged; remove it and it is made again from the run's data.")
        return found


def _scaled(model: Clusters, data: Dataset) -> Iterator[np.ndarray]:
    for x in pieces(data):
        yield np.asarray(model.scaled(x.astype(np.float32)), np.float32).reshape(len(x), -1)


def _flat(model: Clusters, data: Dataset) -> np.ndarray:
    return np.concatenate(list(_scaled(model, data)))


def _in_pieces(function: Callable[[np.ndarray], np.ndarray], data: Dataset) -> np.ndarray:
    return np.concatenate([function(x) for x in pieces(data)])
