"""Both priors against SciPy and TFP, in float64."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.special import logsumexp
from scipy.stats import chisquare, multivariate_normal
from sklearn.datasets import make_spd_matrix

from nvisa_tf.layers.networks import LayerFactory
from nvisa_tf.layers.priors import GaussianMixturePrior, MixturePrior, inverse_softplus

tfd = tfp.distributions
K, D, N = 4, 3, 40_000
WEIGHTS = np.array([0.4, 0.3, 0.2, 0.1])
MEANS = np.random.default_rng(1).normal(0, 2, (K, D))
FULL = np.stack([make_spd_matrix(D, random_state=seed) for seed in range(K)])
DIAGONAL = FULL * np.eye(D)


def diagonal(learn_weights=True, seed=0, dtype="float64"):
    prior = MixturePrior(LayerFactory(seed, 0.0), K, D, learn_weights, dtype)
    prior.build()
    return prior


def full(dtype="float64"):
    prior = GaussianMixturePrior(K, D, dtype)
    prior.build()
    return prior


@pytest.fixture(params=["diagonal", "full"])
def mixture(request):
    """A prior that was set, and its covariances [K, D, D]."""
    if request.param == "full":
        prior = full()
        prior.set_mixture(WEIGHTS, MEANS, FULL)
        return prior, FULL
    prior = diagonal()
    prior.set_mixture(WEIGHTS, MEANS, np.diagonal(DIAGONAL, axis1=1, axis2=2))
    return prior, DIAGONAL


def log_joint(z, covariances):
    each = [multivariate_normal(m, c).logpdf(z) for m, c in zip(MEANS, covariances, strict=True)]
    return np.stack(each, -1) + np.log(WEIGHTS)


def assert_moments(z, mean, covariance):
    """The sample's mean and covariance are within 5 standard errors."""
    n, sd = len(z), np.sqrt(np.diag(covariance))
    assert (np.abs(z.mean(0) - mean) < 5 * sd / np.sqrt(n)).all()
    error = np.sqrt((np.outer(sd, sd) ** 2 + covariance**2) / n)  # of Gaussians
    assert (np.abs(np.cov(z.T) - covariance) < 5 * error).all()


def test_densities_are_scipys(mixture, rng):
    prior, covariances = mixture
    for z in (rng.normal(0, 2, (5, 2, D)), rng.normal(0, 100, (7, D)), MEANS[2]):
        expected = log_joint(z, covariances)
        assert prior.joint_log_prob(tf.constant(z)).dtype == tf.float64
        np.testing.assert_allclose(prior.joint_log_prob(tf.constant(z)), expected, rtol=1e-10)
        np.testing.assert_allclose(prior.log_prob(tf.constant(z)), logsumexp(expected, -1), rtol=1e-10)


