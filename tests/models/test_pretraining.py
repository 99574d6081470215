"""The contrastive network and the autoencoder: their losses against NumPy, and an initialization from both through the trainer."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from sklearn.cluster import KMeans

from nvisa_tf import NVISA, Dataset, Monitor, NVISAConfig, RunConfig, RunDirectory, StopReason, Trainer, clustering_accuracy, input_scaling
from nvisa_tf.data import Splits
from nvisa_tf.layers.augmentation import Augmentation, augment
from nvisa_tf.models import pretraining
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.nvisa import initialization
from nvisa_tf.models.nvisa.initialization import initialization_stages
from nvisa_tf.models.pretraining import AutoencoderStage, ContrastiveStage
from nvisa_tf.runs.workflows import start_run

CONFIG = NVISAConfig(input_shape=(8, 8), n_clusters=2, latent_dim=2, encoder_units=(32,), posterior_units=16, decoder_units=(16,))
RUN = RunConfig().replace(
    {
        "init": "contrastive", "init_epochs": 100, "augment_shift": 0.5, "augment_brightness": 3.0, "batch_size": 400, "n_samples": 3,
        "eval_samples": 5, "epochs": 0,
    }
)  # fmt: skip
STAGE = {"batch_size": 6, "epochs": 10, "shuffle_seed": 0, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def data():
    """Upright and level bars, of any place and of a brightness that differs much more than bars do."""
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 200)
    x = rng.uniform(0, 0.02, (400, 8, 8))
    for i, (image, level) in enumerate(zip(x, y, strict=True)):
        at = rng.integers(1, 6)
        band = np.s_[at : at + 2, :] if level else np.s_[:, at : at + 2]
        image[band] += 10 ** rng.uniform(-1, 0)
        x[i] = image
    return Dataset("bars", x.astype(np.float32), y)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(initialization, "LEAST_STEPS", 100)


@pytest.fixture
def augmented(monkeypatch):
    """What the stages make of images: the changed ones, and how far they were to be changed."""
    seen = []
    monkeypatch.setattr(pretraining, "augment", lambda x, seed, how, **_: seen.append((augment(x, seed, how), how)) or seen[-1][0])
    return seen


def model_of(data):
    model = NVISA(CONFIG, seed=0)
    model.set_preprocessing(*input_scaling(data))
    return model


def stages_of(model, data, config=RUN):
    return initialization_stages(model, TrainingData(data, data), config.model, config.train)


def assert_same_weights(a, b):
    for x, y in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_the_loss_is_nt_xent_of_two_changed_images_each(data, augmented):
    network = ContrastiveStage(model_of(data), data, seed=5, augmentation=Augmentation(brightness=1.0), keep={}, **STAGE)
    network.step.assign(3)
    before = [v.numpy() for v in network.weights]
    x = tf.constant(data.x[:6])
    network.train_step(x)
    loss = float(network.loss.result())
    for variable, value in zip(network.weights, before, strict=True):
        assert not np.array_equal(variable, value) or "bias" in variable.path
        variable.assign(value)  # the weights of before the step
    views = [view for view, _ in augmented]
    first, second = (network.encode(view).numpy().astype(float) for view in views)
    assert np.abs(views[0] - views[1]).max() > 0.1
    assert {how for _, how in augmented} == {Augmentation(brightness=1.0)}
    network.train_step(x)  # the next step draws anew
    assert int(network.step) == 5
    assert all(np.abs(a - b).max() > 0.1 for a in views for b, _ in augmented[2:])
    z = np.concatenate([first, second])
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)
    terms = []
    for i in range(12):
        other = [np.exp(z[i] @ z[k] / 0.5) for k in range(12) if k != i]
        terms.append(-np.log(np.exp(z[i] @ z[(i + 6) % 12] / 0.5) / np.sum(other)))
    assert loss == pytest.approx(np.mean(terms), rel=1e-4)


@pytest.mark.parametrize("bernoulli", [False, True])
def test_the_autoencoders_loss_is_that_of_giving_the_changed_image_back(data, augmented, bernoulli):
    model = model_of(data)
    autoencoder = AutoencoderStage(model, data, seed=5, augmentation=Augmentation(brightness=1.0), bernoulli=bernoulli, **STAGE)
    x = tf.constant(data.x[:6])
    plain = AutoencoderStage(model, data, seed=5, bernoulli=bernoulli, head=autoencoder.head, **STAGE)
    before = [v.numpy() for v in autoencoder.weights]
    for stage in (autoencoder, plain):
        stage.train_step(x)
        found = float(stage.loss.result())
        for variable, value in zip(stage.weights, before, strict=True):
            assert not np.array_equal(variable, value)
            variable.assign(value)
        view = augmented[0][0] if stage is autoencoder else x
        target = np.asarray(model.preprocess(view), float)
        mean = np.asarray(model.decoder(autoencoder.encode(view))[0], float)
        each = np.logaddexp(0, mean) - target * mean if bernoulli else 0.5 * (target - mean) ** 2
        assert found == pytest.approx(each.sum(1).mean(), rel=1e-5)
    assert len(augmented) == 1
    assert augmented[0][1] == Augmentation(brightness=0.0)
    assert np.abs(augmented[0][0] - x).max() > 0.1


def test_a_step_that_is_not_finite_changes_no_weight_and_is_counted(data):
    autoencoder = AutoencoderStage(model_of(data), data, seed=5, **STAGE)
    step = tf.function(autoencoder.train_step)
    good = data.x[:6]
    bad = good.copy()
    bad[2, 3, 3] = np.nan
    step(good)
    variables = [*autoencoder.weights, *autoencoder.optimizer.variables, *autoencoder.loss.variables]
    before = [v.numpy() for v in variables]
    step(bad)
    step(bad)
    for a, b in zip(before, variables, strict=True):
        np.testing.assert_array_equal(a, b.numpy())
    assert (int(autoencoder.step), autoencoder.nonfinite_steps()) == (3, (2, 2))
    step(good)
    assert (int(autoencoder.step), autoencoder.nonfinite_steps()) == (4, (2, 0))
    assert autoencoder.values()["nonfinite_steps"] == 2
    assert any((a != b.numpy()).any() for a, b in zip(before, variables, strict=True))


def test_the_learning_rate_falls_to_0_along_a_cosine(data, train_stage):
    autoencoder = AutoencoderStage(model_of(data), data, seed=5, **{**STAGE, "batch_size": 200, "least_steps": 31})
    assert autoencoder.total_steps == 32  # 16 epochs of 2, more than 10
    for step in (0, 8, 16):
        autoencoder.optimizer.iterations.assign(step)
        assert autoencoder.values()["learning_rate"] == pytest.approx(1e-3 * (1 + np.cos(np.pi * step / 32)) / 2)
    autoencoder.optimizer.iterations.assign(0)
    train_stage(autoencoder)
    assert int(autoencoder.step) == 32
    assert autoencoder.values()["learning_rate"] == pytest.approx(0, abs=1e-9)


def test_what_is_changed_alike_goes_together_however_bright(data, train_stage):
    model = model_of(data)
    codes = train_stage(stages_of(model, data)[1]).codes(data)
    inner = codes @ codes.T
    same = data.y[:, None] == data.y[None]
    assert inner[same].mean() > inner[~same].mean() + 0.3
    assert_same_weights(model, model_of(data))


def test_the_initialization_has_clusters_of_the_one_and_codes_of_the_other(data, train_stage):
    model = model_of(data)
    trainer = Trainer(model, RUN.replace({"augment": True}), data)
    assert [stage.name for stage in trainer.stages] == ["autoencoder", "contrastive", "distillation", "nvisa"]
    assert trainer.train() is StopReason.FINISHED
    report = trainer.stages[2].report
    assert report["method"] == "contrastive"
    assert report["accuracy"] > 0.95
    assert report["distilled_accuracy"] > 0.9
    clusters = model.predict_clusters(data.x)
    assert np.bincount(clusters, minlength=2).min() > 150
    z = model.embed(data.x)
    for k in range(2):
        np.testing.assert_allclose(model.prior.loc.numpy()[k], z[clusters == k].mean(0), atol=0.5)
    # Brightness decides among the autoencoder's codes alone.
    codes = train_stage(stages_of(model_of(data), data)[0]).codes(data)
    assert clustering_accuracy(data.y, KMeans(2, random_state=0).fit_predict(codes)) < 0.8


@pytest.mark.parametrize(("init", "is_unequal"), [("contrastive_communities", True), ("contrastive", False)])
def test_clusters_of_any_size_are_found_and_the_prior_keeps_their_sizes(data, init, is_unequal):
    level = np.flatnonzero(data.y == 1)
    rows = np.sort(np.concatenate([np.flatnonzero(data.y == 0), level[:40]]))  # 200 upright bars, 40 level ones
    few = Dataset("bars", data.x[rows], data.y[rows])
    model = model_of(few)
    trainer = Trainer(model, RUN.replace({"augment": True, "init": init}), few)
    assert trainer.train() is StopReason.FINISHED
    report = trainer.stages[2].report
    assert report["method"] == init
    weights = np.sort(np.exp(model.prior.logits.numpy()) / np.exp(model.prior.logits.numpy()).sum())
    if is_unequal:
        assert report["accuracy"] > 0.95
        np.testing.assert_allclose(weights, [40 / 240, 200 / 240], atol=0.05)
    else:  # two clusters of equal size, so that a third of the upright bars is in the wrong one
        assert report["accuracy"] < 0.8
        np.testing.assert_allclose(weights, 0.5)


def test_an_autoencoder_is_not_asked_for_values_brighter_than_the_brightest(data, augmented):
    autoencoder, contrastive, _ = stages_of(model_of(data), data, RUN.replace({"augment": True}))
    autoencoder.train_step(tf.constant(data.x[:6]))
    contrastive.train_step(tf.constant(data.x[:6]))
    brightest = Augmentation(shift=0.5, brightness=3.0)
    assert [how for _, how in augmented] == [brightest._replace(brightness=0.0), brightest, brightest]


class StopsIn(Monitor):
    """Asks for a stop when a stage says how it goes for the first time."""

    def __init__(self, name):
        self.name, self.trainer, self.rows = name, None, []

    def on_stage(self, row, stage):
        self.rows.append(row)
        if row["stage"] == self.name:
            self.trainer.request_stop()


def test_a_stop_ends_the_contrastive_network_too_and_it_goes_on_from_there(data, tmp_path):
    config = RUN.replace({"init_epochs": 7})
    straight = Trainer(model_of(data), config, data)
    straight.train()
    run, log = RunDirectory.create(tmp_path / "run", config, {}), StopsIn("contrastive")
    first = log.trainer = Trainer(model_of(data), config, data, run=run, monitors=[log])
    assert first.train() is StopReason.REQUESTED
    assert not first.initialized
    row = log.rows[-1]
    assert (row["stage"], row["epoch"], row["step"]) == ("contrastive", 20, 20)
    assert first.stage.total_steps == 100  # more than 7 epochs, as one is a single step of the 100 that it takes at least
    second = Trainer(model_of(data), config, data, run=run)
    assert second.resume() == 20
    assert second.stage.name == "contrastive"
    assert second.train() is StopReason.FINISHED
    assert_same_weights(straight.model, second.model)
    assert straight.stages[2].report == second.stages[2].report
    assert [(row["stage"], row["step"]) for row in run.stages()] == [
        (name, str(20 * i)) for name in ("autoencoder", "contrastive", "distillation") for i in range(1, 6)
    ]


def test_vectors_are_refused_before_anything_is_written(blobs, tmp_path):
    vectors = Dataset("blobs", *blobs)
    config = RunConfig().replace({"init": "contrastive", "n_clusters": 3})
    with pytest.raises(ValueError, match="vectors, and images are what init contrastive would change"):
        start_run(config, Splits(vectors, vectors, "blobs"), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    model = NVISA(dataclasses.replace(CONFIG, input_shape=(6,)))
    with pytest.raises(ValueError, match="vectors, and images are what augment and init contrastive would change"):
        model.check_data(vectors, RUN.replace({"augment": True}).model)
    with pytest.raises(ValueError, match="vectors, and images are what init contrastive would change"):
        Trainer(model, config, vectors)


def test_codes_that_are_not_finite_are_refused(data, monkeypatch):
    monkeypatch.setattr(ContrastiveStage, "finish", lambda self: self.weights[-1].assign(np.full(64, np.nan)))
    with pytest.raises(ValueError, match="contrastive network's codes are not finite; choose another init"):
        Trainer(model_of(data), RUN.replace({"init_epochs": 1}), data).train()
