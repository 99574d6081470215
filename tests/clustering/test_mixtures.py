import sys

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import make_moons, make_spd_matrix

from nvisa_tf import Dataset, clustering_accuracy
from nvisa_tf.clustering import mixtures
from nvisa_tf.clustering.mixtures import fit_mixture, spread_part, spread_rows


def gaussians(rng, n_each):
    means = np.array([[0.0, 0.0], [8.0, 1.0], [-3.0, 9.0]])
    covariances = [make_spd_matrix(2, random_state=seed) for seed in range(3)]
    return np.concatenate([rng.multivariate_normal(m, c, n_each) for m, c in zip(means, covariances, strict=True)]), means, covariances


def ordered(found, wanted):
    """Which of the found means is nearest to each wanted one."""
    return np.linalg.norm(found[None] - wanted[:, None], axis=2).argmin(1)


def test_gaussian_mixture_is_the_one_the_codes_were_drawn_from(rng):
    codes, means, covariances = gaussians(rng, 4000)
    mixture = fit_mixture(codes, 3, "ae_gmm", seed=0)
    order = ordered(mixture.means, means)
    np.testing.assert_allclose(mixture.means[order], means, atol=0.1)
    np.testing.assert_allclose(mixture.variances[order], [np.diag(c) for c in covariances], rtol=0.1)
    np.testing.assert_allclose(mixture.weights, 1 / 3, atol=0.01)
    density = np.stack([multivariate_normal(m, c).pdf(codes) for m, c in zip(means, covariances, strict=True)], 1)
    np.testing.assert_allclose(mixture.responsibilities[:, order], density / density.sum(1, keepdims=True), atol=0.1)
    assert mixture.log_likelihood == pytest.approx(np.log(density.mean(1)).mean(), abs=0.01)
    assert (mixture.predict(codes) == mixture.responsibilities.argmax(1)).all()


def test_kmeans_has_the_means_and_variances_of_its_own_clusters(rng):
    codes, means, _ = gaussians(rng, 500)
    mixture = fit_mixture(codes.astype(np.float32), 3, "ae_kmeans", seed=0)
    clusters = mixture.predict(codes)
    assert set(np.unique(mixture.responsibilities)) == {0.0, 1.0}
    for k in range(3):
        np.testing.assert_allclose(mixture.means[k], codes[clusters == k].mean(0), atol=1e-3)
        np.testing.assert_allclose(mixture.variances[k], codes[clusters == k].var(0), rtol=1e-3)
        assert mixture.weights[k] == pytest.approx((clusters == k).mean())
    assert sorted(ordered(mixture.means, means)) == [0, 1, 2]


@pytest.mark.parametrize("method", ["ae_tsne", "ae_umap"])
def test_a_map_finds_clusters_that_are_no_gaussians(monkeypatch, method, rng):
    """Two arcs around each other and a lump; those that are not in the map go with their neighbours."""
    moons, y = make_moons(300, noise=0.05, random_state=0)
    codes = np.concatenate([moons, rng.normal([4.0, 0.0], 0.1, (150, 2))])
    y = np.concatenate([y, np.full(150, 2)])
    monkeypatch.setattr(mixtures, "MAPPED", 400)
    mixture = fit_mixture(codes, 3, method, seed=0)
    assert clustering_accuracy(y, mixture.responsibilities.argmax(1)) > 0.97
    assert clustering_accuracy(y, fit_mixture(codes, 3, "ae_kmeans", seed=0).responsibilities.argmax(1)) < 0.9
    np.testing.assert_allclose(mixture.responsibilities.sum(1), 1, rtol=1e-6)
    assert (mixture.predict(codes) == mixture.responsibilities.argmax(1)).all()
    k, weight = 1, mixture.responsibilities[:, 1]
    np.testing.assert_allclose(mixture.means[k], np.average(codes, axis=0, weights=weight), atol=1e-6)
    np.testing.assert_allclose(mixture.variances[k], np.average((codes - mixture.means[k]) ** 2, axis=0, weights=weight), rtol=1e-6)


