"""Clusters among codes: k-means, balanced k-means, a Gaussian mixture, or one in a t-SNE or UMAP map. NumPy in, NumPy out.

Shapes: n examples, K clusters, D dimensions of a code.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE
from sklearn.metrics import pairwise_distances_argmin
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsRegressor
from threadpoolctl import threadpool_limits

from nvisa_tf.clustering.balanced_kmeans import BalancedClusters, balanced_kmeans

if TYPE_CHECKING:
    from nvisa_tf.data import Dataset

FITS = 10  # from different starts; the best is kept
MAPPED = 10_000  # codes that t-SNE maps; its time grows a little faster than their number
NEIGHBOURS = 10
UMAP_NEIGHBOURS, UMAP_DIMENSIONS = 50, 5  # chosen on Fashion-MNIST, labels in sight; MNIST was then run once with them


class Mixture(NamedTuple):
    """A mixture with K components among codes.

    Attributes:
      weights, means, variances: [K], [K, D] and [K, D], the diagonals of the covariances.
      responsibilities: of the examples it was fitted to, [n, K].
      log_likelihood: nats an example, in the space that Gaussians were fitted in; of either k-means None.
      predict: from codes [m, D] to clusters, integers [m].
    """

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    responsibilities: np.ndarray
    log_likelihood: float | None
    predict: Callable[[np.ndarray], np.ndarray]

    def among(self, codes: np.ndarray) -> Mixture:
        """The same clusters as components among other codes of the same examples, [n, D']; `predict` goes on taking the first."""
        weights, means, variances = _moments(np.asarray(codes, np.float64), self.responsibilities)
        return self._replace(weights=weights, means=means, variances=variances)


@threadpool_limits.wrap(limits=1)  # the sums of t-SNE and k-means would depend on the number of threads
def fit_mixture(codes: np.ndarray, n_clusters: int, method: str, seed: int) -> Mixture:
    """The best of `FITS` fits to codes.

    "ae_kmeans": by the sum of squares. "ae_gmm": Gaussians of any covariance, by likelihood. "ae_tsne": the same in a t-SNE map of
    the plane (van der Maaten & Hinton, JMLR 2008) of at most `MAPPED` of the codes, where clusters of any shape come out as lumps; the
    others have the mean responsibilities of their `NEIGHBOURS` nearest in the map. "ae_umap": in a UMAP map (McInnes & Healy, 2018) of
    all codes, of `UMAP_DIMENSIONS` dimensions. N2D (McConville et al., ICPR 2020) clusters in such a map, without a model after it.
    "balanced": clusters of equal size among codes of length 1, by `balanced_kmeans`' objective. "communities": clusters of any size, by
    `clusters_of_any_size` of at most `LARGEST_PART` codes; the others have the mean responsibilities of their nearest.

    Args:
      codes: float [n, D].
      n_clusters: K, at most n.
      method: "ae_kmeans", "ae_gmm", "ae_tsne", "ae_umap", "balanced" or "communities".
      seed: of the starts, of the map and of the choice of codes.

    Raises:
      ValueError: "ae_umap" without umap-learn.
    """
    check_installed(method)
    codes = np.asarray(codes, np.float64)
    if method == "ae_kmeans":
        kmeans = KMeans(n_clusters, n_init=FITS, random_state=seed).fit(codes)
        hard = np.eye(n_clusters)[kmeans.labels_]
        return Mixture(*_moments(codes, hard), hard, None, kmeans.predict)
    if method == "balanced":
        best = best_balanced(codes, n_clusters, seed)
        return Mixture(*_moments(codes, best.responsibilities), best.responsibilities, None, best.predict)
    if method == "communities":
        from nvisa_tf.clustering.communities import LARGEST_PART, clusters_of_any_size  # it loads what few runs need

        rows = spread_rows(len(codes), LARGEST_PART, seed)
        return _of_nearest(codes, rows, np.eye(n_clusters)[clusters_of_any_size(codes[rows], n_clusters, seed)], None)
    if method == "ae_gmm":
        gmm = _fit(codes, n_clusters, "full", seed)
        variances = np.diagonal(gmm.covariances_, axis1=1, axis2=2)
        return Mixture(gmm.weights_, gmm.means_, variances, gmm.predict_proba(codes), float(gmm.lower_bound_), gmm.predict)
    rows, points = _umap(codes, seed) if method == "ae_umap" else _tsne(codes, seed)
    # Maps of few points are large, and single precision: scikit-learn's own regularization is lost in them where a component has one point.
    regularization = 1e-6 * max(1.0, float(points.var()))
    gmm = GaussianMixture(n_clusters, n_init=FITS, random_state=seed, reg_covar=regularization).fit(points)
    return _of_nearest(codes, rows, gmm.predict_proba(points), float(gmm.lower_bound_))


def _of_nearest(codes: np.ndarray, rows: np.ndarray, responsibilities: np.ndarray, log_likelihood: float | None) -> Mixture:
    """All codes [n, D] by those of some rows [m], whose responsibilities are [m, K]: each has the mean of its nearest ones."""
    neighbours = KNeighborsRegressor(min(NEIGHBOURS, len(rows))).fit(codes[rows], responsibilities)
    soft = np.asarray(neighbours.predict(codes))
    return Mixture(*_moments(codes, soft), soft, log_likelihood, lambda other: np.asarray(neighbours.predict(other)).argmax(1))


@threadpool_limits.wrap(limits=1)  # as above
def best_balanced(codes: np.ndarray, n_clusters: int, seed: int) -> BalancedClusters:
    """The fit of `FITS` with the best objective to codes of length 1, [n, D]."""
    codes = np.asarray(codes, np.float64)
    return max((balanced_kmeans(codes, n_clusters, seed + i) for i in range(FITS)), key=lambda fit: fit.objective)


def given_clusters(codes: np.ndarray, responsibilities: np.ndarray) -> Mixture:
    """Clusters that were found elsewhere as components among codes [n, D]; responsibilities: [n, K]. `predict` is by the nearest mean."""
    weights, means, variances = _moments(np.asarray(codes, np.float64), responsibilities)
    return Mixture(weights, means, variances, responsibilities, None, lambda other: pairwise_distances_argmin(other, means))


class Gaussians(NamedTuple):
    """A fitted Gaussian mixture: weights [K], means [K, D], covariances [K, D, D], and nats an example."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    log_likelihood: float

    @property
    def variances(self) -> np.ndarray:
        """The diagonals of the covariances, [K, D]."""
        return np.diagonal(self.covariances, axis1=1, axis2=2)


@threadpool_limits.wrap(limits=1)  # as above
def fit_gaussians(codes: np.ndarray, n_clusters: int, covariance: str, seed: int) -> Gaussians:
    """The likeliest of `FITS` Gaussian mixtures of codes [n, D]; covariance: "full" or "diag"."""
    gmm = _fit(np.asarray(codes, np.float64), n_clusters, covariance, seed)
    covariances = gmm.covariances_ if covariance == "full" else np.stack([np.diag(variances) for variances in gmm.covariances_])
    return Gaussians(gmm.weights_, gmm.means_, covariances, float(gmm.lower_bound_))


def _fit(codes: np.ndarray, n_clusters: int, covariance: str, seed: int) -> GaussianMixture:
    return GaussianMixture(n_clusters, covariance_type=covariance, n_init=FITS, random_state=seed).fit(codes)


def check_installed(method: str) -> None:
    """Raise ValueError where a method needs a package that is not installed."""
    if method == "ae_umap" and importlib.util.find_spec("umap") is None:
        raise ValueError('init ae_umap needs umap-learn; install it (pip install ".[umap]"), or set init to ae_tsne.')


def _tsne(codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers [m] of at most `MAPPED` rows, and where these lie in a plane, [m, 2]."""
    rows = spread_rows(len(codes), MAPPED, seed)
    perplexity = min(30.0, (len(rows) - 1) / 3)
    return rows, TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(codes[rows])


def _umap(codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers [n] of all rows, and where these lie in `UMAP_DIMENSIONS` dimensions, or in as many as codes have if fewer."""
    from umap import UMAP  # not installed by default, and slow to import

    options = {"n_neighbors": min(UMAP_NEIGHBOURS, len(codes) - 1), "n_components": min(UMAP_DIMENSIONS, codes.shape[1])}
    return np.arange(len(codes)), UMAP(**options, min_dist=0.0, random_state=seed, n_jobs=1).fit_transform(codes)


def _moments(codes: np.ndarray, responsibilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights [K], means and variances [K, D] of codes [n, D] by responsibilities [n, K]."""
    responsibilities = np.asarray(responsibilities, np.float64)  # a t-SNE map's are single, in which the difference below is lost
    counts = responsibilities.sum(0)[:, None] + 1e-9
    means = responsibilities.T @ codes / counts
    variances = responsibilities.T @ codes**2 / counts - means**2
    return responsibilities.mean(0), means, np.maximum(variances, 1e-6)


def spread_rows(n: int, most: int, seed: int) -> np.ndarray:
    """At most `most` of n row numbers, ascending, drawn by the seed where there are more."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def spread_part(data: Dataset, most: int, seed: int) -> Dataset:
    """All examples, or `most` of them, in their order, drawn by the seed where there are more."""
    rows = spread_rows(len(data), most, seed)
    return data if len(rows) == len(data) else data.take(rows)
