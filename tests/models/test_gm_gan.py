"""GM-GAN against finite differences in float64, TFP, and generators whose classes are known; what every method does is in contract.py."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.stats import chisquare

from nvisa_tf import Dataset, Monitor, RunConfig, StopReason, Trainer, clustering_accuracy
from nvisa_tf.data import Splits
from nvisa_tf.layers.affine_mixture import AffineMixturePrior
from nvisa_tf.layers.networks import LayerFactory
from nvisa_tf.models.adversarial import GANStage, discriminator_loss, generator_loss, squared_gradient
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.gm_gan import GMGAN, ClassifierStage
from nvisa_tf.runs.jobs import Job, outcome
from nvisa_tf.runs.workflows import build_model, finish_run, load_run, resume_run, start_run

tfd = tfp.distributions
K, D, N = 4, 3, 40_000
OPTIONS = {
    "n_clusters": 3,
    "latent_dim": 2,
    "encoder_units": (32,),
    "decoder_units": (32,),
    "epochs": 120,
    "classifier_epochs": 20,
    "batch_size": 32,
    "eval_epochs": 50.0,
    "seed": 3,
}


def affine_mixture(learn, dtype="float64"):
    """A prior whose factors, where they are learned, are any matrices."""
    prior = AffineMixturePrior(LayerFactory(0, 0.0), K, D, 2.0, 0.3, learn, dtype)
    prior.build()
    if learn:
        prior.factor.assign(np.random.default_rng(1).normal(size=(K, D, D)))
    return prior


def as_array(tensor):
    return np.asarray(tensor, np.float64)


@pytest.mark.parametrize("learn", [False, True], ids=["static", "dynamic"])
def test_draws_have_the_moments_of_their_components(learn):
    prior = affine_mixture(learn)
    y, z = (part.numpy() for part in prior.sample(N, tf.constant([1, 2])))
    assert chisquare(np.bincount(y, minlength=K)).pvalue > 1e-3
    factors = np.tril(prior.factor.numpy())
    if not learn:
        np.testing.assert_array_equal(factors, np.broadcast_to(0.3 * np.eye(D), (K, D, D)))
        assert np.abs(prior.loc.numpy()).max() < 2
        assert np.abs(prior.loc.numpy()).max() > 1
        assert not prior.trainable_weights
    for k in range(K):
        part, covariance = z[y == k], factors[k] @ factors[k].T
        sd = np.sqrt(np.diag(covariance))
        assert (np.abs(part.mean(0) - prior.loc.numpy()[k]) < 5 * sd / np.sqrt(len(part))).all()
        error = np.sqrt((np.outer(sd, sd) ** 2 + covariance**2) / len(part))
        assert (np.abs(np.cov(part.T) - covariance) < 5 * error).all()
    alone, of_two = prior.sample(100, tf.constant([1, 2]), cluster=2)
    assert set(alone.numpy()) == {2}
    noise = np.linalg.solve(factors[2], (of_two.numpy() - prior.loc.numpy()[2]).T).T
    np.testing.assert_allclose(prior.from_noise(alone, noise), of_two, rtol=1e-9)


@pytest.mark.parametrize("learn", [False, True], ids=["static", "dynamic"])
def test_the_density_is_that_of_tfp(learn, rng):
    prior = affine_mixture(learn)
    factors = np.tril(prior.factor.numpy())
    covariances = np.einsum("kij,klj->kil", factors, factors)
    components = tfd.MultivariateNormalTriL(prior.loc.numpy(), np.linalg.cholesky(covariances))
    z = rng.normal(size=(5, 7, D))
    np.testing.assert_allclose(prior.joint_log_prob(z), np.log(1 / K) + components.log_prob(z[..., None, :]).numpy(), rtol=1e-9)
    mixture = tfd.MixtureSameFamily(tfd.Categorical(logits=np.zeros(K)), components)
    np.testing.assert_allclose(prior.log_prob(z), mixture.log_prob(z), rtol=1e-9)
    assert prior.p_z_given_y().batch_shape == (K,)


def test_the_losses_are_those_of_the_papers(rng):
    real, generated = rng.normal(size=50), rng.normal(size=50)
    d_real, d_generated = (1 / (1 + np.exp(-logits)) for logits in (real, generated))
    assert float(discriminator_loss(real, generated)) == pytest.approx(-np.log(d_real).mean() - np.log(1 - d_generated).mean())
    assert float(generator_loss(generated)) == pytest.approx(-np.log(d_generated).mean())


class SmoothPlayers:
    """Networks of tanh in float64, so that finite differences are exact; a leaky ReLU's gradient jumps where a unit changes its side."""

    def __init__(self):
        def network(width, units):
            hidden = keras.layers.Dense(8, "tanh", dtype="float64", kernel_initializer=keras.initializers.GlorotUniform(width))
            out = keras.layers.Dense(units, dtype="float64", kernel_initializer=keras.initializers.GlorotUniform(width + 1))
            return keras.Sequential([keras.Input((width,), dtype="float64"), hidden, out])

        self.config = types.SimpleNamespace(n_clusters=K, latent_dim=D)
        self.prior, self.decoder = affine_mixture(True), network(D, 6)
        self.discriminator, self.classifier = network(6, 1), network(6, K)

    def preprocess(self, x):
        return 0.5 * x

    def decoded_mean(self, z):
        return self.decoder(z)

    def logit(self, x):
        return tf.squeeze(self.discriminator(x), -1)

    def class_logits(self, x):
        return self.classifier(x)

    def weights_of_classifier(self):
        return self.classifier.trainable_weights


