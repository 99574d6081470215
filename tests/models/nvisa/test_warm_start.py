"""Training that begins with another run's weights, and a run that is an initialization alone."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf import AEGMM, NVISA, Dataset, RunConfig, StopReason, load_run
from nvisa_tf.config.ae_gmm import AEGMMOptions
from nvisa_tf.data import Splits
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.models.nvisa import initialization
from nvisa_tf.runs.workflows import finish_run, resume_run, start_run

CONFIG = RunConfig().replace(
    {
        "encoder_units": (16,), "posterior_units": 16, "decoder_units": (16,), "n_clusters": 3, "latent_dim": 2, "n_samples": 5,
        "epochs": 2, "batch_size": 50, "eval_epochs": 2.0, "eps_start": 0.25, "learning_rate": 1e-3, "steps_per_call": 2,
        "eval_examples": 100, "init_epochs": 5,
    }
)  # fmt: skip


@pytest.fixture
def splits(blobs):
    data = Dataset("blobs", *blobs)
    return Splits(data, data, "all")


@pytest.fixture(scope="module")
def made(make_blobs, tmp_path_factory):
    """A run of an autoencoder's start and nothing after it, made once."""
    data = Dataset("blobs", *make_blobs(100))
    splits = Splits(data, data, "all")
    config = CONFIG.replace({"init": "ae_kmeans", "epochs": 0, "seed": 4})
    trainer = start_run(config, splits, str(tmp_path_factory.mktemp("made") / "source"))
    assert trainer.train() is StopReason.FINISHED
    finish_run(trainer, config, splits)
    return trainer.run.path


