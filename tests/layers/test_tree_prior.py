"""The tree as a prior in TensorFlow, against `nvisa_tf.clustering.latent_tree`, which is tested against enumeration, and TFP."""

import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf.clustering.latent_tree import beliefs, fit, log_likelihood, log_probs, padded, sample, unpadded
from nvisa_tf.layers.stepwise_em import StepwiseEM
from nvisa_tf.layers.tree_prior import TreePrior

TREES = {
    "one facet": ((-1,), (3,), (0, 0), ((2, 0), (1,))),
    "two facets": ((-1, 0), (4, 2), (0, 0, 1, 1), ((0, 3), (1,), (2,), (4, 5))),
    "a chain": ((-1, 0, 1), (2, 3, 2), (0, 1, 1, 2), ((0,), (1, 2), (3,), (4,))),
    "two below one": ((-1, 0, 0), (2, 2, 4), (2, 0, 1), ((0, 1, 2), (3,), (4,))),
}
FACETS, STATES = 3, 4  # of the padded arrays


@pytest.fixture(scope="module", params=TREES)
def tree(request, random_tree):
    return random_tree(5, *TREES[request.param])


@pytest.fixture(scope="module")
def prior(tree):
    return prior_of(tree)


def prior_of(tree, dtype="float64"):
    dim = sum(len(pouch.dims) for pouch in tree.pouches)
    made = TreePrior(FACETS, STATES, dim, dtype=dtype)
    made.build()
    made.set_parameters(padded(tree, FACETS, STATES))
    return made


def test_it_starts_as_equal_standard_normals():
    prior = TreePrior(3, 4, 2, dtype="float64")
    prior.build()
    z = tf.constant(np.random.default_rng(0).normal(size=(5, 2)))
    expected = -np.log(2 * np.pi) - 0.5 * np.square(z).sum(1)
    np.testing.assert_allclose(prior.log_prob(z), expected, rtol=1e-12)
    np.testing.assert_allclose(tf.exp(prior.joint_log_prob(z) - expected[:, None]), 0.25, rtol=1e-12)
    assert (prior.n_facets(), prior.states_of(0), prior.states_of(1)) == (1, 4, 1)


def test_likelihood_and_posteriors(tree, prior):
    z = sample(tree, 40, 0)[1]
    expected = beliefs(tree, log_probs(tree, z))
    np.testing.assert_allclose(prior.log_prob(tf.constant(z)), expected.log_prob, rtol=1e-9)
    np.testing.assert_allclose(prior.log_prob(tf.constant(z.reshape(5, 8, -1))), expected.log_prob.reshape(5, 8), rtol=1e-9)
    single, pairs = (part.numpy() for part in prior.posteriors(tf.constant(z)))
    assert single.shape == (40, FACETS, STATES)
    for f in range(tree.n_facets):
        size = tree.n_states(f)
        np.testing.assert_allclose(single[:, f, :size], expected.single[f], atol=1e-9)
        assert not single[:, f, size:].any()
        if f:
            above = tree.n_states(tree.parents[f])
            np.testing.assert_allclose(pairs[:, f, :above, :size], expected.pairs[f - 1], atol=1e-9)
            assert not pairs[:, f, above:].any()
    np.testing.assert_allclose(pairs.sum((2, 3)), 1, rtol=1e-9)
    joint = prior.joint_log_prob(tf.constant(z)).numpy()[:, : tree.n_states(0)]
    np.testing.assert_allclose(joint, expected.log_prob[:, None] + np.log(expected.single[0]), rtol=1e-6, atol=1e-6)
    assert (prior.n_facets(), prior.states_of(0)) == (tree.n_facets, tree.n_states(0))


def test_single_precision_is_near(tree):
    z = sample(tree, 200, 0)[1]
    found = prior_of(tree, "float32").log_prob(tf.constant(z, tf.float32))
    np.testing.assert_allclose(found, log_likelihood(tree, z), atol=2e-3)


def test_given_the_root_z_is_a_mixture(tree, prior):
    """The other facets' states are enumerated there."""
    z = tf.constant(sample(tree, 20, 0)[1])
    states = tf.range(tree.n_states(0))
    joint = prior.p_y().log_prob(states) + prior.p_z_given_y(states).log_prob(z[:, None])
    np.testing.assert_allclose(joint, prior.joint_log_prob(z)[:, : tree.n_states(0)], rtol=1e-8)
    assert prior.p_z_given_y().batch_shape == (STATES,)