def gan_stage(model, x, **options):
    defaults = {"learning_rate": 1e-2, "penalty_weight": 3.0, "cluster_weight": 0.7, "augmentation": None}
    return GANStage(model, x, **{**defaults, **options}, batch_size=20, epochs=1, seed=0, shuffle_seed=1)


def test_both_players_gradients_are_those_of_their_losses(rng):
    """Along a random direction in all weights of a player, the penalty's second derivatives included, against a central difference."""
    x = rng.normal(size=(20, 6))
    stage, seed = gan_stage(SmoothPlayers(), x), tf.constant([3, 4])
    losses, *gradients = stage.gradients(tf.constant(x), seed)
    assert float(losses.penalty) > 0
    for name, weights, gradient in zip(
        ("discriminator", "generator"), (stage.discriminator_weights, stage.weights), gradients, strict=True
    ):
        directions = [rng.normal(size=weight.shape) for weight in weights]
        assert all(np.abs(part).max() > 0 for part in gradient)  # those of the mixture and the classifier too
        slope = sum(float(tf.reduce_sum(g * d)) for g, d in zip(gradient, directions, strict=True))

        def moved(step, name=name, weights=weights, directions=directions):
            for weight, direction in zip(weights, directions, strict=True):
                weight.assign(tf.convert_to_tensor(weight) + step * direction)
            return float(getattr(stage.losses(tf.constant(x), seed), name))

        above, below = moved(1e-5), moved(-2e-5)
        moved(1e-5)
        assert (above - below) / 2e-5 == pytest.approx(slope, rel=1e-6)


def test_the_penalty_is_the_squared_norm_of_the_logits_gradient(rng):
    model, x, step = SmoothPlayers(), rng.normal(size=(5, 6)), 1e-5
    slopes = np.stack([(model.logit(x + step * e) - model.logit(x - step * e)) / (2 * step) for e in np.eye(6)], 1)
    assert float(squared_gradient(model.logit, tf.constant(x))) == pytest.approx((slopes**2).sum(1).mean(), rel=1e-7)


def test_the_losses_add_up(rng):
    x = tf.constant(rng.normal(size=(20, 6)))
    whole, model = gan_stage(SmoothPlayers(), x), SmoothPlayers()
    found, plain = whole.losses(x, [5, 6]), gan_stage(model, x, penalty_weight=0.0, cluster_weight=0.0).losses(x, [5, 6])
    assert float(found.discriminator) == pytest.approx(float(plain.discriminator + 1.5 * found.penalty), rel=1e-9)
    assert float(found.generator) == pytest.approx(float(plain.generator + 0.7 * found.cluster), rel=1e-9)
    y, z = model.prior.sample(20, tf.random.split([5, 6], 3)[1])
    generated = model.decoded_mean(z)
    log_q = tf.nn.log_softmax(model.class_logits(generated)).numpy()
    assert float(found.cluster) == pytest.approx(-log_q[np.arange(20), y.numpy()].mean(), rel=1e-9)
    expected = discriminator_loss(model.logit(0.5 * x), model.logit(generated))
    assert float(plain.discriminator) == pytest.approx(float(expected), rel=1e-9)


