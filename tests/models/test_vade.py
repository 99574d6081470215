"""VaDE and VAE+GMM against NumPy in float64, quadrature and TFP; what every method does is in contract.py."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, stats
from scipy.special import logsumexp, softmax
from sklearn.mixture import GaussianMixture

from nvisa_tf import Dataset, RunConfig, Trainer, clustering_accuracy
from nvisa_tf.clustering.mixtures import FITS
from nvisa_tf.data import Splits
from nvisa_tf.layers import distributions as dist
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.stage import derived_seed
from nvisa_tf.models.vade import VaDE, mixture_divergence
from nvisa_tf.models.vae import CODE_SD
from nvisa_tf.runs.workflows import build_model

tfd = tfp.distributions
OPTIONS = {
    "n_clusters": 3,
    "latent_dim": 2,
    "encoder_units": (16,),
    "decoder_units": (16,),
    "epochs": 100,
    "batch_size": 32,
    "learning_rate": 5e-3,
    "eval_epochs": 50.0,
    "seed": 3,
}
KINDS = [(method, likelihood) for method in ("vade", "vae_gmm") for likelihood in ("gaussian", "bernoulli")]


def softplus(x):
    return np.logaddexp(0, x)


def trained(method, data, **options):
    config = RunConfig.of(method, {**OPTIONS, **({"pretrain_epochs": 100} if method == "vade" else {}), **options})
    model = build_model(config, Splits(data, data, ""))
    trainer = Trainer(model, config, data)
    trainer.train()
    return trainer


def test_the_divergence_is_the_integral_that_it_stands_for():
    """KL of the joint of y and z, one dimension, by quadrature."""
    gamma, pi = np.array([0.2, 0.5, 0.3]), np.array([0.6, 0.3, 0.1])
    q = stats.norm(0.4, 0.7)
    p = [stats.norm(mean, sd) for mean, sd in ((-1.0, 0.5), (0.5, 1.5), (2.0, 0.9))]

    def integrand(z, y):
        return gamma[y] * q.pdf(z) * (np.log(gamma[y]) + q.logpdf(z) - np.log(pi[y]) - p[y].logpdf(z))

    expected = sum(integrate.quad(integrand, -12, 12, args=(y,), epsabs=1e-12)[0] for y in range(3))
    means, sds = (tf.constant([[getattr(one, name)()] for one in p], tf.float64) for name in ("mean", "std"))
    normals = tfd.Independent(tfd.Normal(means, sds), 1)
    found_q = tfd.Independent(tfd.Normal(tf.constant([[0.4]], tf.float64), tf.constant([[0.7]], tf.float64)), 1)
    found = mixture_divergence(tf.constant(np.log(gamma[None])), tf.constant(np.log(pi)), dist.divergences(found_q, normals))
    assert found.shape == (1,)
    assert float(found[0]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("method", "likelihood"), KINDS)
def test_the_bound_is_that_of_the_paper(method, likelihood, data, by_hand):
    trainer = trained(method, data, likelihood=likelihood, scaling="none", epochs=5)
    model, stage = trainer.model, trainer.stages[-1 if method == "vade" else 0]
    x = model.preprocess(tf.constant(data.x[:20], tf.float32)).numpy()
    noise = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    mean, sd, z, log_x = by_hand(model, x, noise)
    if method == "vae_gmm":
        cost = 0.5 * (mean**2 + sd**2 - 1 - 2 * np.log(sd)).sum(1)
    else:
        loc, scale = np.asarray(model.prior.loc, np.float64), softplus(np.asarray(model.prior.raw_scale, np.float64))
        logits = np.asarray(model.prior.logits, np.float64)
        log_pi = logits - logsumexp(logits)
        joint = log_pi + stats.norm.logpdf(z[:, None], loc, scale).sum(-1)
        log_gamma = joint - logsumexp(joint, 1, keepdims=True)
        gamma = np.exp(log_gamma)
        # Equation 12, term by term.
        fit = (np.log(scale**2) + sd[:, None] ** 2 / scale**2 + (mean[:, None] - loc) ** 2 / scale**2).sum(-1)
        cost = (0.5 * gamma * fit - gamma * (log_pi - log_gamma)).sum(1) - 0.5 * (1 + np.log(sd**2)).sum(1)
    found = stage.bound(tf.constant(x), tf.constant(noise))
    np.testing.assert_allclose(found, log_x - cost, rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize("method", ["vade", "vae_gmm"])
def test_the_gradient_is_that_of_the_bound(method, data):
    """Along a random direction in all weights, against a central difference."""
    stage = trained(method, data, likelihood="bernoulli", scaling="none", epochs=2).stages[-1 if method == "vade" else 0]
    x = tf.constant(data.x[:64], tf.float32)
    noise = tf.random.stateless_normal([64, 2], [1, 2])
    weights = [weight.value for weight in stage.weights]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(stage.bound(x, noise))
    gradients = tape.gradient(loss, weights)
    assert all(gradient is not None for gradient in gradients)
    generator = np.random.default_rng(0)
    directions = [generator.normal(size=weight.shape).astype(np.float32) for weight in weights]
    slope = sum(float(tf.reduce_sum(g * d)) for g, d in zip(gradients, directions, strict=True))

    def moved(step):
        for weight, direction in zip(weights, directions, strict=True):
            weight.assign_add(step * direction)
        return float(tf.reduce_mean(stage.bound(x, noise)))

    above = moved(1e-3)
    below = moved(-2e-3)
    assert (above - below) / 2e-3 == pytest.approx(slope, rel=2e-2)


@pytest.mark.parametrize(("method", "likelihood"), KINDS)
def test_the_importance_weights_of_the_density(method, likelihood, data, by_hand):
    """log p(x|z) + log p(z) - log q(z|x); p(z) is VaDE's mixture, or the standard normal that VAE+GMM was trained with."""
    model = trained(method, data, likelihood=likelihood, epochs=3, scaling="none").model
    raw = data.x[:20].astype(np.float32)
    x = model.preprocess(tf.constant(raw)).numpy()
    noise = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    mean, sd, z, log_x = by_hand(model, x, noise)
    log_z = stats.norm.logpdf(z).sum(1)
    if method == "vade":
        logits, loc, raw_scale = (np.asarray(part, np.float64) for part in (model.prior.logits, model.prior.loc, model.prior.raw_scale))
        each = stats.norm.logpdf(z[:, None], loc, softplus(raw_scale)).sum(-1)
        log_z = logsumexp(each + logits - logsumexp(logits), 1)
    expected = log_x + log_z - stats.norm.logpdf(z, mean, sd).sum(1)
    found = model.raw_log_weights(tf.constant(raw), tf.zeros([1, 20, 3]), tf.constant(noise[None]))
    np.testing.assert_allclose(found[0], expected, rtol=2e-4, atol=5e-3)
    scores, errors = model.score_samples(raw, 50, return_std=True)
    assert scores.shape == errors.shape == (20,)
    assert model.score_samples(raw, 200).mean() > model.score_samples(raw, 1).mean()  # the bound rises with the samples


