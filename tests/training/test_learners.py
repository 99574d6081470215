"""The contrastive network: its loss against NumPy, and a start from it through the trainer."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from sklearn.cluster import KMeans

from nvisa_tf import NVISA, Dataset, ModelConfig, RunConfig, TrainConfig, clustering_accuracy, input_scaling
from nvisa_tf.augmentation import Augmentation, augment
from nvisa_tf.data import Splits
from nvisa_tf.training import initialization, learners
from nvisa_tf.training.initialization import Course, contrast, initialize, pretrain
from nvisa_tf.training.learners import Autoencoder, ContrastiveNetwork
from nvisa_tf.workflows import start_run

RNG = np.random.default_rng(0)
CONFIG = ModelConfig(input_shape=(8, 8), n_clusters=2, latent_dim=2, encoder_units=(32,), posterior_units=16, decoder_units=(16,))
TRAINING = TrainConfig(
    init="contrastive", init_epochs=100, augment_shift=0.5, augment_brightness=3.0, batch_size=400, n_samples=3, eval_samples=5
)


@pytest.fixture(scope="module")
def data():
    """Upright and level bars, of any place and of a brightness that differs much more than bars do."""
    y = np.tile([0, 1], 200)
    x = RNG.uniform(0, 0.02, (400, 8, 8))
    for i, (image, level) in enumerate(zip(x, y, strict=True)):
        at = RNG.integers(1, 6)
        band = np.s_[at : at + 2, :] if level else np.s_[:, at : at + 2]
        image[band] += 10 ** RNG.uniform(-1, 0)
        x[i] = image
    return Dataset("bars", x.astype(np.float32), y)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(initialization, "LEAST_STEPS", 100)


def model_of(data):
    model = NVISA(CONFIG, seed=0)
    model.set_preprocessing(*input_scaling(data))
    return model


def test_the_loss_is_nt_xent_of_two_changed_images_each(data, monkeypatch):
    how = Augmentation(brightness=1.0)
    monkeypatch.setattr(learners, "augment", lambda x, seed, given: seen.append(augment(x, seed, given)) or seen[-1])
    seen = []
    network = ContrastiveNetwork(model_of(data), seed=5, total_steps=10, augmentation=how)
    network.step.assign(3)
    before = [v.numpy() for v in network.variables]
    codes = network.encode  # the weights of before the step
    x = tf.constant(data.x[:6])
    network.train_step(x)
    loss = float(network.loss.result())
    for variable, value in zip(network.variables, before, strict=True):
        assert not np.array_equal(variable, value) or "bias" in variable.path
        variable.assign(value)
    first, second = (codes(view).numpy().astype(float) for view in seen[:2])
    assert np.abs(seen[0] - seen[1]).max() > 0.1
    network.train_step(x)  # the next step draws anew
    assert all(np.abs(a - b).max() > 0.1 for a in seen[:2] for b in seen[2:])
    z = np.concatenate([first, second])
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)
    terms = []
    for i in range(12):
        other = [np.exp(z[i] @ z[k] / 0.5) for k in range(12) if k != i]
        terms.append(-np.log(np.exp(z[i] @ z[(i + 6) % 12] / 0.5) / np.sum(other)))
    assert loss == pytest.approx(np.mean(terms), rel=1e-4)


def test_what_is_changed_alike_goes_together_however_bright(data):
    model = model_of(data)
    network = contrast(model, data, Course(TRAINING))
    codes = network.codes(data)
    inner = codes @ codes.T
    same = data.y[:, None] == data.y[None]
    assert inner[same].mean() > inner[~same].mean() + 0.3
    for a, b in zip(model.weights, model_of(data).weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_the_start_has_clusters_of_the_one_and_codes_of_the_other(data):
    model = model_of(data)
    report = initialize(model, data, data, Course(dataclasses.replace(TRAINING, augment=True)))
    assert report["method"] == "contrastive"
    assert report["accuracy"] > 0.95
    assert report["start_accuracy"] > 0.9
    clusters = model.predict_clusters(data.x)
    assert np.bincount(clusters, minlength=2).min() > 150
    z = model.embed(data.x)
    for k in range(2):
        np.testing.assert_allclose(model.prior.loc.numpy()[k], z[clusters == k].mean(0), atol=0.5)
    # Brightness decides among the autoencoder's codes alone.
    codes = pretrain(model_of(data), data, Course(TRAINING)).codes(data)
    assert clustering_accuracy(data.y, KMeans(2, random_state=0).fit_predict(codes)) < 0.8


def test_an_autoencoder_is_not_asked_for_values_brighter_than_the_brightest(data, monkeypatch):
    asked = []
    monkeypatch.setattr(Autoencoder, "train_step", lambda self, x: asked.append(self._augmentation))
    course = Course(dataclasses.replace(TRAINING, augment=True), stopped=lambda: bool(asked))
    assert initialize(model_of(data), data, data, course) is None
    assert asked[0] == Augmentation(shift=0.5, brightness=0.0)


def test_a_stop_ends_the_contrastive_network_too(data):
    told = []
    course = Course(dataclasses.replace(TRAINING, init_epochs=7), told.append, lambda: told and told[-1].startswith("contrastive network"))
    assert initialize(model_of(data), data, data, course) is None
    assert "epoch 20 of 100" in told[-1]  # more than 7, as an epoch is a single step of the 100 that it takes at least


def test_vectors_are_refused_before_anything_is_written(blobs, tmp_path):
    vectors = Dataset("blobs", *blobs)
    config = RunConfig().replace({"init": "contrastive", "n_clusters": 3})
    with pytest.raises(ValueError, match="vectors, and images are what init contrastive would change"):
        start_run(config, Splits(vectors, vectors, "blobs"), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    model, course = NVISA(dataclasses.replace(CONFIG, input_shape=(6,))), Course(dataclasses.replace(TRAINING, augment=True))
    with pytest.raises(ValueError, match="vectors, and images are what augment and init contrastive would change"):
        initialize(model, vectors, vectors, course)


def test_codes_that_are_not_finite_are_refused(data, monkeypatch):
    monkeypatch.setattr(ContrastiveNetwork, "codes", lambda self, data: np.full((len(data), 64), np.nan, np.float32))
    with pytest.raises(ValueError, match="codes are not finite; start with another init"):
        initialize(model_of(data), data, data, Course(dataclasses.replace(TRAINING, init_epochs=1)))