def state(stage):
    """All numbers that a stage changes."""
    optimizers = [getattr(stage, name) for name in ("optimizer", "discriminator_optimizer") if hasattr(stage, name)]
    return [value.numpy() for owner in (stage.model, *optimizers) for value in owner.variables]


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_step_that_is_not_finite_changes_neither_player(data):
    stage = trainer_of(data).stages[0]
    step = tf.function(stage.train_step, autograph=False)
    step(tf.constant(data.x[:32]))
    before = state(stage)
    step(tf.constant(np.where(np.arange(32)[:, None] == 3, np.nan, data.x[:32]).astype(np.float32)))
    assert_same(state(stage), before)
    assert (int(stage.step), stage.nonfinite_steps()) == (2, (1, 1))
    step(tf.constant(data.x[:32]))
    assert stage.nonfinite_steps() == (1, 0)
    assert any(not np.array_equal(a, b) for a, b in zip(state(stage), before, strict=True))


@pytest.fixture(scope="module")
def data(make_blobs):
    return Dataset("blobs", *make_blobs(60))


def trainer_of(data, **options):
    config = RunConfig.of("gm_gan", {**OPTIONS, **options})
    return Trainer(build_model(config, Splits(data, data, "")), config, data)


def trained(data, **options):
    trainer = trainer_of(data, **options)
    trainer.train()
    return trainer.model


class CrashError(Exception):
    pass


class CrashIn(Monitor):
    def __init__(self, stage, calls):
        self.stage, self.calls = stage, calls

    def on_progress(self, progress):
        self.calls -= progress.stage == self.stage
        if self.calls == 0:
            raise CrashError


def test_killed_in_either_stage_both_optimizers_go_on_as_they_were(data, tmp_path):
    options = {"epochs": 3, "classifier_epochs": 3, "steps_per_call": 4, "checkpoint_minutes": 0.0, "prior": "dynamic"}
    whole = trainer_of(data, **options)
    whole.train()
    config, splits = whole.config, Splits(data, data, "")
    trainer = start_run(config, splits, str(tmp_path / "run"), monitors=[CrashIn("gan", 3)])
    with pytest.raises(CrashError):
        trainer.train()
    trainer = resume_run(trainer.run, trainer.config, splits, [CrashIn("classifier", 3)])
    assert 0 < trainer.step < trainer.total_steps
    with pytest.raises(CrashError):
        trainer.train()
    for name in ("optimizer", "discriminator_optimizer"):  # the GAN's, which has ended
        found, expected = (getattr(one.stages[0], name).variables for one in (trainer, whole))
        assert int(found[0]) == whole.stages[0].total_steps == 15
        assert_same([value.numpy() for value in found], [value.numpy() for value in expected])
    trainer = resume_run(trainer.run, trainer.config, splits)
    assert trainer.stage.name == "classifier"
    assert trainer.train() is StopReason.FINISHED
    assert_same(state(trainer.stages[1]), state(whole.stages[1]))
    with pytest.raises(ValueError, match="has trained its 3 epochs, and runs of the method gm_gan cannot be lengthened then"):
        resume_run(trainer.run, trainer.config.replace({"epochs": 9}), splits)


def affine_generator(data, sd, **options):
    """A model whose generator is an affine map, and what else is needed to train its classifier."""
    config = RunConfig.of("gm_gan", {**OPTIONS, "decoder_units": (), "classifier_epochs": 300, "prior_sd": sd, **options})
    model = build_model(config, Splits(data, data, ""))
    model.prior.loc.assign([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]])
    model.decoder.loc.kernel.assign(np.random.default_rng(0).normal(size=(2, 6)))
    model.decoder.loc.bias.assign(np.random.default_rng(1).normal(size=6))
    return model, ClassifierStage(model, TrainingData(data, data), config.model, config.train)


def test_the_classifier_tells_components_that_lie_apart(data, train_stage):
    model, stage = affine_generator(data, 0.2)
    held = [value.numpy() for part in (model.decoder, model.discriminator, model.prior) for value in part.weights]
    train_stage(stage)
    assert_same([value.numpy() for part in (model.decoder, model.discriminator, model.prior) for value in part.weights], held)
    y = model.sample_prior(2000, seed=77)[0]
    assert np.mean(model.predict_clusters(model.generate(2000, seed=77)) == y) > 0.99
    assert float(stage.metrics()["generated_accuracy"].result()) > 0.9