@pytest.mark.parametrize("n_codes", [4, 6, 8])
def test_a_map_of_hardly_more_codes_than_clusters_is_fitted(n_codes):
    """scikit-learn's own regularization is too little for the size of such a map."""
    mixture = fit_mixture(np.random.default_rng(0).normal(size=(n_codes, 10)), 3, "ae_tsne", seed=0)
    assert mixture.responsibilities.shape == (n_codes, 3)
    np.testing.assert_allclose(mixture.responsibilities.sum(1), 1)


def test_equal_parts_of_the_sphere_are_components_of_other_codes():
    rng = np.random.default_rng(1)
    angles = np.concatenate([rng.normal(at, 0.1, n) for at, n in ((0, 150), (2, 150), (4, 150))])
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    codes = np.stack([5 + angles, rng.normal(size=450), np.repeat([1.0, 2.0, 3.0], 150)], 1)
    found = fit_mixture(circle, 3, "balanced", seed=0)
    mixture = found.among(codes)
    assert found.log_likelihood is None
    clusters = mixture.predict(circle)
    np.testing.assert_array_equal(clusters, mixture.responsibilities.argmax(1))
    assert clustering_accuracy(np.repeat(np.arange(3), 150), clusters) == 1
    np.testing.assert_allclose(mixture.weights, 1 / 3, rtol=2e-3)
    order = np.argsort(mixture.means[:, 0])
    np.testing.assert_allclose(mixture.means[order][:, [0, 2]], [[5, 1], [7, 2], [9, 3]], atol=0.05)
    np.testing.assert_allclose(mixture.variances[:, 1], 1, atol=0.3)


def test_communities_are_of_any_size_and_answer_for_all_codes(monkeypatch, rng):
    monkeypatch.setattr("nvisa_tf.clustering.communities.LARGEST_PART", 300)
    sizes = (400, 100, 100)
    codes = np.concatenate([rng.normal(at, 0.5, (n, 3)) for at, n in zip((0, 4, 8), sizes, strict=True)])
    found = fit_mixture(codes, 3, "communities", seed=0)
    true = np.repeat(np.arange(3), sizes)
    assert found.responsibilities.shape == (600, 3)
    assert found.log_likelihood is None
    assert clustering_accuracy(true, found.responsibilities.argmax(1)) > 0.99
    np.testing.assert_array_equal(found.predict(codes), found.responsibilities.argmax(1))
    np.testing.assert_allclose(sorted(found.weights), np.sort(sizes) / 600, atol=0.01)


@pytest.mark.parametrize("method", ["ae_kmeans", "ae_gmm", "ae_tsne", "ae_umap", "balanced", "communities"])
def test_the_same_seed_gives_the_same_mixture(method, rng):
    codes = rng.normal(size=(200, 2))
    codes = codes / np.linalg.norm(codes, axis=1, keepdims=True) if method == "balanced" else codes
    first, same = (fit_mixture(codes, 5, method, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.responsibilities, same.responsibilities)


def test_umap_maps_few_codes_too_and_is_asked_for_where_it_is_missing(monkeypatch, rng):
    codes = rng.normal(size=(12, 3))
    assert fit_mixture(codes, 2, "ae_umap", seed=0).responsibilities.shape == (12, 2)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ValueError, match="umap-learn; install it"):
        fit_mixture(codes, 2, "ae_umap", seed=0)


def test_rows_are_spread_and_whole():
    np.testing.assert_array_equal(spread_rows(5, 7, 0), np.arange(5))
    rows = spread_rows(1000, 100, 0)
    assert len(set(rows)) == 100
    assert rows.min() < 100 < 900 < rows.max()
    np.testing.assert_array_equal(rows, spread_rows(1000, 100, 0))
    assert not (rows == spread_rows(1000, 100, 1)).all()


def test_a_part_of_a_data_set_has_the_rows_that_are_drawn_and_a_small_set_is_its_own_part():
    data = Dataset("rows", np.arange(1000.0)[:, None], np.arange(1000))
    part = spread_part(data, 100, 3)
    np.testing.assert_array_equal(part.y, spread_rows(1000, 100, 3))
    np.testing.assert_array_equal(part.x[:, 0], part.y)
    assert spread_part(data, 1000, 3) is data