def test_densities_are_tfps_with_their_gradient(mixture, rng):
    prior, covariances = mixture
    components = tfd.MultivariateNormalTriL(MEANS, np.linalg.cholesky(covariances))
    theirs = tfd.MixtureSameFamily(tfd.Categorical(probs=WEIGHTS), components)
    z = tf.constant(rng.normal(0, 2, (6, D)))
    sides = []
    for density in (prior.log_prob, theirs.log_prob):
        with tf.GradientTape() as tape:
            tape.watch(z)
            found = density(z)
        sides.append((found, tape.gradient(found, z)))
    for ours, expected in zip(*sides, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_parts_make_up_the_joint(mixture, rng):
    prior, covariances = mixture
    z = rng.normal(0, 2, (5, D))
    expected = log_joint(z, covariances)
    np.testing.assert_allclose(prior.p_y().probs_parameter(), WEIGHTS, rtol=1e-10)
    assert prior.p_z_given_y().batch_shape == (K,)
    every = prior.p_y().log_prob(np.arange(K)) + prior.p_z_given_y().log_prob(z[:, None])
    np.testing.assert_allclose(every, expected, rtol=1e-10)
    y = rng.integers(0, K, (2, 5))
    given = prior.p_y().log_prob(y) + prior.p_z_given_y(tf.constant(y)).log_prob(z)
    np.testing.assert_allclose(given, expected[np.arange(5), y], rtol=1e-10)


def test_noise_becomes_z_by_the_cholesky_factor(mixture, rng):
    prior, covariances = mixture
    y, noise = rng.integers(0, K, (2, 5)), rng.normal(size=(2, 5, D))
    expected = MEANS[y] + np.einsum("...ij,...j->...i", np.linalg.cholesky(covariances)[y], noise)
    np.testing.assert_allclose(prior.from_noise(tf.constant(y), tf.constant(noise)), expected, rtol=1e-9, atol=1e-12)


def test_noise_gives_the_moments_of_each_cluster(mixture, rng):
    prior, covariances = mixture
    y = np.repeat(np.arange(K), N // K)
    z = prior.from_noise(tf.constant(y), tf.constant(rng.normal(size=(len(y), D)))).numpy()
    for k in range(K):
        assert_moments(z[y == k], MEANS[k], covariances[k])


def test_samples_have_the_frequencies_and_moments(mixture):
    prior, covariances = mixture
    y, z = (found.numpy() for found in prior.sample(N, tf.constant([3, 4])))
    assert (y.shape, y.dtype, z.shape, z.dtype) == ((N,), np.int32, (N, D), np.float64)
    assert chisquare(np.bincount(y, minlength=K), N * WEIGHTS).pvalue > 1e-4
    for k in range(K):
        assert_moments(z[y == k], MEANS[k], covariances[k])
    mean = WEIGHTS @ MEANS
    spread = np.sqrt(np.diag(np.einsum("k,kij->ij", WEIGHTS, covariances)) + WEIGHTS @ MEANS**2 - mean**2)
    assert (np.abs(z.mean(0) - mean) < 5 * spread / np.sqrt(N)).all()


def test_samples_are_their_seeds(mixture):
    prior, _ = mixture
    first, same, other = (prior.sample(50, tf.constant([3, i])) for i in (4, 4, 5))
    for a, b, c in zip(first, same, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a.numpy() != c.numpy()).any()


@pytest.mark.parametrize("cluster", [0, 3])
def test_samples_of_one_cluster(mixture, cluster):
    prior, covariances = mixture
    y, z = (found.numpy() for found in prior.sample(N // 4, tf.constant([3, 4]), cluster))
    assert y.dtype == np.int32
    assert (y == cluster).all()
    assert_moments(z, MEANS[cluster], covariances[cluster])


def test_parameters_are_what_was_set(mixture):
    prior, covariances = mixture
    found = {name: value.numpy() for name, value in prior.parameters().items()}
    np.testing.assert_allclose(found.pop("logits"), np.log(WEIGHTS), rtol=1e-12)
    np.testing.assert_allclose(found.pop("loc"), MEANS, rtol=1e-12)
    if "raw_scale" in found:
        np.testing.assert_allclose(np.logaddexp(0, found.pop("raw_scale")) ** 2, np.diagonal(covariances, axis1=1, axis2=2), rtol=1e-10)
    else:
        scale_tril = found.pop("scale_tril")
        np.testing.assert_allclose(scale_tril @ scale_tril.transpose(0, 2, 1), covariances, rtol=1e-10)
        np.testing.assert_allclose(found.pop("whitening") @ scale_tril, np.broadcast_to(np.eye(D), (K, D, D)), atol=1e-10)
    assert not found


@pytest.mark.parametrize("learned", [False, True])
def test_weights_are_set_where_they_are_given(learned):
    prior = diagonal(learned)
    prior.set_mixture(None, MEANS, np.ones((K, D)))
    np.testing.assert_allclose(prior.p_y().probs_parameter(), np.full(K, 0.25), rtol=1e-12)
    prior.set_mixture(np.array([0.5, 0.5, 0.0, 0.0]), MEANS, np.ones((K, D)))
    np.testing.assert_allclose(prior.p_y().probs_parameter(), np.array([0.5, 0.5, 1e-6, 1e-6]) / (1 + 2e-6), rtol=1e-9)
    assert len(prior.trainable_weights) == 2 + learned


def test_an_empty_component_of_the_fitted_mixture_is_possible_still():
    prior = full()
    prior.set_mixture(np.array([0.5, 0.5, 0.0, 0.0]), MEANS, FULL)
    np.testing.assert_allclose(prior.p_y().probs_parameter(), np.array([0.5, 0.5, 1e-6, 1e-6]) / (1 + 2e-6), rtol=1e-9)
    assert np.isfinite(prior.joint_log_prob(tf.constant(MEANS))).all()
    assert not prior.trainable_weights


def test_they_begin_uniform_with_scales_of_1():
    for prior in (diagonal(), full()):
        np.testing.assert_allclose(prior.p_y().probs_parameter(), 0.25, rtol=1e-12)
        np.testing.assert_allclose(prior.p_z_given_y().stddev(), np.ones((K, D)), rtol=1e-9)
    np.testing.assert_array_equal(full().loc, np.zeros((K, D)))
    np.testing.assert_array_equal(diagonal(seed=1).loc, diagonal(seed=1).loc)
    assert (diagonal(seed=1).loc.numpy() != diagonal(seed=2).loc.numpy()).all()


def test_float32_is_near():
    of_diagonal = (diagonal(dtype="float32"), np.diagonal(DIAGONAL, axis1=1, axis2=2), DIAGONAL)
    priors = of_diagonal, (full("float32"), FULL, FULL)
    for prior, spread, covariances in priors:
        prior.set_mixture(WEIGHTS, MEANS, spread)
        z = np.random.default_rng(2).normal(0, 2, (9, D)).astype(np.float32)
        assert prior.log_prob(tf.constant(z)).dtype == tf.float32
        np.testing.assert_allclose(prior.joint_log_prob(tf.constant(z)), log_joint(z, covariances), rtol=1e-4, atol=1e-4)


def test_inverse_softplus():
    scale = np.array([1e-4, 0.1, 1.0, 20.0])
    np.testing.assert_allclose(np.logaddexp(0, inverse_softplus(scale)), scale, rtol=1e-10)
