"""LTVAE and LTVAE-GMM against NumPy in float64, finite differences and scikit-learn; what every method does is in contract.py."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture

from nvisa_tf import Dataset, RunConfig, Trainer, clustering_accuracy
from nvisa_tf.clustering.mixtures import FITS
from nvisa_tf.data import Splits
from nvisa_tf.layers.stepwise_em import StepwiseEM
from nvisa_tf.layers.tree_prior import TreePrior
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.ltvae.model import LTVAEGMM
from nvisa_tf.models.ltvae.training import CODE_SD
from nvisa_tf.models.stage import derived_seed
from nvisa_tf.runs.workflows import build_model

OPTIONS = {
    "n_clusters": 3,
    "latent_dim": 2,
    "encoder_units": (16,),
    "decoder_units": (16,),
    "epochs": 100,
    "pretrain_epochs": 100,
    "batch_size": 32,
    "learning_rate": 5e-3,
    "eval_epochs": 50.0,
    "seed": 3,
}
GMM_KINDS = [("gaussian", "fixed"), ("gaussian", "learned"), ("bernoulli", "fixed")]


def trained(method, data, **options):
    config = RunConfig.of(method, {**OPTIONS, **options})
    model = build_model(config, Splits(data, data, ""))
    trainer = Trainer(model, config, data)
    trainer.train()
    return trainer


def log_mixture(prior, z):
    """log p(z) of a prior of one facet without correlations."""
    log_pi, loc = (np.asarray(part, np.float64)[0] for part in (prior.log_tables[:, 0], prior.loc))
    sd = np.diagonal(np.asarray(prior.root, np.float64)[0], axis1=1, axis2=2)
    return logsumexp(log_pi - logsumexp(log_pi) + stats.norm.logpdf(z[:, None], loc, sd).sum(-1), 1)


@pytest.mark.parametrize(("likelihood", "covariance"), GMM_KINDS)
def test_bound_and_density_of_a_mixture(likelihood, covariance, data, by_hand):
    trainer = trained("ltvae_gmm", data, likelihood=likelihood, scaling="none", epochs=5, prior_covariance=covariance)
    model, stage = trainer.model, trainer.stages[-1]
    raw = data.x[:20].astype(np.float32)
    x = model.preprocess(tf.constant(raw)).numpy()
    noise = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    mean, sd, z, log_x = by_hand(model, x, noise)
    log_z = log_mixture(model.prior, z)
    entropy = (0.5 * np.log(2 * np.pi * np.e * sd**2)).sum(1)
    np.testing.assert_allclose(stage.bound(tf.constant(x), tf.constant(noise)), log_x + log_z + entropy, rtol=2e-4, atol=2e-3)
    found = model.raw_log_weights(tf.constant(raw), tf.zeros([1, 20, 3]), tf.constant(noise[None]))
    np.testing.assert_allclose(found[0], log_x + log_z - stats.norm.logpdf(z, mean, sd).sum(1), rtol=2e-4, atol=5e-3)
    scores = [model.score_samples(raw, n).mean() for n in (1, 200)]
    assert scores[1] > scores[0]


def slopes_of(bound, weights):
    """The derivative of a scalar along its gradient, by differentiation and by a central difference."""
    with tf.GradientTape() as tape:
        loss = bound()
    gradients = tape.gradient(loss, weights)
    assert all(gradient is not None for gradient in gradients)
    norm = tf.linalg.global_norm(gradients)

    def moved(step):
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.assign_add(step * gradient / norm)
        return float(bound())

    above = moved(5e-3)
    return float(norm), (above - moved(-1e-2)) / 1e-2


def test_the_gradient_is_that_of_the_bound(data):
    stage = trained("ltvae_gmm", data, likelihood="bernoulli", scaling="none", epochs=2).stages[-1]
    x, noise = tf.constant(data.x[:64], tf.float32), tf.random.stateless_normal([64, 2], [1, 2])
    before = [weight.numpy() for weight in stage.model.prior.weights]
    slope, difference = slopes_of(lambda: tf.reduce_mean(stage.bound(x, noise)), [weight.value for weight in stage.weights])
    assert difference == pytest.approx(slope, rel=2e-2)
    for mine, its in zip(stage.model.prior.weights, before, strict=True):
        np.testing.assert_array_equal(mine.numpy(), its)


def test_responsibilities_held_give_the_same_gradient(data):
    """In z, of sum_y p(y|z) log p(y, z) with p(y|z) held."""
    prior = trained("ltvae_gmm", data, epochs=1).model.prior
    z = tf.random.stateless_normal([50, 2], [1, 2])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        joint = prior.joint_log_prob(z)
        whole = tf.reduce_sum(prior.log_prob(z))
        held = tf.reduce_sum(tf.stop_gradient(tf.nn.softmax(joint)) * joint)
    np.testing.assert_allclose(tape.gradient(whole, z), tape.gradient(held, z), rtol=1e-3, atol=1e-4)


def mixture_codes():
    rng = np.random.default_rng(0)
    means = np.array([[-2.0, 0.0], [1.5, 1.5], [1.0, -2.0]])
    y = rng.choice(3, 3000, p=[0.5, 0.3, 0.2])
    return means[y] + rng.normal(size=(3000, 2)) * np.array([[0.5, 0.9], [0.8, 0.4], [0.6, 0.6]])[y]


def prior_at(start, variance):
    prior = TreePrior(1, 3, 2, dtype="float64")
    prior.build()
    values = {name: value.numpy() for name, value in prior.parameters().items()}
    values["loc"][0] = start
    values["root"][0], values["whitening"][0] = np.eye(2) * variance**0.5, np.eye(2) / variance**0.5
    values["log_norm"][0] = -np.log(2 * np.pi * variance)
    prior.set_parameters(values)
    return prior


def reference(z, start, covariance, **options):
    precisions = {"diag": np.ones((3, 2)), "full": np.broadcast_to(np.eye(2), (3, 2, 2))}[covariance]
    first = {"weights_init": np.full(3, 1 / 3), "means_init": start, "precisions_init": precisions}
    return GaussianMixture(3, covariance_type=covariance, reg_covar=0, **first, **options)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("covariance", "kind"), [("diagonal", "diag"), ("pouches", "full")])
@pytest.mark.parametrize("steps", [1, 40])
def test_steps_at_rate_1_on_all_codes_are_those_of_em(covariance, kind, steps):
    z, start = mixture_codes(), np.array([[-1.0, 0.3], [0.5, 1.0], [0.2, -1.0]])
    prior = prior_at(start, 1.0)
    if covariance == "pouches":
        prior.set_parameters({"together": np.ones((2, 2))})
    em = StepwiseEM(prior, 1.0, covariance)
    em.reset()
    learn = tf.function(em.learn, autograph=False)
    for _ in range(steps):
        learn(tf.constant(z))
    expected = reference(z, start, kind, max_iter=steps, tol=0).fit(z)
    root = prior.root.numpy()[0]
    found = root @ root
    np.testing.assert_allclose(np.exp(prior.log_tables.numpy()[0, 0]), expected.weights_, atol=2e-6)
    np.testing.assert_allclose(prior.loc.numpy()[0], expected.means_, atol=1e-5)
    np.testing.assert_allclose(
        found, expected.covariances_ if kind == "full" else [np.diag(row) for row in expected.covariances_], atol=1e-5
    )
    np.testing.assert_allclose(prior.whitening.numpy()[0] @ root, np.broadcast_to(np.eye(2), (3, 2, 2)), atol=1e-9)
    np.testing.assert_allclose(prior.log_prob(tf.constant(z)), expected.score_samples(z), atol=1e-4)


def test_stepwise_em_comes_to_the_mixture_of_codes_that_stand_still():
    """Batches of 100 at a rate of 0.01, against scikit-learn from the same start."""
    z, start = mixture_codes(), np.array([[-1.0, 0.3], [0.5, 1.0], [0.2, -1.0]])
    prior = prior_at(start, 1.0)
    em = StepwiseEM(prior, 0.01, "diagonal")
    em.reset()
    learn, rng = tf.function(em.learn, autograph=False), np.random.default_rng(1)
    for _ in range(40):
        for rows in rng.permutation(len(z)).reshape(-1, 100):
            learn(tf.constant(z[rows]))
    expected = reference(z, start, "diag").fit(z)
    np.testing.assert_allclose(np.exp(prior.log_tables.numpy()[0, 0]), expected.weights_, atol=0.02)
    np.testing.assert_allclose(prior.loc.numpy()[0], expected.means_, atol=0.05)
    np.testing.assert_allclose(np.diagonal(prior.root.numpy()[0] ** 2, axis1=1, axis2=2), expected.covariances_, rtol=0.15)
    assert prior.log_prob(tf.constant(z)).numpy().mean() > expected.score(z) - 0.005


def test_fixed_covariances_stay_and_the_rest_is_the_maximum():
    z, start, variance = mixture_codes(), np.array([[-1.0, 0.3], [0.5, 1.0], [0.2, -1.0]]), 0.3
    prior = prior_at(start, variance)
    em = StepwiseEM(prior, 1.0, "fixed")
    em.reset()
    pi, means = np.full(3, 1 / 3), start
    for _ in range(10):  # EM by hand
        joint = np.log(pi) + stats.norm.logpdf(z[:, None], means, variance**0.5).sum(-1)
        gamma = np.exp(joint - logsumexp(joint, 1, keepdims=True))
        pi, means = gamma.mean(0), gamma.T @ z / gamma.sum(0)[:, None]
        em.learn(tf.constant(z))
    np.testing.assert_allclose(np.exp(prior.log_tables.numpy()[0, 0]), pi, atol=5e-6)
    np.testing.assert_allclose(prior.loc.numpy()[0], means, atol=1e-6)
    np.testing.assert_allclose(prior.root.numpy()[0], np.broadcast_to(np.eye(2) * variance**0.5, (3, 2, 2)))


def test_codes_that_are_not_finite_change_nothing():
    prior = prior_at(np.array([[-1.0, 0.3], [0.5, 1.0], [0.2, -1.0]]), 1.0)
    em = StepwiseEM(prior, 0.5, "pouches")
    em.reset()
    em.maximize()
    before = [variable.numpy() for variable in (*em.variables, *prior.weights)]
    em.learn(tf.constant([[0.0, np.nan], [1.0, 2.0]], tf.float64))
    for variable, value in zip((*em.variables, *prior.weights), before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_it_begins_with_the_mixture_of_the_codes(data):
    trainer = trained("ltvae_gmm", data, epochs=0, prior_covariance="learned")
    model, codes = trainer.model, trainer.model.embed(data.x).astype(np.float64)
    assert np.sqrt(np.mean(codes**2)) == pytest.approx(1, abs=1e-4)
    mixture = GaussianMixture(3, n_init=FITS, random_state=derived_seed(3, 3)).fit(codes)
    variances = np.diagonal(mixture.covariances_, axis1=1, axis2=2)
    joint = np.log(mixture.weights_) + stats.norm.logpdf(codes[:, None], mixture.means_, variances**0.5).sum(-1)
    np.testing.assert_allclose(model.predict_proba(data.x), np.exp(joint - logsumexp(joint, 1, keepdims=True)), atol=1e-3)
    np.testing.assert_allclose(model.q_z(model.encoder(model.preprocess(data.x))).stddev(), CODE_SD, atol=2e-4)
    assert trainer.stages[-1].report["accuracy"] == clustering_accuracy(data.y, model.predict_clusters(data.x))


@pytest.mark.parametrize(("likelihood", "covariance"), GMM_KINDS)
def test_it_finds_clusters_and_its_samples_are_like_them(likelihood, covariance, make_blobs, bar_images):
    x, y = bar_images if likelihood == "bernoulli" else make_blobs(60)
    data = Dataset("toy", x, y, 255.0 if likelihood == "bernoulli" else None)
    model = trained("ltvae_gmm", data, likelihood=likelihood, prior_covariance=covariance).model
    assert clustering_accuracy(data.y, model.predict_clusters(data.x)) > 0.95
    for cluster in range(3):
        assert np.mean(model.predict_clusters(model.generate(50, cluster=cluster)) == cluster) > 0.9


def test_it_gets_better_by_training(data):
    before, after = (trained("ltvae_gmm", data, epochs=epochs).model.score_samples(data.x, 100).mean() for epochs in (0, 100))
    assert after > before + 0.5


def test_a_run_goes_on_from_the_prior_that_it_is_given(data):
    first = trained("ltvae_gmm", data, epochs=3, prior_covariance="learned").model
    config = RunConfig.of("ltvae_gmm", {**OPTIONS, "pretrain_epochs": 0, "init_from": "somewhere", "prior_covariance": "learned"})
    model = LTVAEGMM(first.config, seed=9)
    model.take_weights(first, "init_from: somewhere")
    stage = model.stages(TrainingData(data, data), config)[-1]
    stage.begin()
    stage.em.maximize()  # its statistics are those of the prior
    for mine, its in zip(model.prior.weights, first.prior.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), its.numpy(), rtol=1e-4, atol=1e-5)


def test_options_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="pretrain_epochs is 0"):
        RunConfig.of("ltvae_gmm", {**OPTIONS, "pretrain_epochs": 0})
    with pytest.raises(ValueError, match=r"em_rate is 1.5; it must be at most 1"):
        RunConfig.of("ltvae_gmm", {**OPTIONS, "em_rate": 1.5})
