import numpy as np
import pytest
from sklearn.cluster import KMeans

from nvisa_tf import clustering_accuracy
from nvisa_tf.clustering import balanced_kmeans as balanced
from nvisa_tf.clustering.balanced_kmeans import balanced_kmeans, equal_shares


def on_the_sphere(rng, directions, each, noise):
    """`each[k]` unit vectors about each direction, and which each is about."""
    y = np.repeat(np.arange(len(each)), each)
    vectors = np.asarray(directions, float)[y] + rng.normal(0, noise, (len(y), len(directions[0])))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), y


def test_shares_are_the_entropic_optimal_transport(rng):
    """Rows sum to 1, columns to n / K, and log shares - logits is a sum of a row's and a column's number: together that is the optimum."""
    logits = rng.normal(0, 2, (50, 4))
    shares, biases = equal_shares(logits, np.zeros(4))
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(shares.sum(0), 12.5, rtol=1.1 * balanced.SIZE_TOLERANCE)
    rest = np.log(shares) - logits - biases
    np.testing.assert_allclose(rest, np.broadcast_to(rest[:, :1], rest.shape), atol=1e-12)


def test_a_bad_first_guess_is_left(rng):
    logits = rng.normal(0, 2, (50, 4))
    found, _ = equal_shares(logits, np.array([30.0, 0.0, 0.0, -30.0]))
    np.testing.assert_allclose(found, equal_shares(logits, np.zeros(4))[0], atol=1e-2)


def test_kinds_of_one_size_are_found_where_kmeans_splits_the_wide_one(rng):
    """Two near each other and two wide ones: three centres go to the wide ones by the sum of squares."""
    near = np.array([[1.0, 0.12, 0, 0, 0], [1.0, -0.12, 0, 0, 0]])
    wide = np.array([[0, 0, 1.0, 0, 0], [0, 0, 0, 0, 1.0]])
    pairs = [on_the_sphere(rng, near, [400, 400], 0.03), on_the_sphere(rng, wide, [400, 400], 0.35)]
    x = np.concatenate([pairs[0][0], pairs[1][0]])
    y = np.concatenate([pairs[0][1], pairs[1][1] + 2])
    fits = [balanced_kmeans(x, 4, seed) for seed in range(5)]
    best = max(fits, key=lambda fit: fit.objective)
    assert clustering_accuracy(y, best.responsibilities.argmax(1)) > 0.9
    assert clustering_accuracy(y, KMeans(4, n_init=10, random_state=0).fit_predict(x)) < 0.8
    np.testing.assert_array_equal(best.predict(x), best.responsibilities.argmax(1))
    np.testing.assert_allclose(np.linalg.norm(best.centres, axis=1), 1)


def test_the_objective_is_the_transport_s_and_no_other_centres_nearby_have_a_better_one(monkeypatch, rng):
    x, _ = on_the_sphere(rng, np.eye(3), [60, 60, 60], 0.4)
    fit = balanced_kmeans(x, 3, 0)

    def objective(centres):
        centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        shares, _ = equal_shares(x @ centres.T / balanced.TEMPERATURE, np.zeros(3))
        return np.mean(np.sum(shares * (x @ centres.T) - balanced.TEMPERATURE * shares * np.log(shares), 1))

    monkeypatch.setattr(balanced, "SIZE_TOLERANCE", 1e-9)
    assert fit.objective == pytest.approx(objective(fit.centres), abs=1e-4)
    assert all(objective(fit.centres + rng.normal(0, 0.05, (3, 3))) < objective(fit.centres) for _ in range(20))
