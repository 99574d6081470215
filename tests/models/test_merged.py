import keras
import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf import NVISA, NVISAConfig
from nvisa_tf.models.base import ClusteringModel
from nvisa_tf.models.merged import MergedClusters, merged

GROUPS, WEIGHTS = [[0, 3], [1], [2, 4]], [0.1, 0.3, 0.2, 0.3, 0.1]


@pytest.fixture(scope="module")
def base():
    config = NVISAConfig(n_clusters=5, latent_dim=2, encoder_units=(8,), decoder_units=(8,), posterior_units=8, input_shape=(3, 4))
    model = NVISA(config, seed=0)
    model.set_preprocessing(0.5, 0.1)
    return model


@pytest.fixture(scope="module")
def model(base):
    return MergedClusters(base, GROUPS, WEIGHTS)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(20, 3, 4)).astype(np.float32)


def sums(q):
    return np.stack([q[:, [0, 3]].sum(1), q[:, 1], q[:, [2, 4]].sum(1)], 1)


def test_probabilities_are_sums_and_the_rest_is_the_bases(base, model, x):
    assert isinstance(model, ClusteringModel)
    assert (model.config.n_clusters, model.n_facets, model.capabilities) == (3, 1, base.capabilities)
    expected = sums(base.predict_proba(x))
    np.testing.assert_allclose(model.predict_proba(x), expected, atol=1e-6)
    np.testing.assert_array_equal(model.predict_clusters(x), expected.argmax(1))
    np.testing.assert_allclose(model(tf.constant(x)), expected, atol=1e-6)
    np.testing.assert_array_equal(model.embed(x), base.embed(x))
    np.testing.assert_array_equal(model.reconstruct(x), base.reconstruct(x))
    np.testing.assert_array_equal(model.scaled(x), base.scaled(x))
    np.testing.assert_array_equal(model.score_samples(x, 10), base.score_samples(x, 10))
    assert model.report_metrics() == base.report_metrics()


def test_draws_of_a_group_are_of_its_clusters_by_their_weights(base, model):
    y, z = model.sample_prior(400)
    expected, same = base.sample_prior(400)
    np.testing.assert_array_equal(y, np.array([0, 1, 2, 0, 2])[expected])
    np.testing.assert_array_equal(z, same)
    assert model.generate(5, 1, seed=2).shape == (5, 3, 4)
    np.testing.assert_array_equal(model.generate(5, 1, seed=2), base.generate(5, 1, seed=2))  # of one cluster alone
    seen = []

    class Base:
        config, n_facets, capabilities = base.config, 1, base.capabilities

        def sample_prior(self, n, cluster=None, seed=0):
            seen.append((n, cluster))
            return np.full(n, cluster), np.full((n, 2), cluster, np.float32)

    y, z = MergedClusters(Base(), GROUPS, WEIGHTS).sample_prior(4000, 0)
    assert set(y) == {0}
    assert {cluster for _, cluster in seen} == {0, 3}
    assert np.mean(z[:, 0] == 3) == pytest.approx(0.75, abs=0.03)
    assert 0.6 < np.mean(z[:100, 0] == 3) < 0.9  # mixed, not one after the other
    with pytest.raises(ValueError, match="cluster is 3; the clusters are 0 to 2"):
        model.sample_prior(4, 3)
    with pytest.raises(ValueError, match="n is 0"):
        model.generate(0, 0)


def test_signatures_answer_as_the_model_does(base, model, x):
    found = model.signatures()
    assert set(found) == set(base.signatures())
    answered = found["cluster"].function(tf.constant(x))
    np.testing.assert_allclose(answered["probabilities"], model.predict_proba(x), atol=1e-6)
    np.testing.assert_array_equal(answered["cluster"], model.predict_clusters(x))
    assert found["generate"].inputs["noise"] == ((3,), "float32")
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(6, 3)).astype(np.float32)
    noise[:, 2] = [-9, 9, -9, 9, -9, 9]  # the first and the last cluster of a group
    images = found["generate"].function(tf.constant([0, 0, 1, 1, 2, 2]), tf.constant(noise))["image"]
    expected = base.signatures()["generate"].function(tf.constant([0, 3, 1, 1, 2, 4]), tf.constant(noise[:, :2]))["image"]
    np.testing.assert_array_equal(images, expected)
    # In the proportions of the weights: 0.1 to 0.3 in group 0, so a quarter of normals is below the limit.
    noise = np.concatenate([np.zeros((4000, 2)), rng.normal(size=(4000, 1))], 1).astype(np.float32)
    drawn = found["generate"].function(tf.zeros(4000, tf.int32), tf.constant(noise))["image"].numpy().reshape(4000, -1)
    first = base.signatures()["generate"].function(tf.constant([0]), tf.zeros((1, 2)))["image"].numpy().ravel()
    assert np.isclose(drawn, first).all(1).mean() == pytest.approx(0.25, abs=0.03)


def test_it_is_saved_whole(base, model, x, tmp_path):
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert isinstance(again, MergedClusters)
    assert again.groups == GROUPS
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    np.testing.assert_array_equal(again.generate(9, 0, seed=1), model.generate(9, 0, seed=1))


def test_groups_of_groups_are_groups(base, model, x):
    twice = merged(model, [[0, 2], [1]], [0.5, 0.3, 0.2])
    assert twice.base is base
    assert (twice.groups, twice.weights_of_clusters) == ([[0, 2, 3, 4], [1]], WEIGHTS)
    np.testing.assert_allclose(twice.predict_proba(x)[:, 1], base.predict_proba(x)[:, 1], atol=1e-6)


def test_clusters_that_no_example_is_in_have_equal_shares(base):
    model = MergedClusters(base, [[0, 1], [2, 3, 4]], [0.0, 0.0, 0.5, 0.5, 0.0])
    np.testing.assert_array_equal(model._shares(0), [0.5, 0.5])
    np.testing.assert_array_equal(model._shares(1), [0.5, 0.5, 0])


@pytest.mark.parametrize(
    ("groups", "weights", "says"),
    [
        ([[0, 1], [2, 3]], WEIGHTS, "each of the 5 clusters must be in one"),
        ([[0, 1], [1, 2, 3, 4]], WEIGHTS, "each of the 5 clusters must be in one"),
        ([[0, 1, 2, 3, 4], []], WEIGHTS, "each of the 5 clusters must be in one"),
        ([[0, 1, 2, 3, 4]], WEIGHTS, "leave two groups or more"),
        (GROUPS, [1.0], "they must be 5 numbers"),
        (GROUPS, [1, 1, 1, 1, -1], "none below 0"),
    ],
)
def test_what_is_no_grouping(base, groups, weights, says):
    with pytest.raises(ValueError, match=says):
        MergedClusters(base, groups, weights)


def test_it_is_not_trained(model):
    for call in (lambda: model.stages(None, None), lambda: model.take_weights(None, ""), lambda: model.check_data(None, None)):
        with pytest.raises(ValueError, match="merged clusters is not trained"):
            call()
