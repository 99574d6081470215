"""GMVAE against enumeration of y in float64 NumPy, quadrature and TFP; what every method does is in contract.py."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from ai_edge_litert.interpreter import Interpreter
from scipy import integrate, stats
from scipy.special import log_expit, logsumexp
from sklearn.mixture import GaussianMixture

from nvisa_tf import Dataset, RunConfig, Trainer, clustering_accuracy
from nvisa_tf.clustering.mixtures import FITS
from nvisa_tf.data import Splits
from nvisa_tf.export.convert import to_tflite
from nvisa_tf.export.signatures import frozen_module
from nvisa_tf.layers import distributions as dist
from nvisa_tf.layers.conditional_prior import LEAST_SD
from nvisa_tf.models.gmvae import GMVAE, conditional_divergence
from nvisa_tf.models.stage import derived_seed
from nvisa_tf.models.vae import CODE_SD, LEAST_POSTERIOR_SD
from nvisa_tf.runs.workflows import build_model

tfd = tfp.distributions
D, W, K = 2, 3, 3
OPTIONS = {
    "n_clusters": K,
    "latent_dim": D,
    "noise_dim": W,
    "prior_units": 16,
    "encoder_units": (16,),
    "decoder_units": (16,),
    "pretrain_epochs": 0,
    "epochs": 100,
    "kl_warmup_epochs": 50.0,
    "batch_size": 32,
    "learning_rate": 6e-3,
    "eval_epochs": 50.0,
    "seed": 3,
}
LIKELIHOODS = ("gaussian", "bernoulli")


def softplus(x):
    return np.logaddexp(0, x)


def made(data, **options):
    config = RunConfig.of("gmvae", {**OPTIONS, "scaling": "none", **options})
    return Trainer(build_model(config, Splits(data, data, "")), config, data)


def trained(data, **options):
    trainer = made(data, **options)
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def shaken(data):
    """Models with weights that differ from those of the start in every layer, without training, by likelihood."""
    found = {}
    for likelihood in LIKELIHOODS:
        trainer = made(data, likelihood=likelihood, kl_warmup_epochs=0.0)
        rng = np.random.default_rng(0)
        for weight in trainer.model.trainable_variables:
            weight.assign(weight + 0.2 * rng.normal(size=weight.shape))
        found[likelihood] = trainer
    return found


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(1).normal(size=(20, D + W)).astype(np.float32)


def components(model, w):
    """Means and sds of p(z|w, y), float64 [n, K, D], from the weights alone."""
    weights = {name: value.numpy().astype(np.float64) for name, value in model.prior.parameters().items()}
    hidden = np.tanh(w @ weights["hidden_kernel"] + weights["hidden_bias"])
    loc, raw = (
        (hidden @ weights[f"{name}_kernel"] + weights[f"{name}_bias"]).reshape(-1, model.config.n_clusters, model.config.latent_dim)
        for name in ("loc", "raw_scale")
    )
    return loc, softplus(raw) + LEAST_SD


def by_hand(model, x, noise):
    """Means and sds of q(z|x) and q(w|x), their samples and log p(x|z), float64, from the layers' outputs."""
    h = model.encoder(x)
    heads = (model.code_head, model.scale_head, model.w_head, model.w_scale_head)
    z_mean, z_raw, w_mean, w_raw = (np.asarray(head(h), np.float64) for head in heads)
    z_sd, w_sd = softplus(z_raw) + LEAST_POSTERIOR_SD, softplus(w_raw) + LEAST_POSTERIOR_SD
    z, w = z_mean + z_sd * noise[:, :D], w_mean + w_sd * noise[:, D:]
    loc, raw_scale = (None if part is None else np.asarray(part, np.float64) for part in model.decoder(z.astype(np.float32)))
    if raw_scale is None:
        log_x = (x * log_expit(loc) + (1 - x) * log_expit(-loc)).sum(1)
    else:
        log_x = stats.norm.logpdf(x, loc, softplus(raw_scale) + model.config.least_sd).sum(1)
    return (z_mean, z_sd, z), (w_mean, w_sd, w), log_x


def kl(mean, sd, other_mean, other_sd):
    """Of diagonal normals, the last axis summed over."""
    return (np.log(other_sd / sd) + (sd**2 + (mean - other_mean) ** 2) / (2 * other_sd**2) - 0.5).sum(-1)


