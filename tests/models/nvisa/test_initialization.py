"""The initialization from an autoencoder: each part against NumPy or SciPy, the whole through the trainer."""

import dataclasses
import sys

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax
from scipy.stats import norm

from nvisa_tf import NVISA, Dataset, Monitor, RunConfig, RunDirectory, StopReason, Trainer, input_scaling
from nvisa_tf.clustering.mixtures import fit_mixture
from nvisa_tf.data import Splits
from nvisa_tf.layers.augmentation import Augmentation, augment
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.nvisa import initialization
from nvisa_tf.models.nvisa.initialization import DistillationStage, give_code, initialization_stages, set_scale
from nvisa_tf.models.pretraining import AutoencoderStage, rescale
from nvisa_tf.models.stage import derived_seed
from nvisa_tf.runs.workflows import finish_run, start_run

CONFIG = RunConfig().replace(
    {
        "init": "ae_gmm", "init_epochs": 100, "epochs": 2, "batch_size": 50, "n_samples": 3, "eps_start": 0.25, "eval_epochs": 1.0,
        "eval_samples": 5, "steps_per_call": 4,
    }
)  # fmt: skip


def autoencoder_of(model, data, seed=3):
    return AutoencoderStage(model, data, seed=seed, batch_size=50, epochs=1, shuffle_seed=0, learning_rate=1e-3)


@pytest.fixture
def data(blobs):
    return Dataset("blobs", *blobs)


@pytest.fixture
def autoencoder(tiny_config, data, rng):
    """With weights whose codes are far from 0 and from a standard deviation of 1."""
    found = autoencoder_of(NVISA(tiny_config), data)
    for weight in found.weights:
        weight.assign(weight + 0.5 * rng.normal(size=weight.shape))
    found.head.bias.assign([5.0, -3.0])
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"decoder_units": ()},
        {"decoder_units": (), "decoder_scale": "per_dimension"},
        {"input_shape": (2, 3), "decoder_units": (), "decoder_filters": (4,)},
    ],
    ids=str,
)
def test_rescaling_changes_the_codes_and_nothing_behind_them(tiny_config, data, changes):
    model = NVISA(dataclasses.replace(tiny_config, **changes))
    autoencoder = autoencoder_of(model, data)
    autoencoder.head.bias.assign([5.0, -3.0])
    x = tf.constant(data.x)
    before = autoencoder.encode(x)
    outputs = model.decoder(before)
    after = rescale(model.decoder, autoencoder.head, before.numpy())
    np.testing.assert_allclose(after.mean(0), 0, atol=1e-5)
    assert np.mean(after.astype(np.float64) ** 2) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(autoencoder.encode(x), after, atol=1e-4)
    for a, b in zip(outputs, model.decoder(tf.constant(after)), strict=True):
        if b is not None:
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4)


def test_codes_that_are_all_the_same_are_refused(autoencoder):
    with pytest.raises(ValueError, match="standard deviation of 0; choose init random"):
        rescale(autoencoder.model.decoder, autoencoder.head, np.ones((5, 2), np.float32))
    with pytest.raises(ValueError, match="standard deviation of nan"):
        rescale(autoencoder.model.decoder, autoencoder.head, np.full((5, 2), np.nan, np.float32))


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
def test_posterior_mean_is_the_code_for_every_cluster(tiny_config, data, posterior):
    model = NVISA(dataclasses.replace(tiny_config, posterior=posterior))
    autoencoder = autoencoder_of(model, data)
    autoencoder.head.bias.assign([1.0, -1.0])
    give_code(model.latent_head, autoencoder.head)
    model.eps_z.assign(0.25)
    h = model.encoder(tf.constant(data.x))
    code = h.numpy() @ autoencoder.head.kernel.numpy() + autoencoder.head.bias.numpy()
    posterior_z = model.q_z(h, tf.broadcast_to(tf.range(3)[:, None], [3, 300]))
    np.testing.assert_allclose(posterior_z.mean(), np.broadcast_to(code, (3, 300, 2)), atol=1e-4)
    np.testing.assert_allclose(posterior_z.stddev(), initialization.CODE_SD + 0.25, rtol=1e-5)


def test_a_narrow_posterior_cannot_hold_the_code(tiny_config, data):
    model = NVISA(dataclasses.replace(tiny_config, posterior_units=3))
    with pytest.raises(ValueError, match="at least twice latent_dim, 4"):
        give_code(model.latent_head, autoencoder_of(model, data).head)