def test_vade_begins_with_the_mixture_of_the_codes(data):
    trainer = trained("vade", data, epochs=0)
    model, codes = trainer.model, trainer.model.embed(data.x).astype(np.float64)
    assert np.sqrt(np.mean(codes**2)) == pytest.approx(1, abs=1e-4)
    fitted = GaussianMixture(3, covariance_type="full", n_init=FITS, random_state=derived_seed(3, 3)).fit(codes)
    variances = np.diagonal(fitted.covariances_, axis1=1, axis2=2)
    joint = np.log(fitted.weights_) + stats.norm.logpdf(codes[:, None], fitted.means_, np.sqrt(variances)).sum(-1)
    np.testing.assert_allclose(model.predict_proba(data.x), softmax(joint, -1), atol=1e-3)
    np.testing.assert_allclose(model.q_z(model.encoder(model.preprocess(data.x))).stddev(), CODE_SD, atol=2e-4)
    assert trainer.stages[-1].report["accuracy"] == clustering_accuracy(data.y, model.predict_clusters(data.x))


@pytest.mark.parametrize(("method", "likelihood"), KINDS)
def test_it_finds_clusters_and_its_samples_are_like_them(method, likelihood, make_blobs, bar_images):
    x, y = bar_images if likelihood == "bernoulli" else make_blobs(60)
    data = Dataset("toy", x, y, 255.0 if likelihood == "bernoulli" else None)
    model = trained(method, data, likelihood=likelihood).model
    assert clustering_accuracy(data.y, model.predict_clusters(data.x)) > 0.95
    for cluster in range(3):
        assert np.mean(model.predict_clusters(model.generate(50, cluster=cluster)) == cluster) > 0.9


def test_vade_gets_better_by_training(data):
    before, after = (trained("vade", data, epochs=epochs).model.score_samples(data.x, 100).mean() for epochs in (0, 100))
    assert after > before + 0.5


def test_a_bernoulli_likelihood_of_other_values_is_refused(make_blobs):
    data = Dataset("blobs", *make_blobs(60))
    with pytest.raises(ValueError, match=r"needs values in \[0, 1\]"):
        trained("vade", data, likelihood="bernoulli", scaling="none")


def test_a_run_goes_on_from_the_mixture_that_it_is_given(data):
    first = trained("vade", data, epochs=3).model
    config = RunConfig.of("vade", {**OPTIONS, "pretrain_epochs": 0, "init_from": "somewhere"})
    model = VaDE(first.config, seed=9)
    model.take_weights(first, "init_from: somewhere")
    model.stages(TrainingData(data, data), config)[-1].begin()
    for mine, its in zip(model.prior.weights, first.prior.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), its.numpy())
    # To its end, which tells the accuracy of what it began with.
    Trainer(model, config, data).train()
    with pytest.raises(ValueError, match="pretrain_epochs is 0"):
        RunConfig.of("vade", {**OPTIONS, "pretrain_epochs": 0})