def test_the_terms_are_the_integrals_that_they_stand_for():
    """In one dimension, by quadrature: z and y under q(z|x) and gamma, and w."""
    gamma = np.array([0.2, 0.5, 0.3])
    q = stats.norm(0.4, 0.7)
    p = [stats.norm(mean, sd) for mean, sd in ((-1.0, 0.5), (0.5, 1.5), (2.0, 0.9))]

    def integral(function):
        return integrate.quad(function, -12, 12, epsabs=1e-12)[0]

    of_z = sum(g * integral(lambda z, p_z=p_z: q.pdf(z) * (q.logpdf(z) - p_z.logpdf(z))) for g, p_z in zip(gamma, p, strict=True))
    of_y = np.sum(gamma * np.log(gamma * 3))
    means, sds = (tf.constant([[[getattr(one, name)()] for one in p]], tf.float64) for name in ("mean", "std"))
    found_q = tfd.Independent(tfd.Normal(tf.constant([[0.4]], tf.float64), tf.constant([[0.7]], tf.float64)), 1)
    divergences = dist.divergences(found_q, tfd.Independent(tfd.Normal(means, sds), 1))
    assert divergences.shape == (1, 3)
    for floor in (0.0, of_y / 2, 2 * of_y):
        found = conditional_divergence(tf.constant(np.log(gamma[None])), divergences, floor)
        assert found.shape == (1,)
        assert float(found[0]) == pytest.approx(of_z + max(of_y, floor), rel=1e-9)
    of_w = integral(lambda w: q.pdf(w) * (q.logpdf(w) - stats.norm.logpdf(w)))
    assert float(dist.divergence_from_standard_normal(found_q)[0]) == pytest.approx(of_w, rel=1e-9)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("floor", [0.0, 0.9])
def test_the_bound_is_that_of_the_paper(likelihood, floor, shaken, data, noise):
    """Every term with y enumerated; the floor is above the batch's mean."""
    model = shaken[likelihood].model
    stage = made(data, likelihood=likelihood, kl_warmup_epochs=0.0, y_floor=floor).stages[0]
    stage.model = model
    x = model.preprocess(tf.constant(data.x[:20], tf.float32)).numpy()
    (z_mean, z_sd, z), (w_mean, w_sd, w), log_x = by_hand(model, x, noise)
    loc, sd = components(model, w)
    joint = np.log(1 / K) + stats.norm.logpdf(z[:, None], loc, sd).sum(-1)
    gamma = np.exp(joint - logsumexp(joint, 1, keepdims=True))
    of_y = np.array([sum(g * np.log(g / (1 / K)) for g in row if g > 0) for row in gamma])
    assert not floor or of_y.mean() < floor
    of_z = sum(gamma[:, y] * kl(z_mean, z_sd, loc[:, y], sd[:, y]) for y in range(K))
    expected = log_x - of_z - kl(w_mean, w_sd, 0.0, 1.0) - of_y - max(0.0, floor - of_y.mean())
    np.testing.assert_allclose(stage.bound(tf.constant(x), tf.constant(noise)), expected, rtol=2e-4, atol=2e-3)


def test_the_gradient_is_that_of_the_bound(shaken, data):
    """Along a random direction in all weights, against a central difference."""
    stage = shaken["bernoulli"].stages[0]
    x = tf.constant(data.x[:64], tf.float32)
    noise = tf.random.stateless_normal([64, D + W], [1, 2])
    weights = [weight.value for weight in stage.weights]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(stage.bound(x, noise))
    gradients = tape.gradient(loss, weights)
    assert all(gradient is not None for gradient in gradients)
    assert len(weights) == len(stage.model.trainable_variables)
    generator = np.random.default_rng(0)
    directions = [generator.normal(size=weight.shape).astype(np.float32) for weight in weights]
    slope = sum(float(tf.reduce_sum(g * d)) for g, d in zip(gradients, directions, strict=True))
    start = [weight.numpy() for weight in weights]

    def moved(step):
        for weight, value, direction in zip(weights, start, directions, strict=True):
            weight.assign(value + step * direction)
        return float(tf.reduce_mean(stage.bound(x, noise)))

    above, below, _ = moved(1e-3), moved(-1e-3), moved(0.0)
    assert (above - below) / 2e-3 == pytest.approx(slope, rel=2e-2)