def two_samples_agree(a, b):
    np.testing.assert_allclose(a.mean(0), b.mean(0), atol=0.08)
    np.testing.assert_allclose(np.cov(a.T), np.cov(b.T), atol=0.25)
    np.testing.assert_allclose(
        np.quantile(a, [0.1, 0.3, 0.5, 0.7, 0.9], axis=0), np.quantile(b, [0.1, 0.3, 0.5, 0.7, 0.9], axis=0), atol=0.35
    )


def test_draws_are_the_trees(tree, prior):
    states, expected = sample(tree, 30_000, 1)
    y, z = (part.numpy() for part in prior.sample(30_000, tf.constant([3, 4])))
    np.testing.assert_allclose(np.bincount(y, minlength=STATES) / 30_000, np.bincount(states[:, 0], minlength=STATES) / 30_000, atol=0.015)
    two_samples_agree(z, expected)
    assert log_likelihood(tree, z).mean() == pytest.approx(log_likelihood(tree, expected).mean(), abs=0.05)
    np.testing.assert_array_equal(prior.sample(20, tf.constant([3, 4]), 1)[0], np.ones(20))
    given = prior.sample(10_000, tf.constant([3, 4]), 1)[1].numpy()
    noise = np.random.default_rng(0).normal(size=given.shape)
    from_noise = prior.from_noise(tf.ones([10_000], tf.int32), tf.constant(noise)).numpy()
    for found in (given, from_noise):
        two_samples_agree(found, expected[states[:, 0] == 1])
        assert log_likelihood(tree, found).mean() == pytest.approx(log_likelihood(tree, expected[states[:, 0] == 1]).mean(), abs=0.1)


def test_a_step_at_rate_1_on_all_data_is_one_of_em(tree):
    """From means that are moved."""
    z = sample(tree, 500, 2)[1]
    rng = np.random.default_rng(0)
    start = tree._replace(pouches=tuple(p._replace(means=p.means + 0.3 * rng.normal(size=p.means.shape)) for p in tree.pouches))
    prior = prior_of(start)
    em = StepwiseEM(prior, 1.0, "pouches")
    em.reset()
    for _ in range(3):
        em.learn(tf.constant(z))
    assert not (prior.loc.numpy() * (1 - prior.member.numpy()[:, None])).any()  # else samples would be moved by the other facets
    expected = fit(start, z, 3, tolerance=0).tree
    found = unpadded({name: value.numpy() for name, value in prior.parameters().items()})
    for mine, its in zip(found.tables, expected.tables, strict=True):
        np.testing.assert_allclose(mine, its, atol=5e-5)
    for pouch in expected.pouches:
        mine = next(p for p in found.pouches if set(p.dims) == set(pouch.dims))
        order = [mine.dims.index(d) for d in pouch.dims]
        np.testing.assert_allclose(mine.means[:, order], pouch.means, atol=2e-3)
        np.testing.assert_allclose(mine.covariances[:, order][:, :, order], pouch.covariances, atol=2e-3)


def test_statistics_begin_as_those_of_the_prior(tree):
    prior = prior_of(tree)
    em = StepwiseEM(prior, 0.01, "pouches")
    em.reset()
    em.maximize()
    z = sample(tree, 100, 0)[1]
    np.testing.assert_allclose(prior.log_prob(tf.constant(z)), log_likelihood(tree, z), atol=1e-4)


def test_another_structure_needs_no_other_graph(tree, random_tree):
    dim = sum(len(pouch.dims) for pouch in tree.pouches)
    prior = prior_of(tree)
    em = StepwiseEM(prior, 0.5, "pouches")
    em.reset()
    learn = tf.function(em.learn, autograph=False)
    other = random_tree(1, (-1, 0), (3, 3), (0, 1), (tuple(range(dim - 1)), (dim - 1,)))
    z = tf.constant(sample(other, 100, 0)[1])
    learn(z)
    prior.set_parameters(padded(other, FACETS, STATES))
    em.reset()
    learn(z)
    assert learn.experimental_get_tracing_count() == 1
    eager = prior_of(other)
    same = StepwiseEM(eager, 0.5, "pouches")
    same.reset()
    same.learn(z)
    np.testing.assert_allclose(prior.log_prob(z), eager.log_prob(z), rtol=1e-9)