def test_the_classifier_comes_to_the_posterior_of_the_mixture(data, train_stage, monkeypatch):
    """Of components of one covariance under an affine map p(y|x) is a softmax of linear functions, which a linear classifier can give."""
    monkeypatch.setattr("nvisa_tf.models.gm_gan.CLASSIFIER_RATE", 0.02)
    model, stage = affine_generator(data, 0.8, encoder_units=(), batch_size=180, classifier_epochs=1000)
    train_stage(stage)
    z = model.sample_prior(1000, seed=5)[1]
    expected = np.exp(as_array(tf.nn.log_softmax(model.prior.joint_log_prob(z))))
    found = model.predict_proba(model.generate(1000, seed=5))
    assert np.abs(found - expected).mean() < 0.02


@pytest.mark.parametrize("prior", ["static", "dynamic"])
def test_it_finds_clusters_and_its_samples_are_like_them(prior, data):
    model = trained(data, prior=prior)
    assert clustering_accuracy(data.y, model.predict_clusters(data.x)) > 0.9
    spread = np.linalg.norm(data.x - data.x.mean(0), axis=1).mean()
    for cluster in range(3):
        drawn = model.generate(50, cluster=cluster)
        assert np.mean(model.predict_clusters(drawn) == cluster) > 0.95
        assert np.linalg.norm(drawn[:, None] - data.x, axis=2).min(1).mean() < 0.5 * spread
    assert model.embed(data.x).shape == (len(data), 2)


@pytest.mark.parametrize(("prior", "weight"), [("static", 0.0), ("dynamic", 1.0)])
def test_what_the_gan_trains(prior, weight, data):
    """The mixture only where it is dynamic, the classifier only where its loss counts."""
    trainer = trainer_of(data, prior=prior, cluster_weight=weight)
    model, stage = trainer.model, trainer.stages[0]
    parts = {"prior": model.prior, "classifier": model.encoder, "generator": model.decoder, "discriminator": model.discriminator}
    before = {name: part.get_weights() for name, part in parts.items()}
    stage.train_step(tf.constant(data.x[:32]))
    changed = {name for name, part in parts.items() if any((a != b).any() for a, b in zip(part.get_weights(), before[name], strict=True))}
    assert changed == {"generator", "discriminator", *(["prior", "classifier"] if weight else [])}


def test_what_cannot_be_is_one_sentence(data):
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        trainer_of(data, generator_output="sigmoid")
    for name, what in (("epochs", "generator"), ("classifier_epochs", "classifier")):
        with pytest.raises(ValueError, match=f"{name} is 0, so there is no {what}"):
            RunConfig.of("gm_gan", {name: 0})
    with pytest.raises(ValueError, match="cannot give examples back"):
        trainer_of(data).model.reconstruct(data.x)


def test_a_finished_run_counts_as_done_however_short_the_classifiers_stage_is(data, tmp_path):
    config = RunConfig.of("gm_gan", {**OPTIONS, "epochs": 3, "classifier_epochs": 1})
    trainer = start_run(config, Splits(data, data, ""), str(tmp_path / "run"))
    trainer.train()
    assert finish_run(trainer, trainer.config, Splits(data, data, ""))["epoch"] == 3
    assert outcome(Job("a", config.train.seed, config, tmp_path / "run")).status == "done"


def test_a_run_of_no_epochs_answers_as_the_one_that_it_begins_with(data, tmp_path):
    splits, options = Splits(data, data, ""), {**OPTIONS, "epochs": 1, "classifier_epochs": 1}
    first = start_run(RunConfig.of("gm_gan", options), splits, str(tmp_path / "run"))
    first.train()
    config = RunConfig.of("gm_gan", {**options, "epochs": 0, "init_from": str(tmp_path / "run"), "seed": 9})
    model = build_model(config, splits)
    assert isinstance(model, GMGAN)
    assert Trainer(model, config, data).train() is StopReason.FINISHED
    np.testing.assert_array_equal(model.predict_proba(data.x), load_run(tmp_path / "run")[0].predict_proba(data.x))
    np.testing.assert_array_equal(model.generate(5, seed=1), first.model.generate(5, seed=1))
