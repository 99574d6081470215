"""Every objective's expected estimate against the exact gradient of its objective, by enumeration in float64."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp

from nvisa_tf.config.objectives import OBJECTIVES
from nvisa_tf.models.nvisa.objectives import Control, LogProbs, estimator, importance_weighted_bound

F64 = tf.float64


def mean_of_estimates(name, toy, log_probs_of, log_probability, control=None):
    """The mean over the last axis, by probability, of the estimated gradient, and of the bound."""
    with tf.GradientTape() as tape:
        found = estimator(name)(log_probs_of(), control or Control())
        total = tf.reduce_sum(tf.stop_gradient(tf.exp(log_probability)) * found.surrogate)
    return tape.gradient(total, toy.variables), float(tf.reduce_sum(tf.exp(log_probability) * found.bound))


def assert_close(found, expected, tolerance=1e-10):
    for a, b in zip(found, expected, strict=True):
        b = np.asarray(tf.convert_to_tensor(b))
        assert np.abs(b).max() > 1e-3  # or the comparison would show nothing
        assert np.abs(np.asarray(tf.convert_to_tensor(a)) - b).max() / np.abs(b).max() < tolerance


def state_tuples(m):
    return np.array(list(itertools.product(range(20), repeat=m))).T  # [M, 20 ** M]


def elbo(toy):
    q = tf.exp(toy.log_q())
    return tf.reduce_sum(q * (toy.log_p() - toy.log_q()))


@pytest.mark.parametrize("m", [1, 2])
def test_nvil_is_the_gradient_of_the_elbo_whatever_its_baselines(toy, m):
    states = state_tuples(m)
    with tf.GradientTape() as tape:
        value = elbo(toy)
    exact = tape.gradient(value, toy.variables)
    log_probability = tf.reduce_sum(tf.gather(toy.log_q(), states), 0)
    prediction = tf.fill([states.shape[1]], tf.constant(0.7, F64))
    control = Control(prediction=prediction, mean=tf.constant(-1.3, F64), variance=tf.constant(0.25, F64))
    found, bound = mean_of_estimates("nvil", toy, lambda: toy.log_probs(states), log_probability, control)
    assert_close(found, exact)
    assert bound == pytest.approx(float(value), abs=1e-10)
    # A variance above 1 divides q's gradient by its root, and leaves p's.
    scaled = mean_of_estimates(
        "nvil", toy, lambda: toy.log_probs(states), log_probability, control._replace(variance=tf.constant(9.0, F64))
    )[0]
    assert_close(scaled, [exact[0] / 3, exact[1] / 3, *exact[2:]])


@pytest.mark.parametrize("m", [2, 3])
def test_vimco_is_the_gradient_of_the_multi_sample_bound(toy, m):
    states = state_tuples(m)
    with tf.GradientTape() as tape:
        log_q, log_p = tf.gather(toy.log_q(), states), tf.gather(toy.log_p(), states)
        value = tf.reduce_sum(tf.exp(tf.reduce_sum(log_q, 0)) * importance_weighted_bound(log_p - log_q))
    exact = tape.gradient(value, toy.variables)
    log_probability = tf.reduce_sum(tf.gather(toy.log_q(), states), 0)
    for baseline in ("geometric", "arithmetic"):
        found, bound = mean_of_estimates("vimco", toy, lambda: toy.log_probs(states), log_probability, Control(baseline))
        assert_close(found, exact)
        assert bound == pytest.approx(float(value), abs=1e-10)


@pytest.mark.parametrize("m", [2, 3])
def test_rws_for_p_is_exact_and_its_bias_for_q_is_the_closed_form(toy, m):
    """For q: E[sum_m w~_m g_m] = sum_h p(h|x) g(h) E_others[p(x) / W(h, others)], W the mean weight, by exchangeability.

    So the bias against E_{p(h|x)}[g] is sum_h p(h|x) g(h) (E_others[p(x) / W] - 1).
    """
    states = state_tuples(m)
    log_probability = tf.reduce_sum(tf.gather(toy.log_q(), states), 0)
    found, _ = mean_of_estimates("rws", toy, lambda: toy.log_probs(states), log_probability)
    with tf.GradientTape() as tape:
        log_q, log_p = tf.gather(toy.log_q(), states), tf.gather(toy.log_p(), states)
        value = tf.reduce_sum(tf.exp(log_probability) * importance_weighted_bound(log_p - log_q))
    assert_close(found[2:], tape.gradient(value, toy.of_p))

    log_q, log_p = toy.log_q().numpy(), toy.log_p().numpy()
    w, log_p_x = np.exp(log_p - log_q), logsumexp(log_p)
    others = state_tuples(m - 1)
    probability = np.exp(log_q[others].sum(0))
    ratio = np.array([np.sum(probability * np.exp(log_p_x) / ((w[h] + w[others].sum(0)) / m)) for h in range(20)])
    posterior = np.exp(log_p - log_p_x)

    def pulled(factors):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(factors * toy.log_q())
        return tape.gradient(value, toy.of_q)

    ideal, bias = pulled(posterior), pulled(posterior * (ratio - 1))
    measured = [a - b for a, b in zip(found[:2], ideal, strict=True)]
    assert_close(measured, bias, 1e-9)


def test_the_bias_of_rws_falls_with_m(toy):
    posterior = np.exp(toy.log_p().numpy() - logsumexp(toy.log_p().numpy()))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(posterior * toy.log_q())
    ideal = tape.gradient(value, toy.of_q)
    sizes = []
    for m in (2, 3, 4):
        states = state_tuples(m)
        log_probability = tf.reduce_sum(tf.gather(toy.log_q(), states), 0)
        found, _ = mean_of_estimates("rws", toy, lambda states=states: toy.log_probs(states), log_probability)
        sizes.append(float(tf.linalg.global_norm([a - b for a, b in zip(found[:2], ideal, strict=True)])))
    assert sizes[0] > sizes[1] > sizes[2] > 1e-3


# z reparameterized: the noise is what is enumerated.


def noise_tuples(n):
    """Indices of all n-tuples of noise, [n, 3 ** n]."""
    return np.array(list(itertools.product(range(3), repeat=n))).T


@pytest.mark.parametrize(("name", "s"), [("enum_y", 1), ("enum_y", 2), ("iwae", 1), ("iwae", 2)])
def test_objectives_that_enumerate_y(noise_toy, name, s):
    toy, e = noise_toy, noise_tuples(4 * s)  # every (y, s) has its own noise
    n = e.shape[1]
    y = np.broadcast_to(np.arange(4)[:, None, None], (4, s, n))
    noise = toy.noise[e].reshape(4, s, n)
    log_probability = toy.log_p_noise[e].sum(0)

    with tf.GradientTape() as tape:
        # By its definition, an expectation over the s noises of one y at a time.
        few = noise_tuples(s)
        log_q_y = toy.log_q_y()
        value = 0.0
        for k in range(4):
            at = toy.at(np.full(few.shape, k), toy.noise[few])
            log_w = at.log_p - at.log_q_z
            inner = tf.reduce_mean(log_w, 0) if name == "enum_y" else tf.reduce_logsumexp(log_w, 0) - np.log(s)
            value += tf.exp(log_q_y[k]) * (tf.reduce_sum(np.exp(toy.log_p_noise[few].sum(0)) * inner) - log_q_y[k])
    exact = tape.gradient(value, toy.variables)
    found, bound = mean_of_estimates(name, toy, lambda: cut(toy.at(y, noise)), log_probability)
    assert_close(found, exact)
    assert bound == pytest.approx(float(value), abs=1e-10)


def cut(log_probs):
    """As the model gives them: what does not depend on z has one entry for all s."""
    return log_probs._replace(log_p_y=log_probs.log_p_y[:, :1], log_q_y=log_probs.log_q_y[:, :1])


@pytest.mark.parametrize("m", [2, 3])
def test_iwae_vimco(noise_toy, m):
    toy = noise_toy
    y = np.array(list(itertools.product(range(4), repeat=m))).T
    e = noise_tuples(m)
    y, e = np.repeat(y, e.shape[1], 1), np.tile(e, y.shape[1])
    with tf.GradientTape() as tape:
        at = toy.at(y, toy.noise[e])
        probability = tf.exp(tf.reduce_sum(at.log_q_y + toy.log_p_noise[e], 0))
        value = tf.reduce_sum(probability * (tf.reduce_logsumexp(at.log_p - at.log_q, 0) - np.log(m)))
    exact = tape.gradient(value, toy.variables)
    log_probability = tf.reduce_sum(tf.gather(toy.log_q_y(), y) + toy.log_p_noise[e], 0)
    for baseline in ("geometric", "arithmetic"):
        found, bound = mean_of_estimates("iwae_vimco", toy, lambda: toy.at(y, toy.noise[e]), log_probability, Control(baseline))
        assert_close(found, exact)
        assert bound == pytest.approx(float(value), abs=1e-10)


def test_iwae_lies_between_the_elbo_and_the_evidence(toy):
    """On a proper toy, z on a grid under q(z|y): the ELBO <= L_2 <= L_4 <= log p(x), and L_1 is the ELBO."""
    q_z, log_w = tf.exp(toy.log_q_z()).numpy().reshape(4, 5), (toy.log_p() - toy.log_q_z()).numpy().reshape(4, 5)
    log_q_y = toy.log_q_y().numpy().reshape(4, 5)[:, 0]

    def level(s):
        grid = np.array(list(itertools.product(range(5), repeat=s))).T
        inner = [np.sum(q_z[k][grid].prod(0) * (logsumexp(log_w[k][grid], axis=0) - np.log(s))) for k in range(4)]
        return float(np.sum(np.exp(log_q_y) * (inner - log_q_y)))

    values = [level(s) for s in (1, 2, 4)]
    assert values[0] == pytest.approx(float(elbo(toy)), abs=1e-12)
    assert values[0] < values[1] < values[2] < logsumexp(toy.log_p().numpy())


# What holds for all of them.


def random_log_probs(name, m=4, batch=3, dtype=tf.float32, spread=1.0):
    shape = [5, m, batch] if OBJECTIVES[name].enumerates_y else [m, batch]
    rng = np.random.default_rng(0)
    probs = [tf.constant(spread * rng.normal(size=shape), dtype) for _ in range(5)]
    log_probs = LogProbs(*probs)
    if OBJECTIVES[name].enumerates_y:
        log_probs = cut(log_probs._replace(log_q_y=tf.nn.log_softmax(log_probs.log_q_y, 0)))
    control = Control(prediction=tf.zeros([batch], dtype), mean=tf.constant(0.1, dtype), variance=tf.constant(2.0, dtype))
    return log_probs, control


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("spread", [1.0, 1e3])
def test_float32_agrees_with_float64_and_is_finite(name, spread):
    results = []
    for dtype in (tf.float32, tf.float64):
        log_probs, control = random_log_probs(name, dtype=dtype, spread=spread)
        with tf.GradientTape() as tape:
            tape.watch(log_probs)
            found = estimator(name)(log_probs, control)
        gradient = tape.gradient(found.surrogate, list(log_probs), unconnected_gradients="zero")
        results.append([np.asarray(a, np.float64) for a in (found.bound, found.weights, *gradient)])
    for a, b in zip(*results, strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5 * spread)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_bound_and_weights_are_constants_and_weights_sum_to_1(name):
    log_probs, control = random_log_probs(name)
    with tf.GradientTape() as tape:
        tape.watch(log_probs)
        found = estimator(name)(log_probs, control)
        total = tf.reduce_sum(found.bound) + tf.reduce_sum(found.weights**2)
    assert all(g is None for g in tape.gradient(total, list(log_probs)))
    np.testing.assert_allclose(tf.reduce_sum(found.weights, list(range(found.weights.shape.rank - 1))), 1, rtol=1e-5)
    assert found.bound.shape == found.surrogate.shape == (3,)


@pytest.mark.parametrize("name", [n for n, m in OBJECTIVES.items() if not m.reparameterizes_z])
def test_weights_are_the_factors_of_the_decoders_gradient(name):
    """What `resample` relies on."""
    log_probs, control = random_log_probs(name)
    with tf.GradientTape() as tape:
        tape.watch(log_probs.log_p_x)
        found = estimator(name)(log_probs, control)
    np.testing.assert_allclose(tape.gradient(found.surrogate, log_probs.log_p_x), found.weights, rtol=1e-6)


def test_nvil_baselines_learn_by_their_squared_error():
    log_probs, control = random_log_probs("nvil", dtype=F64)
    prediction = tf.Variable([0.3, -0.2, 0.1], dtype=F64)
    with tf.GradientTape(persistent=True) as tape:
        found = estimator("nvil")(log_probs, control._replace(prediction=tf.identity(prediction)))
        f = log_probs.log_p - log_probs.log_q
        error = tf.reduce_mean(0.5 * (f - control.mean - prediction) ** 2, 0) / np.sqrt(2.0)
    np.testing.assert_allclose(tape.gradient(found.surrogate, prediction), -tape.gradient(error, prediction), rtol=1e-12)
    centred = (f - prediction).numpy()
    assert float(found.mean) == pytest.approx(0.8 * 0.1 + 0.2 * centred.mean(), rel=1e-12)
    assert float(found.variance) == pytest.approx(0.8 * 2.0 + 0.2 * centred.var(), rel=1e-12)


def test_nvil_teaches_q_nothing_before_its_first_moments():
    log_probs, control = random_log_probs("nvil", dtype=F64)
    with tf.GradientTape() as tape:
        tape.watch(log_probs)
        found = estimator("nvil")(log_probs, control._replace(mean=tf.constant(np.nan, F64), variance=tf.constant(0.0, F64)))
    assert not np.any(tape.gradient(found.surrogate, log_probs.log_q_z))
    f = (log_probs.log_p - log_probs.log_q).numpy()
    assert float(found.mean) == pytest.approx(f.mean())
    assert float(found.variance) == pytest.approx(f.var())


def test_nvil_without_a_network_says_what_to_do():
    with pytest.raises(ValueError, match="set NVISAConfig"):
        estimator("nvil")(random_log_probs("nvil")[0], Control())


def test_unknown_objective():
    with pytest.raises(ValueError, match="one of vimco, enum_y"):
        estimator("svi")


def test_every_objective_is_a_file_and_a_line():
    from pathlib import Path

    import nvisa_tf.models.nvisa.objectives

    files = {path.stem for path in Path(nvisa_tf.models.nvisa.objectives.__file__).parent.glob("*.py")} - {"__init__", "terms"}
    assert files == set(OBJECTIVES)