@pytest.mark.parametrize(("learned", "clusters"), [(False, "matched"), (False, "linked"), (True, "matched")])
def test_prior_is_the_mixture_and_uniform_unless_sizes_are_learned_or_were_found(tiny_config, data, learned, clusters):
    options = RunConfig().replace({**vars(tiny_config), "learn_prior_weights": learned, "init": "ae_kmeans"})
    model, data = NVISA(options.model), data.take(np.arange(len(data)) < 230)  # clusters of different sizes
    stages = initialization_stages(model, TrainingData(data, data), options.model, options.train)
    stages[0].report["clusters"] = clusters
    stages[-1].begin()
    found = fit_mixture(stages[-1].codes.numpy(), 3, "ae_kmeans", derived_seed(0, 3))
    z = np.random.default_rng(0).normal(size=(20, 2))
    each = norm(found.means, np.sqrt(found.variances)).pdf(z[:, None]).prod(2)
    weights = found.weights if learned or clusters == "linked" else np.full(3, 1 / 3)
    assert np.ptp(found.weights) > 0.01
    np.testing.assert_allclose(model.prior.log_prob(z.astype(np.float32)), np.log(each @ weights), rtol=1e-3)


@pytest.mark.parametrize("scale", ["network", "per_dimension"])
def test_sigma_starts_at_the_error_where_eps_lets_it(tiny_config, data, scale, rng):
    model = NVISA(dataclasses.replace(tiny_config, decoder_scale=scale))
    codes = rng.normal(size=(300, 2)).astype(np.float32)
    eps = 4.0
    model.eps_x.assign(eps)
    set_scale(model, data, codes)
    likelihood = model.p_x(tf.constant(codes))
    error = np.sqrt(np.mean((data.x - likelihood.mean().numpy()) ** 2, 0))
    assert (error > 1.1 * eps).any()
    assert (error < 1.1 * eps).any()
    np.testing.assert_allclose(likelihood.stddev(), np.tile(np.maximum(error, 1.1 * eps), (300, 1)), rtol=1e-4)


def test_distillation_begins_with_the_mixture_of_the_rescaled_codes(tiny_config, data):
    model = NVISA(tiny_config, seed=0)
    model.set_preprocessing(*input_scaling(data))
    autoencoder, stage = initialization_stages(model, TrainingData(data, data), CONFIG.model, CONFIG.train)
    before = autoencoder.codes(data)
    stage.begin()
    codes = autoencoder.codes(data)
    np.testing.assert_allclose(codes, (before - before.mean(0)) / np.sqrt(before.var(0).mean()), atol=1e-4)
    np.testing.assert_allclose(stage.codes, codes, atol=1e-4)
    np.testing.assert_allclose(model.embed(data.x), codes, atol=1e-4)
    mixture = fit_mixture(stage.codes.numpy(), 3, "ae_gmm", derived_seed(0, 3))
    np.testing.assert_allclose(stage.responsibilities, mixture.responsibilities, atol=1e-6)
    np.testing.assert_allclose(model.prior.loc, mixture.means, atol=1e-5)
    np.testing.assert_allclose(np.logaddexp(0, model.prior.raw_scale), np.sqrt(mixture.variances), rtol=1e-4)
    assert (float(model.eps_x), float(model.eps_z)) == (0.25, 0.25)
    assert stage.report["log_likelihood"] == pytest.approx(mixture.log_likelihood)
    assert stage.total_steps == 504  # 84 epochs of 6 steps, more than 10, as there are 500 steps at least


@pytest.mark.parametrize("changed", [False, True])
def test_distillation_minimizes_the_cross_entropy_and_the_distance_from_the_code(tiny_config, bar_images, monkeypatch, changed):
    bars, seen = Dataset("bars", *bar_images), []
    model = NVISA(dataclasses.replace(tiny_config, input_shape=(6, 6)), seed=0)
    model.set_preprocessing(*input_scaling(bars))
    monkeypatch.setattr(initialization, "augment", lambda x, seed, how, **_: seen.append((augment(x, seed, how), how)) or seen[-1][0])
    config = CONFIG.replace({"augment": changed, "augment_shift": 0.3})
    stage = initialization_stages(model, TrainingData(bars, bars), config.model, config.train)[-1]
    stage.begin()
    before = [v.numpy() for v in stage.weights]
    rows = np.array([7, 107, 207, 3, 290])
    stage.train_step(tf.constant(rows, tf.int32))
    loss = float(stage.loss.result())
    assert int(stage.step) == 1
    moved = 0
    for variable, value in zip(stage.weights, before, strict=True):
        moved += not np.array_equal(variable, value)
        variable.assign(value)
    assert moved > 6
    h = model.encoder(model.preprocess(bars.x[rows]))
    target = stage.responsibilities.numpy()[rows]
    expected = -(target * log_softmax(np.asarray(model.cluster_head(h), float), 1)).sum(1)
    mean = model.q_z(h, tf.constant(target.argmax(1))).mean().numpy()
    expected += 0.5 * ((mean - stage.codes.numpy()[rows]) ** 2).sum(1)
    assert len(seen) == changed
    for images, how in seen:
        assert how == Augmentation(shift=0.3)
        assert np.abs(images - bars.x[rows]).max() > 1
        logits = np.asarray(model.cluster_head(model.encoder(model.preprocess(images))), float)
        expected -= (target * log_softmax(logits, 1)).sum(1)
    assert loss == pytest.approx(expected.mean(), rel=1e-4)


