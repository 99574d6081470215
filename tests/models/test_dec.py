"""DEC and IDEC against NumPy in float64 and the paper's own gradients; what every method does is in contract.py."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.cluster import KMeans

from nvisa_tf import Dataset, Monitor, RunConfig, Trainer, clustering_accuracy
from nvisa_tf.clustering.mixtures import FITS
from nvisa_tf.data import Splits
from nvisa_tf.layers.augmentation import Augmentation, augment
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.dec import DEC, log_assignment, target_distribution
from nvisa_tf.models.stage import derived_seed
from nvisa_tf.runs.workflows import build_model, resume_run, start_run

OPTIONS = {
    "n_clusters": 3,
    "latent_dim": 2,
    "encoder_units": (16,),
    "decoder_units": (16,),
    "pretrain_epochs": 60,
    "epochs": 40,
    "batch_size": 32,
    "target_steps": 7,
    "checkpoint_minutes": 0.0,
    "seed": 3,
}
N, K, D = 40, 3, 2


@pytest.fixture(scope="module")
def codes():
    generator = np.random.default_rng(0)
    return generator.normal(size=(N, D)), generator.normal(size=(K, D))


def assignment(z, centres):
    kernel = 1 / (1 + ((z[:, None] - centres) ** 2).sum(-1))
    return kernel / kernel.sum(1, keepdims=True)


def test_assignments_and_targets_are_those_of_the_paper(codes):
    q = assignment(*codes)
    np.testing.assert_allclose(np.exp(log_assignment(*map(tf.constant, codes))), q, rtol=1e-12)
    p = target_distribution(q)
    frequency = [sum(q[i, j] for i in range(N)) for j in range(K)]
    for i in range(N):
        weight = [q[i, j] ** 2 / frequency[j] for j in range(K)]
        np.testing.assert_allclose(p[i], np.array(weight) / sum(weight), rtol=1e-12)


def test_the_gradient_is_that_of_the_paper(codes):
    z, centres = codes
    q = assignment(z, centres)
    p = target_distribution(q)
    z, centres = tf.constant(z), tf.constant(centres)
    with tf.GradientTape() as tape:
        tape.watch([z, centres])
        loss = tf.reduce_sum(p * (np.log(p) - log_assignment(z, centres)))
    found = tape.gradient(loss, [z, centres])
    difference = z.numpy()[:, None] - centres.numpy()
    # Equations 4 and 5 with one degree of freedom.
    pull = 2 * ((p - q) / (1 + (difference**2).sum(-1)))[..., None] * difference
    np.testing.assert_allclose(found[0], pull.sum(1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[1], -pull.sum(0), rtol=1e-9, atol=1e-12)


def made(method, data, **options):
    config = RunConfig.of(method, {**OPTIONS, **options})
    model = build_model(config, Splits(data, data, ""))
    return Trainer(model, config, data)


@pytest.fixture(scope="module")
def data(make_blobs):
    return Dataset("blobs", *make_blobs(60))


def test_it_begins_with_k_means_of_the_codes(data):
    trainer = made("dec", data, epochs=0)
    trainer.train()
    model, codes = trainer.model, trainer.model.embed(data.x)
    reference = KMeans(3, n_init=FITS, random_state=derived_seed(3, 3)).fit(codes.astype(np.float64))
    np.testing.assert_allclose(np.asarray(model.prior.loc), reference.cluster_centers_, atol=1e-4)
    np.testing.assert_allclose(model.predict_proba(data.x), assignment(codes, np.asarray(model.prior.loc)), atol=1e-5)
    np.testing.assert_array_equal(model.predict_clusters(data.x), reference.predict(codes.astype(np.float64)))
    assert trainer.stages[-1].report["accuracy"] == clustering_accuracy(data.y, reference.labels_)


@pytest.mark.parametrize("method", ["dec", "idec"])
def test_the_loss_is_the_divergence_and_the_error(method, data):
    trainer = made(method, data, epochs=0, **({"clustering_weight": 0.3} if method == "idec" else {}))
    trainer.train()
    model, stage = trainer.model, trainer.stages[-1]
    q = assignment(model.embed(data.x).astype(np.float64), np.asarray(model.prior.loc, np.float64))
    p = target_distribution(q)
    np.testing.assert_allclose(stage.targets.numpy(), p, atol=1e-5)
    batch = np.arange(0, len(data), 3)  # whose own frequencies differ from those of all
    divergence = np.mean(np.sum(p * np.log(p / q), 1)[batch])
    expected = divergence
    if method == "idec":
        flat = data.x.reshape(len(data), -1)
        shown = model.decoder(model.embed(data.x))[0].numpy()
        scaled = model.preprocess(tf.constant(flat, tf.float32)).numpy()
        expected = np.mean((shown - scaled)[batch] ** 2) + 0.3 * divergence
    found = stage.loss_of(tf.constant(data.x[batch], tf.float32), tf.constant(p[batch], tf.float32))
    assert float(found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("method", ["dec", "idec"])
def test_changed_images_are_brought_to_the_targets_of_the_unchanged(method, bar_images, monkeypatch):
    data = Dataset("bars", *bar_images)
    trainer = made(method, data, augment=True, pretrain_epochs=1, epochs=0)
    trainer.train()
    stage, batch, seen = trainer.stages[-1], np.array([5, 0, 9]), []
    np.testing.assert_allclose(stage.targets, target_distribution(trainer.model.predict_proba(data.x)), atol=1e-5)
    loss_of, changes = stage.loss_of, Augmentation.from_config(trainer.model.config)
    changed = augment(data.x[batch], stage.step_seed(), changes, fused=True)
    monkeypatch.setattr(stage, "loss_of", lambda x, p: seen.append((x, p)) or loss_of(x, p))
    stage.train_step(tf.constant(batch))
    [(x, p)] = seen
    np.testing.assert_array_equal(x, changed)
    assert np.abs(x - data.x[batch]).max(axis=(1, 2)).min() > 0.1 * np.ptp(data.x)
    np.testing.assert_array_equal(p, stage.targets.numpy()[batch])


class Ends(Monitor):
    def __init__(self):
        self.ends, self.said = [], []

    def on_initialization(self, message):
        self.said.append(message)

    def on_stage_end(self, message):
        self.ends.append(message)


def test_clusters_get_sharper_and_it_ends_where_they_have_settled(data):
    trainer, told = made("dec", data, learning_rate=0.01), Ends()
    trainer.monitors.append(told)
    untrained = made("dec", data, epochs=0)
    for one in (trainer, untrained):
        one.train()
    stage = trainer.stages[-1]
    assert int(stage.step.numpy()) == stage.total_steps < stage.most_steps
    assert stage.total_steps % 7 == 0
    assert "of the clusters changed" in stage.why_ended()
    assert told.ends == [f"dec: {stage.why_ended()}"]
    accuracy = 100 * stage.report["accuracy"]  # of k-means, which is not told again as if it were that of the end
    assert [said for said in told.said if "accuracy" in said] == [f"dec: accuracy before training {accuracy:.2f}%"]
    sharp, soft = (one.model.predict_proba(data.x).max(1).mean() for one in (trainer, untrained))
    assert sharp > soft + 0.01
    assert clustering_accuracy(data.y, trainer.model.predict_clusters(data.x)) > 0.97


def test_without_a_tolerance_all_epochs_are_trained(data):
    trainer = made("dec", data, tolerance=0.0, epochs=3)
    trainer.train()
    stage = trainer.stages[-1]
    assert int(stage.step.numpy()) == stage.most_steps == 3 * (len(data) // 32)
    assert stage.why_ended() == ""


class Crash(Exception):
    pass


class CrashAtStep(Monitor):
    def __init__(self, step):
        self.step = step

    def on_progress(self, progress):
        if progress.stage in ("dec", "idec") and progress.step >= self.step:
            raise Crash


@pytest.mark.parametrize(("method", "step"), [("dec", 12), pytest.param("dec", 14, marks=pytest.mark.slow), ("idec", 10)])
def test_killed_between_two_targets_and_resumed_it_ends_the_same(method, step, data, tmp_path):
    splits, config = Splits(data, data, ""), RunConfig.of(method, {**OPTIONS, "tolerance": 0.0, "epochs": 6, "steps_per_call": 5})
    whole = build_model(config, splits)
    Trainer(whole, config, data).train()
    trainer = start_run(config, splits, str(tmp_path / "run"), monitors=[CrashAtStep(step)])
    with pytest.raises(Crash):
        trainer.train()
    again = resume_run(trainer.run, trainer.config, splits, [])
    assert again.stage.name == method
    assert 7 <= int(again.stage.step.numpy()) <= step
    again.train()
    for a, b in zip(again.model.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_run_goes_on_from_the_centres_that_it_is_given(data):
    first = made("dec", data, epochs=3)
    first.train()
    config = RunConfig.of("dec", {**OPTIONS, "pretrain_epochs": 0, "init_from": "somewhere"})
    model = DEC(first.model.config, seed=9)
    model.take_weights(first.model, "init_from: somewhere")
    model.stages(TrainingData(data, data), config)[-1].begin()
    for mine, its in zip(model.variables, first.model.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), its.numpy())


def test_what_it_cannot_do_is_said(data):
    model = made("dec", data).model
    for call in (lambda: model.reconstruct(data.x), lambda: model.generate(3), lambda: model.sample_prior(3)):
        with pytest.raises(ValueError, match="cannot"):
            call()
    with pytest.raises(ValueError, match="pretrain_epochs is 0"):
        RunConfig.of("dec", {**OPTIONS, "pretrain_epochs": 0})