@pytest.fixture
def source(made, tmp_path):
    """A copy of it that a test may take apart."""
    shutil.copytree(made, tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture(scope="module", autouse=True)
def short_starts():
    """What is trained here is of no account."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initialization, "LEAST_STEPS", 60)
        yield


def outputs(model, x):
    """What every network gives: q(y|x), q(z|y, x) for every y, p(x|z), p(z|y)."""
    h = model.encoder(model.preprocess(x))
    parameters = model.prior.parameters()
    found = [model(x), parameters["loc"], parameters["raw_scale"]]
    for y in range(3):
        loc, raw_scale = model.latent_head(h, tf.one_hot(np.full(len(x), y), 3))
        found += [loc, raw_scale, *model.decoder(loc)]
    return found


def assert_same_outputs(model, other, x):
    for a, b in zip(outputs(model, x), outputs(other, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_run_of_no_epochs_is_the_start_and_goes_on_as_one_run(splits, source, tmp_path):
    report = RunDirectory.open(source).report()
    assert report["step"] == 0
    assert report["minutes"] > 0
    assert report["accuracy"] == pytest.approx(report["initialization"]["distilled_accuracy"])
    longer = RunDirectory.open(source).config().replace({"epochs": 2})
    whole = start_run(longer, splits, str(tmp_path / "whole"))
    later = resume_run(RunDirectory.open(source), longer, splits)
    for trainer in (whole, later):
        assert trainer.train() is StopReason.FINISHED
    for a, b in zip(whole.model.weights, later.model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_starts_from_anothers_averaged_weights_with_its_own_seed_and_schedule(splits, tmp_path):
    source = tmp_path / "source"
    config = CONFIG.replace({"seed": 4, "ema_momentum": 0.8, "learn_prior_weights": True, "learning_rate": 1e-2})
    trained = start_run(config, splits, str(source))
    assert trained.train() is StopReason.FINISHED
    finish_run(trained, config, splits)
    other = load_run(source)[0]
    assert int(other.step) > 0
    config = CONFIG.replace({"init_from": str(source), "seed": 9, "eps_start": 0.5, "scaling": "none", "epochs": 1})
    assert_same_outputs(start_run(config, splits, str(tmp_path / "of_the_file")).model, other, splits.test.x)
    (source / "model.keras").unlink()  # its checkpoint is left
    trainer = start_run(config, splits, str(tmp_path / "run"))
    assert_same_outputs(trainer.model, other, splits.test.x)
    assert np.ptp(other.prior.logits) > 0
    assert np.ptp(trainer.model.prior.logits) == 0  # this run's pi is uniform
    assert (int(trainer.model.step), int(trainer.model.rng_seed)) == (0, 9)
    assert trainer.train() is StopReason.FINISHED
    assert trainer.step == trainer.total_steps > 0
    assert float(trainer.model.eps_x) == 0.5  # in its first hundred epochs
    before = keras.saving.load_model(trainer.run.initialization_file)
    assert float(before.eps_x) == 0.5  # not that of the other, so that the bounds before and after can be compared
    at_half = before.score_samples(splits.test.x, 50).mean()
    before.eps_x.assign(1.0)
    before.eps_z.assign(1.0)
    at_one = before.score_samples(splits.test.x, 50).mean()
    found = trainer.run.init()["held_out_iw_bound"]
    assert abs(found - at_half) < 0.2 < 0.5 < abs(found - at_one)


def test_a_run_of_no_epochs_from_another_is_that_one_again(splits, source, tmp_path):
    """As the guide tells who wants to go back to the initialization."""
    other, x = load_run(source)[0], splits.test.x
    config = CONFIG.replace({"init_from": str(source), "init": "random", "epochs": 0, "scaling": "none"})
    trainer = start_run(config, splits, str(tmp_path / "run"))
    assert trainer.train() is StopReason.FINISHED
    report = finish_run(trainer, config, splits)
    assert report["accuracy"] == RunDirectory.open(source).report()["accuracy"]
    model = load_run(tmp_path / "run")[0]
    assert (float(model.eps_x), float(model.eps_z)) == (float(other.eps_x), float(other.eps_z)) == (0.25, 0.25)
    np.testing.assert_allclose(model.score_samples(x, 20), other.score_samples(x, 20), rtol=1e-4)


def test_sizes_that_an_initialization_found_are_taken_over(splits, tmp_path):
    config = CONFIG.replace({"epochs": 1})
    found = start_run(config, splits, str(tmp_path / "source"))
    logits = np.linspace(-1, 1, config.model.n_clusters)
    found.model.prior.logits.assign(logits)  # as of linked clusters: fixed, and not uniform
    found.train()
    model = start_run(config.replace({"init_from": str(tmp_path / "source")}), splits, str(tmp_path / "run")).model
    np.testing.assert_allclose(model.prior.logits, logits, rtol=1e-6)


def test_the_input_scaling_that_counts_is_the_one_taken_over(splits, tmp_path):
    unit = Dataset("unit", (splits.train.x - splits.train.x.min()) / np.ptp(splits.train.x))
    of_unit = Splits(unit, unit, "all")
    start_run(CONFIG.replace({"likelihood": "bernoulli", "epochs": 1}), of_unit, str(tmp_path / "unit")).train()
    config = CONFIG.replace({"likelihood": "bernoulli", "init_from": str(tmp_path / "unit"), "scaling": "minmax"})
    with pytest.raises(ValueError, match=r"needs values in \[0, 1\]"):  # minmax would bring these there, but the weights are for others
        start_run(config, splits, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    # Standardized these would be out of [0, 1]; as the other run has them they are not, now and when the run goes on.
    config = config.replace({"scaling": "standardize"})
    trainer = start_run(config, of_unit, str(tmp_path / "run"))
    assert trainer.train() is StopReason.FINISHED
    assert resume_run(RunDirectory.open(tmp_path / "run"), config, of_unit).step == trainer.step


def test_it_goes_on_when_the_other_run_is_gone_and_starts_the_same_when_it_never_began(splits, source, tmp_path, monkeypatch):
    config = CONFIG.replace({"init_from": "source"})
    monkeypatch.chdir(tmp_path)
    start_run(config, splits, "begun")
    monkeypatch.chdir("/")
    run = RunDirectory.open(tmp_path / "begun")
    assert run.config().train.init_from == str(source)
    trainer = resume_run(run, run.config(), splits)  # it was killed before its first checkpoint
    assert_same_outputs(trainer.model, load_run(source)[0], splits.test.x)
    assert trainer.train() is StopReason.FINISHED
    shutil.rmtree(source)
    again = resume_run(run, run.config(), splits)
    for a, b in zip(again.model.weights, trainer.model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_dim": 3}, r"source has latent_dim 2 and this run 3; they must be the same"),
        ({"encoder_units": (8, 8)}, r"has encoder_units 16 and this run 8,8"),
        ({"encoder_units": ()}, r"has encoder_units 16 and this run none"),
        ({"init_from": "nowhere"}, r"nowhere is not a run directory"),
    ],
)
def test_another_model_is_refused_and_nothing_written(splits, source, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        start_run(CONFIG.replace({"init_from": str(source), **options}), splits, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_refusal_changes_nothing(tiny_config):
    model = NVISA(tiny_config, seed=0)
    before = [v.numpy() for v in model.weights]
    with pytest.raises(ValueError, match="likelihood bernoulli and this run gaussian"):
        model.take_weights(NVISA(dataclasses.replace(tiny_config, likelihood="bernoulli"), seed=1), "there")
    for a, b in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_changes_no_weights_meaning_may_differ(tiny_config):
    model, other = (
        NVISA(dataclasses.replace(tiny_config, l2=l2, hold_scales=hold), seed=i) for i, (l2, hold) in enumerate([(0, 1), (1, 0)])
    )
    other.set_preprocessing(2.0, -1.0)
    other.step.assign(7)
    model.take_weights(other, "there")
    x = np.ones((4, 6), np.float32)
    assert_same_outputs(model, other, x)
    np.testing.assert_array_equal(model.preprocess(x), np.ones((4, 6)))
    assert (int(model.step), int(model.rng_seed), model.config.l2) == (0, 0, 0)


def test_a_run_of_another_method_is_refused(splits, source, tmp_path, tiny_config):
    config = RunConfig.of("ae_gmm", {"n_clusters": 3, "latent_dim": 2, "encoder_units": (16,), "decoder_units": (16,)})
    with pytest.raises(ValueError, match="source is a run of another method, NVISA; give one of AEGMM"):
        start_run(config.replace({"init_from": str(source)}), splits, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    options = AEGMMOptions(input_shape=(6,), n_clusters=3, latent_dim=2, encoder_units=(16,), decoder_units=(16,))
    with pytest.raises(ValueError, match="there is a run of another method, AEGMM; give one of NVISA"):
        NVISA(tiny_config).take_weights(AEGMM(options), "there")


def test_an_autoencoder_with_its_mixture_is_taken_over_too(splits, tmp_path):
    config = RunConfig.of("ae_gmm", {"n_clusters": 3, "latent_dim": 2, "encoder_units": (16,), "decoder_units": (16,), "epochs": 3})
    trained = start_run(config.replace({"seed": 4}), splits, str(tmp_path / "source"))
    assert trained.train() is StopReason.FINISHED
    finish_run(trained, config, splits)
    started = start_run(config.replace({"init_from": str(tmp_path / "source"), "scaling": "none"}), splits, str(tmp_path / "run"))
    x = splits.test.x
    for method in ("predict_proba", "embed", "reconstruct"):
        np.testing.assert_allclose(getattr(started.model, method)(x), getattr(trained.model, method)(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(started.model.generate(5, seed=1), trained.model.generate(5, seed=1))
    assert started.train() is StopReason.FINISHED
    assert np.abs(started.model.embed(x) - trained.model.embed(x)).max() > 1e-3
