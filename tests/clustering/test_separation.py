import numpy as np
import pytest
from scipy.stats import gaussian_kde, norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from nvisa_tf.clustering.separation import LARGEST, discriminant, merge_nearest, separation, valley_depth


def two_gaussians(distance, n=1000, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(n, d)) + distance * np.eye(d)[0]


@pytest.mark.parametrize("distance", [3.0, 4.0, 6.0])
def test_the_separation_of_two_gaussians_is_that_of_their_smoothed_density(distance):
    # On the line between them, seen through a Gaussian kernel whose width is Scott's rule for the thousand of a half.
    width = 1000 ** (-1 / 5) * np.sqrt(1 + distance**2 / 4)
    sd = np.sqrt(1 + width**2)
    peak = norm.pdf(0, scale=sd) + norm.pdf(distance, scale=sd)
    middle = 2 * norm.pdf(distance / 2, scale=sd)
    found = separation(*two_gaussians(distance), np.random.default_rng(0))
    assert found == pytest.approx(1 - middle / peak, abs=0.06)


def test_the_discriminant_is_that_of_scikit_learn():
    a, b = two_gaussians(2.0, n=4000)
    skew = np.random.default_rng(1).normal(size=(5, 5))
    a, b = a @ skew, b @ skew
    both, side = np.concatenate([a, b]), np.repeat([0, 1], 4000)
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(both, side).coef_[0]
    found = discriminant(a, b)
    assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) == pytest.approx(1, abs=1e-4)
    assert np.isfinite(discriminant(np.ones((4, 3)), np.zeros((4, 3)))).all()


def test_the_pieces_of_one_gaussian_are_not_apart_in_many_dimensions():
    x = np.random.default_rng(0).normal(size=(600, 64))
    cut = x[:, 0] > 0
    assert separation(x[cut], x[~cut], np.random.default_rng(1)) < 0.05


def test_clusters_too_small_to_tell_are_not_apart():
    a, b = two_gaussians(100.0, n=7)
    assert separation(a, b, np.random.default_rng(0)) == 0


def test_no_more_examples_are_looked_at_than_of_the_smaller_cluster(monkeypatch):
    seen = []
    monkeypatch.setattr("nvisa_tf.clustering.separation.valley_depth", lambda values, side: seen.append((len(values), side.sum())) or 0.5)
    a, b = two_gaussians(4.0, n=2 * LARGEST)
    separation(a, b[:50], np.random.default_rng(0))
    assert set(seen) == {(50, 25)}
    seen.clear()
    separation(a, b, np.random.default_rng(0))
    assert set(seen) == {(LARGEST, LARGEST // 2)}


@pytest.mark.parametrize(("n", "distance"), [(40, 2.0), (40, 5.0), (500, 0.0), (500, 3.0), (500, 5.0)])
def test_the_valley_is_that_of_scipys_kernel_density_estimate(n, distance):
    rng = np.random.default_rng(1)
    values, side = np.concatenate([rng.normal(size=n), rng.normal(size=n) + distance]), np.arange(2 * n) >= n
    low, high = sorted((np.median(values[side]), np.median(values[~side])))
    grid = np.linspace(values.min(), values.max(), 2_000)
    density = gaussian_kde(values)(grid)
    deepest = min(np.flatnonzero((grid >= low) & (grid <= high)), key=lambda i: density[i])
    expected = 1 - density[deepest] / min(density[: deepest + 1].max(), density[deepest:].max())
    assert valley_depth(values, side) == pytest.approx(expected, abs=0.02)


def test_a_valley_of_density_by_hand():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=500), rng.normal(size=500) + 20])
    side = np.arange(1000) >= 500
    assert valley_depth(values, side) > 0.99
    assert valley_depth(values, ~side) == valley_depth(values, side)
    assert valley_depth(np.ones(10), np.arange(10) > 4) == 0


def test_the_least_apart_are_merged_until_a_valley_divides_all():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(300, 3)), rng.normal(size=(300, 3)) + 12, rng.normal(size=(300, 3)) - 12])
    true = np.repeat([0, 1, 2], 300)
    pieces = 2 * true + (x[:, 1] > 12 * np.sign(true * (3 - 2 * true)))  # each cut through its middle
    assert len(np.unique(pieces)) == 6
    merged, apart = merge_nearest(x, pieces, rng, least=0.1)
    assert len(np.unique(merged)) == 3
    assert all(len(np.unique(merged[true == k])) == 1 for k in range(3))
    assert apart > 0.8
    assert len(np.unique(merge_nearest(x, pieces, rng, least=0.1, fewest=5)[0])) == 5
    assert len(np.unique(merge_nearest(x, pieces, rng, least=0.1, most=2)[0])) == 2
    alone, nothing = merge_nearest(x, np.full(len(x), 7), rng, least=0.1)
    assert set(alone) == {0}
    assert nothing == 0
