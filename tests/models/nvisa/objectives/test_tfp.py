"""TFP as a second opinion, on one cluster and the same draws, in float64."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from nvisa_tf.models.nvisa.objectives import Control, LogProbs, estimator

M, BATCH, SEED = 5, 40, (3, 4)


class Problem:
    def __init__(self):
        self.loc, self.scale = tf.Variable([0.3, -0.2], dtype=tf.float64), tf.Variable([0.5, 1.5], dtype=tf.float64)
        self.theta = tf.Variable([0.1, 0.4], dtype=tf.float64)
        self.variables = [self.loc, self.scale, self.theta]

    def posterior(self):
        return tfp.distributions.Independent(tfp.distributions.Normal(self.loc, self.scale), 1)

    def log_p(self, z):
        return tf.reduce_sum(-0.5 * (z - self.theta) ** 2 - 0.3 * z**4, -1)


def theirs(problem, kind, samples, importance):
    with tf.GradientTape() as tape:
        loss = tfp.vi.monte_carlo_variational_loss(
            problem.log_p, problem.posterior(), sample_size=samples, importance_sample_size=importance, gradient_estimator=kind, seed=SEED
        )
    return -float(loss), [-np.asarray(g) for g in tape.gradient(loss, problem.variables)]


def ours(problem, name, m, control, reparameterize):
    """With the draws that TFP makes from the first half of its split seed, in its order."""
    with tf.GradientTape() as tape:
        q = problem.posterior()
        z = q.sample([BATCH * m], seed=tfp.random.split_seed(SEED, 2)[0])
        z = tf.transpose(tf.reshape(z, [BATCH, m, 2]), [1, 0, 2])
        z = z if reparameterize else tf.stop_gradient(z)
        zero = tf.zeros([m, BATCH], tf.float64)
        log_probs = LogProbs(zero, zero, problem.log_p(z), zero, q.log_prob(z))
        if name in ("enum_y", "iwae"):
            log_probs = LogProbs(*(a[None] for a in log_probs))
        found = estimator(name)(log_probs, control)
        objective = tf.reduce_mean(found.surrogate)
    return float(tf.reduce_mean(found.bound)), [np.asarray(g) for g in tape.gradient(objective, problem.variables)]


@pytest.mark.parametrize("name", ["enum_y", "iwae", "iwae_vimco"])
def test_reparameterized(name):
    """With one cluster all are pathwise gradients, of the ELBO (enum_y) or of the M-sample bound."""
    problem, kind = Problem(), tfp.vi.GradientEstimators.REPARAMETERIZATION
    m = 1 if name == "enum_y" else M
    value, gradient = theirs(problem, kind, BATCH, m)
    found, estimate = ours(problem, name, m, Control(), True)
    assert found == pytest.approx(value, rel=1e-12)
    for a, b in zip(estimate, gradient, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_score_function_is_nvil_without_baselines():
    problem, kind = Problem(), tfp.vi.GradientEstimators.SCORE_FUNCTION
    value, gradient = theirs(problem, kind, BATCH, 1)
    zeros = Control(prediction=tf.zeros([BATCH], tf.float64), mean=tf.constant(0.0, tf.float64), variance=tf.constant(1.0, tf.float64))
    found, estimate = ours(problem, "nvil", 1, zeros, False)
    assert found == pytest.approx(value, rel=1e-12)
    # Theirs keeps grad log q of the integrand itself, whose expectation is 0; ours leaves it out.
    with tf.GradientTape() as tape:
        z = tf.stop_gradient(problem.posterior().sample([BATCH], seed=tfp.random.split_seed(SEED, 2)[0]))
        score = tf.reduce_mean(problem.posterior().log_prob(z))
    scores = [np.zeros(2) if g is None else np.asarray(g) for g in tape.gradient(score, problem.variables)]
    for a, b, extra in zip(estimate, gradient, scores, strict=True):
        np.testing.assert_allclose(a - extra, b, rtol=1e-9)
