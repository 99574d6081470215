import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.special import logsumexp, softmax

from nvisa_tf.layers import distributions as dist


def drawn(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


LOGITS, LOC, RAW = drawn(1, 4), drawn(2, 4, 3), drawn(3, 4, 3)
SCALE = np.log1p(np.exp(RAW))


def test_prior_z_given_y(rng):
    z, y = rng.normal(size=(5, 2, 3)), rng.integers(0, 4, (5, 2))
    got = dist.prior_z_given_y(LOC, RAW, y).log_prob(z)
    np.testing.assert_allclose(got, stats.norm(LOC[y], SCALE[y]).logpdf(z).sum(-1), rtol=1e-10)


def test_prior_z_is_the_mixture(rng):
    z = rng.normal(size=(7, 3))
    per_cluster = stats.norm(LOC, SCALE).logpdf(z[:, None]).sum(-1)
    expected = logsumexp(per_cluster + np.log(softmax(LOGITS)), axis=1)
    np.testing.assert_allclose(dist.prior_z(LOGITS, LOC, RAW).log_prob(z), expected, rtol=1e-10)


def test_prior_z_samples_have_the_mixture_mean():
    z = dist.prior_z(LOGITS, LOC, RAW).sample(100_000, seed=(1, 2)).numpy()
    pi = softmax(LOGITS)
    mean = pi @ LOC
    sd = np.sqrt(pi @ (SCALE**2 + LOC**2) - mean**2)
    assert (np.abs(z.mean(0) - mean) < 4 * sd / np.sqrt(100_000)).all()


def test_posterior_y(rng):
    logits = rng.normal(size=(6, 4))
    np.testing.assert_allclose(
        dist.posterior_y(logits).log_prob(np.arange(6) % 4), np.log(softmax(logits, 1))[np.arange(6), np.arange(6) % 4]
    )


@pytest.mark.parametrize("make", [dist.posterior_z, dist.gaussian_x])
def test_annealed_scale(make, rng):
    x, loc, raw = rng.normal(size=(3, 2, 5, 6))
    expected = stats.norm(loc, np.log1p(np.exp(raw)) + 0.25).logpdf(x).sum(-1)
    np.testing.assert_allclose(make(loc, raw, 0.25).log_prob(x), expected, rtol=1e-10)


def test_one_scale_per_dimension_broadcasts(rng):
    x, loc, raw = rng.normal(size=(2, 5, 6)), rng.normal(size=(2, 5, 6)), rng.normal(size=6)
    expected = stats.norm(loc, np.log1p(np.exp(raw)) + 0.1).logpdf(x).sum(-1)
    np.testing.assert_allclose(dist.gaussian_x(loc, raw, 0.1).log_prob(x), expected, rtol=1e-10)


def test_bernoulli_scores_grey_values_by_cross_entropy(rng):
    logits, x = rng.normal(size=(5, 6)), rng.uniform(size=(5, 6))
    p = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(
        dist.bernoulli_x(tf.constant(logits)).log_prob(x), (x * np.log(p) + (1 - x) * np.log(1 - p)).sum(-1), rtol=1e-9
    )


def test_a_negligible_scale_is_held_against_falling_only():
    # softplus(-8) is 3e-4, far below eps / 10; softplus(0) is not.
    raw, eps = tf.Variable([-8.0, -8.0, 0.0, 0.0]), tf.constant(0.5)
    direction = tf.constant([1.0, -1.0, 1.0, -1.0])  # of the loss: 1 pushes down
    with tf.GradientTape() as tape:
        held = dist.hold_negligible(raw, eps)
        loss = tf.reduce_sum(held * direction)
    np.testing.assert_array_equal(held, raw)
    np.testing.assert_array_equal(tape.gradient(loss, raw), [0, -1, 1, -1])


def test_held_scales_find_their_way_back_when_eps_falls(rng):
    """A residual of sd 0.2 under eps from 1 down to 0.01: without holding, sigma is stuck at eps."""
    x = rng.normal(0, 0.2, 2000).astype(np.float32)[:, None]

    def final_sigma(hold):
        raw, optimizer = tf.Variable([0.0]), keras.optimizers.Adam(0.02)
        optimizer.build([raw])

        @tf.function
        def run():
            for number in tf.range(1000):
                eps = tf.where(number < 900, 1.0, 0.01)
                with tf.GradientTape() as tape:
                    value = dist.hold_negligible(raw, eps) if hold else tf.identity(raw)
                    loss = -tf.reduce_mean(dist.gaussian_x(tf.zeros([1]), value, eps).log_prob(x))
                optimizer.apply([tape.gradient(loss, raw)], [raw])

        run()
        return float(tf.nn.softplus(raw)[0]) + 0.01

    assert final_sigma(True) == pytest.approx(0.2, rel=0.05)
    assert final_sigma(False) < 0.15


Y = np.array([2, 0, 3, 3, 1])
DENSITIES = {
    "p(y)": (lambda logits: dist.prior_y(logits).log_prob(Y), (LOGITS,)),
    "p(z|y)": (lambda z, loc, raw: dist.prior_z_given_y(loc, raw, Y).log_prob(z), (drawn(4, 5, 3), LOC, RAW)),
    "p(z)": (lambda z, logits, loc, raw: dist.prior_z(logits, loc, raw).log_prob(z), (drawn(5, 5, 3), LOGITS, LOC, RAW)),
    "q(y|x)": (lambda logits: dist.posterior_y(logits).log_prob(Y), (drawn(6, 5, 4),)),
    "q(z|y,x)": (lambda z, loc, raw: dist.posterior_z(loc, raw, tf.constant(0.2, z.dtype)).log_prob(z), drawn(7, 3, 5, 3)),
    "q(z|y,x) at its own sample": (
        lambda loc, raw: at_own_sample(dist.posterior_z(loc, raw, tf.constant(0.2, loc.dtype))),
        drawn(8, 2, 5, 3),
    ),
    "p(x|z), Gaussian": (lambda loc, raw: dist.gaussian_x(loc, raw, 0.3).log_prob(X), (drawn(9, 5, 3), drawn(10, 5, 3))),
    "p(x|z), one sigma": (lambda loc, raw: dist.gaussian_x(loc, raw, 0.3).log_prob(X), (drawn(11, 5, 3), drawn(12, 3))),
    "p(x|z), Bernoulli": (lambda logits: dist.bernoulli_x(logits).log_prob(X), (drawn(13, 5, 3),)),
}
X, NOISE = np.random.default_rng(20).uniform(size=(5, 3)), drawn(14, 5, 3)


def at_own_sample(normal):
    """What reparameterized methods differentiate."""
    return normal.log_prob(dist.location_scale_sample(normal, tf.constant(NOISE)))


@pytest.mark.parametrize("name", DENSITIES)
def test_gradients_are_the_finite_differences(name, rng):
    density, inputs = DENSITIES[name]
    inputs = [tf.constant(a) for a in inputs]
    factors = rng.normal(size=density(*inputs).shape)  # of the sum, so that no two terms cancel

    def value(*arrays):
        return tf.reduce_sum(factors * density(*arrays))

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = value(*inputs)
    gradients = [tf.convert_to_tensor(g) for g in tape.gradient(total, inputs)]
    for i, (array, found) in enumerate(zip(inputs, gradients, strict=True)):
        for at in np.ndindex(*array.shape):
            step = np.zeros(array.shape)
            step[at] = 1e-5
            up, down = ([*inputs[:i], array + sign * step, *inputs[i + 1 :]] for sign in (1, -1))
            assert float(value(*up) - value(*down)) / 2e-5 == pytest.approx(float(found[at]), rel=1e-6, abs=1e-7)