@pytest.mark.parametrize(("floor", "is_below"), [(0.5, False), (0.55, True)])
def test_below_the_floor_the_clusters_probabilities_cost_no_more_or_less(floor, is_below):
    """By the batch's mean, as in the authors' code; here 0.069 and 0.987 nats, 0.528 on average."""
    log_gamma = tf.constant(np.log([[0.5, 0.3, 0.2], [0.98, 0.01, 0.01]]), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(log_gamma)
        cost = tf.reduce_mean(conditional_divergence(log_gamma, tf.zeros([2, 3]), floor))
    assert float(cost) == pytest.approx(0.55 if is_below else 0.528, abs=1e-3)
    gradient = tape.gradient(cost, log_gamma).numpy()
    if is_below:
        np.testing.assert_allclose(gradient, 0, atol=1e-7)
    else:
        assert np.abs(gradient).min() > 1e-3


def test_the_divergences_weight_rises_from_0_to_1(shaken, data, noise):
    stage = made(data, likelihood="bernoulli", kl_warmup_epochs=50.0).stages[0]
    stage.model = shaken["bernoulli"].model
    x = tf.constant(data.x[:20], tf.float32)
    whole = shaken["bernoulli"].stages[0].bound(x, tf.constant(noise)).numpy()
    likelihood = by_hand(stage.model, x.numpy(), noise)[2]
    steps = 50 * (len(data) // 32)
    for step, weight in ((0, 0.0), (steps // 4, 0.25), (steps, 1.0), (2 * steps, 1.0)):
        stage.step.assign(step)
        expected = likelihood + weight * (whole - likelihood)
        np.testing.assert_allclose(stage.bound(x, tf.constant(noise)), expected, rtol=2e-3, atol=1e-2)


def test_the_posterior_of_y_is_that_of_bayes(shaken, data):
    """Against TFP's mixture, at the means of q(z|x) and q(w|x), which is what the model answers."""
    model = shaken["gaussian"].model
    h = model.encoder(model.preprocess(tf.constant(data.x, tf.float32)))
    z, w = np.asarray(model.code_head(h), np.float64), np.asarray(model.w_head(h), np.float64)
    loc, sd = components(model, w)
    uniform = tfd.Categorical(probs=np.full((len(z), K), 1 / K))
    mixture = tfd.MixtureSameFamily(uniform, tfd.MultivariateNormalDiag(loc, sd))
    found = model.predict_proba(data.x)
    assert len(np.unique(found.argmax(1))) > 1
    np.testing.assert_allclose(found, mixture.posterior_marginal(z).probs_parameter(), atol=1e-4)
    np.testing.assert_allclose(model.prior.log_prob(tf.constant(z, tf.float32), tf.constant(w, tf.float32)), mixture.log_prob(z), atol=2e-3)
    np.testing.assert_allclose(model.prior.p_y().probs_parameter(), 1 / K, rtol=1e-6)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_importance_weights_of_the_density(likelihood, shaken, data, noise):
    """log p(x|z) + log sum_y p(y) p(z|w, y) + log p(w) - log q(z|x) - log q(w|x)."""
    model = shaken[likelihood].model
    raw = data.x[:20].astype(np.float32)
    (z_mean, z_sd, z), (w_mean, w_sd, w), log_x = by_hand(model, model.preprocess(tf.constant(raw)).numpy(), noise)
    loc, sd = components(model, w)
    log_z = logsumexp(np.log(1 / K) + stats.norm.logpdf(z[:, None], loc, sd).sum(-1), 1)
    log_q = stats.norm.logpdf(z, z_mean, z_sd).sum(1) + stats.norm.logpdf(w, w_mean, w_sd).sum(1)
    expected = log_x + log_z + stats.norm.logpdf(w).sum(1) - log_q
    found = model.raw_log_weights(tf.constant(raw), tf.zeros([1, 20, K]), tf.constant(noise[None]))
    np.testing.assert_allclose(found[0], expected, rtol=2e-4, atol=5e-3)
    scores, errors = model.score_samples(raw, 50, return_std=True)
    assert scores.shape == errors.shape == (20,)
    assert model.score_samples(raw, 200).mean() > model.score_samples(raw, 1).mean()  # the bound rises with the samples


def test_a_draw_of_z_is_of_its_cluster_and_its_w(shaken, noise):
    model = shaken["gaussian"].model
    y = np.arange(20) % K
    loc, sd = components(model, noise[:, D:].astype(np.float64))
    expected = loc[np.arange(20), y] + sd[np.arange(20), y] * noise[:, :D]
    np.testing.assert_allclose(model.prior.from_noise(tf.constant(y), tf.constant(noise)), expected, rtol=1e-4, atol=1e-5)
    clusters, z = model.sample_prior(20_000, seed=5)
    np.testing.assert_allclose(np.bincount(clusters) / 20_000, 1 / K, atol=0.015)
    loc, sd = components(model, np.random.default_rng(2).normal(size=(20_000, W)))
    for cluster in range(K):  # the moments of p(z|y), all w together
        of_it = z[clusters == cluster]
        np.testing.assert_allclose(of_it.mean(0), loc[:, cluster].mean(0), atol=0.06)
        np.testing.assert_allclose(of_it.var(0), (sd[:, cluster] ** 2).mean(0) + loc[:, cluster].var(0), rtol=0.1)


def test_the_exported_generator_takes_the_noise_of_z_and_w(shaken, noise):
    model = shaken["bernoulli"].model
    signature = model.signatures()["generate"]
    assert signature.inputs["noise"] == ((D + W,), "float32")
    interpreter = Interpreter(model_content=to_tflite(*frozen_module({"generate": signature}, "float32"), "none", list))
    y = (np.arange(20) % K).astype(np.int32)
    found = interpreter.get_signature_runner("generate")(cluster=y, noise=noise)["image"]
    np.testing.assert_allclose(found, model.decode_mean(model.prior.from_noise(tf.constant(y), tf.constant(noise))), atol=1e-5)


def test_it_begins_with_the_mixture_of_an_autoencoders_codes(data):
    trainer = trained(data, pretrain_epochs=60, epochs=0)
    model, codes = trainer.model, trainer.model.embed(data.x).astype(np.float64)
    reference = GaussianMixture(K, covariance_type="diag", n_init=FITS, random_state=derived_seed(3, 3)).fit(codes)
    joint = reference._estimate_log_prob(codes)  # the weights of the clusters are uniform here
    np.testing.assert_allclose(model.predict_proba(data.x), np.exp(joint - logsumexp(joint, 1, keepdims=True)), atol=2e-3)
    np.testing.assert_allclose(model.q_z(model.encoder(model.preprocess(data.x))).stddev(), CODE_SD, atol=2e-4)
    assert trainer.stages[-1].report["accuracy"] == clustering_accuracy(data.y, model.predict_clusters(data.x))


@pytest.mark.parametrize(("likelihood", "options"), [("gaussian", {}), ("bernoulli", {}), ("gaussian", {"pretrain_epochs": 50})])
def test_it_finds_clusters_and_its_samples_are_like_them(likelihood, options, make_blobs, bar_images):
    x, y = bar_images if likelihood == "bernoulli" else make_blobs(60)
    data = Dataset("toy", x, y, 255.0 if likelihood == "bernoulli" else None)
    model = trained(data, likelihood=likelihood, scaling="auto", **options).model
    assert clustering_accuracy(data.y, model.predict_clusters(data.x)) > 0.95
    for cluster in range(K):
        assert np.mean(model.predict_clusters(model.generate(50, cluster=cluster)) == cluster) > 0.9


def test_it_takes_all_of_another_models_weights_or_none(shaken):
    first = shaken["gaussian"].model
    model = GMVAE(first.config, seed=9)
    model.take_weights(first, "init_from: somewhere")
    for mine, its in zip(model.weights, first.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), its.numpy())
    for name in ("noise_dim", "prior_units"):
        other = GMVAE(dataclasses.replace(first.config, **{name: 4}))
        with pytest.raises(ValueError, match=f"{name} {getattr(first.config, name)} and this run 4"):
            other.take_weights(first, "init_from: somewhere")


def test_options_out_of_range_are_refused():
    for name in ("y_floor", "kl_warmup_epochs", "pretrain_epochs", "noise_dim"):
        with pytest.raises(ValueError, match=name):
            RunConfig.of("gmvae", {name: -1})
    with pytest.raises(ValueError, match="nothing to train"):
        RunConfig.of("gmvae", {"epochs": 0, "pretrain_epochs": 0})
