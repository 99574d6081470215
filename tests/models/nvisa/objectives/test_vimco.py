import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.special import logsumexp

from nvisa_tf import vimco
from nvisa_tf.layers.random import gumbel_noise
from nvisa_tf.models.nvisa.objectives import resample

BASELINES = ("geometric", "arithmetic")


def reference(log_w, baseline):
    """VIMCO's terms the plain way: the M x M matrix of replaced log-weights, in the input's precision."""
    m = len(log_w)
    bound = logsumexp(log_w, axis=0) - np.log(m)
    leave_one_out = np.empty_like(log_w)
    for i in range(m):
        others = np.delete(log_w, i, axis=0)
        stand_in = others.mean(0) if baseline == "geometric" else logsumexp(others, axis=0) - np.log(m - 1)
        leave_one_out[i] = logsumexp(np.concatenate([others, stand_in[None]]), axis=0) - np.log(m)
    return bound, bound - leave_one_out, np.exp(log_w - logsumexp(log_w, axis=0))


def test_agrees_with_tfp_on_the_same_draws():
    m, seed = 7, (3, 4)
    loc, scale = tf.Variable([0.3, -0.2], dtype=tf.float64), tf.Variable([0.5, 1.5], dtype=tf.float64)
    theta = tf.Variable([0.1, 0.4], dtype=tf.float64)

    def posterior():
        # Not reparameterizable as far as TFP's VIMCO is concerned: it stops the samples' gradient.
        return tfp.distributions.Independent(tfp.distributions.Normal(loc, scale), 1)

    def log_p(z):
        return tf.reduce_sum(-0.5 * (z - theta) ** 2 - 0.3 * z**4, -1)

    variables = [loc, scale, theta]
    with tf.GradientTape() as tape:
        theirs = tfp.vi.monte_carlo_variational_loss(
            log_p,
            posterior(),
            sample_size=50,
            importance_sample_size=m,
            gradient_estimator=tfp.vi.GradientEstimators.VIMCO,
            seed=seed,
        )
    their_gradient = tape.gradient(theirs, variables)
    with tf.GradientTape() as tape:
        q = posterior()
        # The first half of a split seed is what TFP samples with.
        z = tf.stop_gradient(q.sample([m, 50], seed=tfp.random.split_seed(seed, 2)[0]))
        log_q, log_p_z = q.log_prob(z), log_p(z)
        terms = vimco(log_p_z - log_q)
        surrogate = tf.reduce_mean(terms.surrogate(log_q, log_p_z))
    ours = tape.gradient(surrogate, variables)
    np.testing.assert_allclose(-float(theirs), float(tf.reduce_mean(terms.bound)), rtol=1e-12)
    for a, b in zip(ours, their_gradient, strict=True):
        np.testing.assert_allclose(a, -b, rtol=1e-9)


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("offset", [0.0, -300.0, -3e4, 300.0])
@pytest.mark.parametrize("spread", [0.0, 1.0, 10.0, 100.0, 1e4])
@pytest.mark.parametrize("m", [2, 15, 200])
def test_float32_against_float64(m, spread, offset, baseline):
    rng = np.random.default_rng(int(spread) + m)
    log_w = (offset + spread * rng.normal(size=(m, 40))).astype(np.float32)
    bound, signal, weights = reference(log_w.astype(np.float64), baseline)
    terms = vimco(tf.constant(log_w), baseline)
    for part in terms:
        assert np.isfinite(part).all()
    # Rounding of a number of the bound's size, and of the spread's, and no more.
    np.testing.assert_allclose(terms.bound, bound, rtol=3e-7, atol=2e-6)
    np.testing.assert_allclose(terms.learning_signal, signal, rtol=2e-6, atol=3e-6 + 3e-7 * spread)
    np.testing.assert_allclose(terms.weights, weights, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(np.sum(terms.weights, 0), 1, atol=2e-5)


@pytest.mark.parametrize("baseline", BASELINES)
def test_one_dominating_sample(baseline):
    log_w = np.full((15, 1), -5e3, np.float32)
    log_w[3] = 50.0
    terms = vimco(tf.constant(log_w), baseline)
    bound, signal, weights = reference(log_w.astype(np.float64), baseline)
    np.testing.assert_allclose(terms.bound, bound, rtol=1e-6)
    np.testing.assert_allclose(terms.learning_signal, signal, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(terms.weights, weights, atol=1e-6)
    assert terms.learning_signal[3, 0] > 5e3


@pytest.mark.parametrize("baseline", BASELINES)
def test_all_equal_weights_teach_nothing(baseline):
    terms = vimco(tf.fill([4, 3], -300.0), baseline)
    np.testing.assert_allclose(terms.learning_signal, 0, atol=1e-6)
    np.testing.assert_allclose(terms.bound, -300, rtol=1e-7)


def test_common_offset_changes_only_the_bound():
    log_w = tf.random.stateless_normal([15, 64], [1, 2]) * 3
    a, b = vimco(log_w), vimco(log_w + 4096.0)  # a power of two: the shift itself rounds to 2 ** -11 at most
    np.testing.assert_allclose(a.learning_signal, b.learning_signal, atol=2e-3)


def test_terms_are_constants():
    log_w = tf.Variable(tf.random.stateless_normal([5, 2], [1, 2]))
    with tf.GradientTape() as tape:
        total = tf.add_n([tf.reduce_sum(part) for part in vimco(log_w)])
    assert tape.gradient(total, log_w) is None


def test_resample_follows_the_weights():
    log_w = tf.tile(tf.math.log([[0.1], [0.2], [0.7], [0.0]]), [1, 20_000])
    chosen = resample(vimco(tf.maximum(log_w, -1e30)).weights, gumbel_noise([20_000, 4], [5, 6])).numpy()
    share = np.bincount(chosen, minlength=4) / 20_000
    np.testing.assert_allclose(share, [0.1, 0.2, 0.7, 0], atol=4 * np.sqrt(0.25 / 20_000))


def test_one_sample_is_an_error_that_says_why():
    with pytest.raises(ValueError, match="at least 2, because a sample's baseline is the mean of the others"):
        vimco(tf.zeros([1, 3]))


def test_unknown_baseline():
    with pytest.raises(ValueError, match="geometric or arithmetic"):
        vimco(tf.zeros([3, 3]), "harmonic")
