"""Outliers: distances against scikit-learn and NumPy in float64, false alarms among new examples, and real images of other things."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA

from nvisa_tf import Dataset, load_dataset
from nvisa_tf.evaluation.detector import LEAST, Distances, OutlierDetector

MIDDLES = np.array([[0.0, 0, 0, 0], [10, 0, 0, 0], [0, 10, 0, 0]])
MIXING = np.random.default_rng(7).normal(size=(4, 4))


class Nearest:
    """A model whose clusters are the nearest of some middles, on a scale of its own."""

    def __init__(self, middles=MIDDLES, scale=1.0):
        self.middles, self.scale = middles, scale

    def scaled(self, x):
        return x * self.scale

    def predict_clusters(self, x):
        flat = x.reshape(len(x), -1)
        return ((flat[:, None] - self.middles) ** 2).sum(-1).argmin(1)


def examples(n, rng):
    return (MIDDLES[rng.integers(0, 3, n)] + 0.5 * rng.normal(size=(n, 4)) @ MIXING).astype(np.float32)


def data(x, top=None):
    return Dataset("x", x, None, top)


@pytest.fixture
def detector(rng):
    return OutlierDetector.of(Nearest(), data(examples(3000, rng)), data(examples(2000, rng)))


def test_t2_is_the_mahalanobis_distance_from_the_nearest_mean(rng):
    x, new = examples(500, rng).astype(np.float64), examples(50, rng).astype(np.float64) * 1.3
    clusters = Nearest().predict_clusters(x)
    means = np.stack([x[clusters == k].mean(0) for k in range(3)])
    rest = x - means[clusters]
    inverse = np.linalg.inv(rest.T @ rest / (len(x) - 1))
    expected = np.min([np.einsum("ni,ij,nj->n", new - mean, inverse, new - mean) for mean in means], 0)
    distances = Distances.of(x, clusters, False, 4)
    np.testing.assert_allclose(distances.spreads[0], 1, atol=0.3)  # all are alike
    found = distances._replace(spreads=np.ones((2, 3))).measure(new)
    assert found.shape == (50, 1)  # all directions are components
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-3)


def test_q_is_what_principal_components_leave(rng):
    x = (rng.normal(size=(400, 300)) * np.repeat([10.0, 0.5], [80, 220])).astype(np.float32)
    distances = Distances.of(x, np.zeros(400, int), False, 80)
    pca = PCA(80, svd_solver="full").fit(x)
    new = x[:20] * 1.5
    left = np.square(new - pca.inverse_transform(pca.transform(new))).sum(1)
    np.testing.assert_allclose(distances.measure(new)[:, 1], left, rtol=0.02)  # theirs by random projections


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_as_many_new_examples_are_false_alarms_as_is_said(detector, rng, rate):
    alarms = int((detector.novelty(Nearest(), data(examples(20_000, rng)), rate) > 1).sum())
    # Both what limits are taken from and what they are tried on are samples.
    spread = np.sqrt(rate * (1 - rate) * (1 / 2000 + 1 / 20_000))
    assert abs(alarms / 20_000 - rate) < 4 * spread


def test_what_lies_between_clusters_and_beyond_them_is_one(detector):
    x = np.array([[5.0, 5, 0, 0], [5, 0, 0, 0], [0, 0, 40, 0], [0, 0, 0, 0], [10, 0, 0, 0]], np.float32)
    assert list(detector.novelty(Nearest(), data(x), 0.01) > 1) == [True, True, True, False, False]


def test_a_larger_rate_takes_more_for_outliers(detector, rng):
    x = data(examples(1000, rng))
    low, high = (detector.novelty(Nearest(), x, rate) > 1 for rate in (0.01, 0.2))
    assert low.sum() < high.sum()
    assert (high | ~low).all()


def test_distances_are_on_the_scale_of_the_model(rng):
    x, test, new = (data(examples(n, rng)) for n in (600, 400, 50))
    one, other = (Nearest(scale=scale) for scale in (1.0, 0.01))
    found = [OutlierDetector.of(model, x, test).novelty(model, new, 0.05) for model in (one, other)]
    np.testing.assert_allclose(*found, rtol=1e-3)


@pytest.mark.parametrize(("n", "d"), [(200, 40), (250, 60), (1250, 250), (500, 784)])
def test_false_alarms_are_as_said_where_dimensions_are_many(n, d, rng):
    middles = 5 * rng.normal(size=(5, d))

    def drawn(count):
        return data((middles[rng.integers(0, 5, count)] + rng.normal(size=(count, d))).astype(np.float32))

    model, x = Nearest(middles), drawn(n)
    found = OutlierDetector.of(model, x, x)  # limits from examples left out in turn
    assert (found.novelty(model, drawn(2000), 0.05) > 1).mean() < 0.1
    assert (found.novelty(model, data(drawn(20).x + 9), 0.05) > 1).all()


@pytest.mark.parametrize("rate", [1 / 201, 1 / 100])
def test_the_smallest_rates_are_kept_too(rng, rate):
    alarms = []
    for _ in range(40):
        found = OutlierDetector.of(Nearest(), data(examples(400, rng)), data(examples(200, rng)))
        shown = found._replace(held_out=np.stack([found.held_out[:, 0], *rng.chisquare(4, (2, 200))], 1))  # three distances
        new = np.stack([shown.distances.measure(examples(500, rng))[:, 0], *rng.chisquare(4, (2, 500))], 1)
        alarms.append((new / shown.limits(rate) > 1).any(1).mean())
    assert np.mean(alarms) < rate + 4 * np.std(alarms) / np.sqrt(40)


def test_an_outlier_near_a_tight_cluster_is_one_where_another_is_broad(rng):
    spreads = np.array([0.1, 3.0, 1.0])

    def drawn(count):
        which = rng.integers(0, 3, count)
        return data((10 * MIDDLES[which] + spreads[which, None] * rng.normal(size=(count, 4))).astype(np.float32))

    model = Nearest(10 * MIDDLES)
    found = OutlierDetector.of(model, drawn(2000), drawn(1000))
    assert (found.novelty(model, data(np.array([[1.5, 0, 0, 0], [0, 0, -1.5, 0]], np.float32)), 0.01) > 1).all()
    assert (found.novelty(model, drawn(5000), 0.01) > 1).mean() < 0.03


@pytest.mark.parametrize("d", [4, 300])
def test_values_whose_squares_are_infinite_lie_far_out(rng, d):
    x = rng.normal(size=(400, d)).astype(np.float32)
    model = Nearest(np.zeros((1, d)))
    huge = np.zeros((4, d), np.float32)
    huge[0, 0], huge[1, 1], huge[2], huge[3, 2] = 1e18, -3e38, 1e20, 1e30
    found = OutlierDetector.of(model, data(x), data(x)).novelty(model, data(huge), 0.05)
    assert (found > 1).all()


@pytest.mark.parametrize("held_out", [0, LEAST - 1])
def test_limits_of_few_examples_are_from_those_that_were_left_out_in_turn(rng, held_out):
    x = data(examples(300, rng))
    found = OutlierDetector.of(Nearest(), x, data(examples(held_out, rng)) if held_out else x)
    assert len(found.held_out) == 300
    alarms = (found.novelty(Nearest(), data(examples(5000, rng)), 0.05) > 1).mean()
    assert 0.01 < alarms < 0.1


def test_a_rate_that_cannot_be_told_is_refused(detector, rng):
    few = data(examples(30, rng))
    found = OutlierDetector.of(Nearest(), few, few)
    with pytest.raises(ValueError, match=r"false-alarm rate is 0\.01; it must be below 1, and at least 0\.032, as it is measured on 30"):
        found.limits(0.01)
    for rate in (0, 1, -1, np.nan):
        with pytest.raises(ValueError, match="The false-alarm rate is"):
            detector.limits(rate)


def test_constant_columns_and_a_cluster_of_one_do_no_harm(rng):
    x = np.concatenate([examples(300, rng), np.ones((300, 2), np.float32)], 1)
    x[0, :4] = [0, 0, 90, 0]
    model = Nearest(np.concatenate([np.vstack([MIDDLES, [0, 0, 90, 0]]), np.ones((4, 2))], 1))
    found = OutlierDetector.of(model, data(x), data(x)).novelty(model, data(x[1:]), 0.05)
    assert np.isfinite(found).all()
    assert (found > 1).mean() < 0.1
    assert (OutlierDetector.of(model, data(x), data(x)).novelty(model, data(x[:1]), 0.05) > 1).all()  # a cluster of its own is none
    changed = x[1:2] + np.array([0, 0, 0, 0, 1, 0], np.float32)  # the column was never other than 1
    assert (OutlierDetector.of(model, data(x), data(x)).novelty(model, data(changed), 0.05) > 1).all()


def test_it_is_saved_and_loaded(detector, rng, tmp_path):
    detector.save(tmp_path / "outliers.npz")
    loaded, x = OutlierDetector.load(tmp_path / "outliers.npz"), data(examples(20, rng))
    np.testing.assert_array_equal(loaded.novelty(Nearest(), x, 0.1), detector.novelty(Nearest(), x, 0.1))
    (tmp_path / "outliers.npz").write_bytes(b"no")
    with pytest.raises(
        ValueError, match=r"outliers\.npz is damaged or no file of ours; remove it and it is made again from the run's data"
    ):
        OutlierDetector.load(tmp_path / "outliers.npz")


def test_an_image_of_one_colour_is_one():
    splits = load_dataset("digits")
    middles = MiniBatchKMeans(10, random_state=0, n_init=1).fit(splits.train.x.reshape(len(splits.train), -1).astype(float))
    model = Nearest(middles.cluster_centers_, 1 / 16)
    found = OutlierDetector.of(model, splits.train, splits.test)
    blank = np.stack([np.full((8, 8), value, np.uint8) for value in (0, 4, 16)])
    assert (found.novelty(model, data(blank), 0.01) > 1).all()
    assert (found.novelty(model, splits.train, 0.01) > 1).mean() < 0.03
    noise = np.random.default_rng(0).integers(0, 17, (50, 8, 8)).astype(np.uint8)
    assert (found.novelty(model, data(noise), 0.01) > 1).all()


def test_of_clothes_shown_to_a_model_of_digits_nearly_all_are():
    digits, clothes = load_dataset("mnist"), load_dataset("fashion_mnist").test.spread(2000)
    train, test = digits.train.spread(6000), digits.test.spread(5000)
    flat = train.x.reshape(len(train), -1).astype(np.float32)
    model = Nearest(MiniBatchKMeans(10, random_state=0, n_init=1).fit(flat).cluster_centers_, 1 / 255)
    found = OutlierDetector.of(model, train, test.take(slice(0, None, 2)))
    assert (found.novelty(model, clothes, 0.01) > 1).mean() > 0.95
    alarms = int((found.novelty(model, test.take(slice(1, None, 2)), 0.01) > 1).sum())
    assert alarms <= binom.ppf(0.9999, 2500, 0.012)