class Log(Monitor):
    """Notes what it is told, and asks for a stop after the first call of a stage's steps."""

    def __init__(self, stop_in=""):
        self.said, self.rows, self.stages, self.stop_in, self.trainer = [], [], [], stop_in, None

    def on_initialization(self, message):
        self.said.append(message)

    def on_stage(self, row, stage):
        self.stages.append((row["stage"], row["epoch"]))

    def on_progress(self, progress):
        if progress.stage == self.stop_in:
            self.trainer.request_stop()

    def on_evaluation(self, row, model, stage):
        self.rows.append(row)


def make_trainer(tiny_config, data, config=CONFIG, run=None, log=None):
    model = NVISA(tiny_config, seed=0)
    model.set_preprocessing(*input_scaling(data))
    log = log or Log()
    log.trainer = Trainer(model, config, data, run=run, monitors=[log])
    return log.trainer


def assert_same_weights(a, b):
    for x, y in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


def without_minutes(rows):
    return [{name: value for name, value in row.items() if name != "minutes"} for row in rows]


def test_training_begins_with_the_blobs_found_and_nothing_is_done_twice(tiny_config, data, tmp_path, monkeypatch):
    log, runs = Log(), [RunDirectory.create(tmp_path / name, RunConfig(), {}) for name in ("straight", "stopped")]
    straight = make_trainer(tiny_config, data, run=runs[0], log=log)
    assert straight.train() is StopReason.FINISHED
    assert log.rows[0]["accuracy"] > 0.97  # after one epoch; from random weights it takes a hundred
    assert [epoch for name, epoch in log.stages if name == "autoencoder"] == [20, 40, 60, 80, 100]
    assert [epoch for name, epoch in log.stages if name == "distillation"] == [16, 32, 48, 64, 80, 84]
    assert "ae_gmm: accuracy" in log.said[-2]
    assert "ae_gmm: distilled accuracy" in log.said[-1]
    report = finish_run(straight, CONFIG, Splits(data, data, "blobs"))
    assert report["initialization"]["accuracy"] > 0.97
    assert report["initialization"]["distilled_accuracy"] > 0.97
    assert report["initialization"]["method"] == "ae_gmm"
    assert report["initialization"]["epochs"] == straight.stages[0].total_steps / 6
    assert runs[0].report() == report

    # Stopped in the autoencoder.
    first = make_trainer(tiny_config, data, CONFIG.replace({"max_minutes": 1e-9}), runs[1])
    assert first.train() is StopReason.TIME_LIMIT
    assert not first.initialized
    assert [path.name for path in runs[1].checkpoints.iterdir()] == ["autoencoder"]
    # In distillation, going on in the autoencoder.
    second = make_trainer(tiny_config, data, run=runs[1], log=Log("distillation"))
    assert second.resume() == 4
    assert second.stage.name == "autoencoder"
    assert second.train() is StopReason.REQUESTED
    assert not second.initialized
    assert [path.name for path in runs[1].checkpoints.iterdir()] == ["distillation"]
    # In NVISA's own training, with all that came before distillation not to be called.
    monkeypatch.setattr(AutoencoderStage, "train_step", None)
    monkeypatch.setattr(initialization, "fit_mixture", None)
    third = make_trainer(tiny_config, data, run=runs[1], log=Log("nvisa"))
    assert third.resume() == 4
    assert third.stage.name == "distillation"
    assert third.train() is StopReason.REQUESTED
    assert third.initialized
    # After it: it is not done again.
    monkeypatch.setattr(DistillationStage, "train_step", None)
    fourth = make_trainer(tiny_config, data, run=runs[1])
    assert fourth.resume() == 4
    assert fourth.stage.name == "nvisa"
    assert fourth.train() is StopReason.FINISHED
    assert_same_weights(straight.model, fourth.model)
    assert without_minutes([runs[0].init()]) == without_minutes([runs[1].init()])
    assert without_minutes(runs[0].stages()) == without_minutes(runs[1].stages())
    assert len(runs[0].stages()) == 11


def initialized(tiny_config, data, **options):
    trainer = make_trainer(tiny_config, data, CONFIG.replace({"init_epochs": 20, "epochs": 0, **options}))
    assert trainer.train() is StopReason.FINISHED
    return trainer.model, trainer.stages[-2].report


def test_labels_and_anything_but_the_seed_change_nothing(tiny_config, data, rng):
    model, report = initialized(tiny_config, data)
    other, other_report = initialized(tiny_config, dataclasses.replace(data, y=rng.permutation(data.y)))
    assert_same_weights(model, other)
    assert other_report["accuracy"] < report["accuracy"]
    other, report = initialized(tiny_config, dataclasses.replace(data, y=None), seed=1)
    assert "accuracy" not in report
    assert not np.array_equal(model.prior.loc.numpy(), other.prior.loc.numpy())


def test_an_initialization_that_lacks_its_package_is_refused_before_anything_is_written(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ValueError, match="umap-learn; install it"):
        start_run(RunConfig().replace({"init": "ae_umap", "n_clusters": 3}), Splits(data, data, "blobs"), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
