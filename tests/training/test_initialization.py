"""The start from an autoencoder: each part against NumPy or SciPy, the whole through the trainer."""

import dataclasses
import sys

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import norm

from nvisa_tf import NVISA, Dataset, Monitor, RunConfig, RunDirectory, TrainConfig, Trainer, input_scaling
from nvisa_tf.data import Splits
from nvisa_tf.mixtures import Mixture
from nvisa_tf.training import initialization, trainer
from nvisa_tf.training.initialization import (
    Course,
    copy_mixture,
    give_code,
    initialize,
    rescale,
    start_scale,
)
from nvisa_tf.training.learners import Autoencoder
from nvisa_tf.workflows import finish_run, start_run

RNG = np.random.default_rng(0)
CONFIG = TrainConfig(
    init="ae_gmm", init_epochs=100, epochs=2, batch_size=50, n_samples=3, eps_start=0.25, eval_epochs=1, eval_samples=5, steps_per_call=4
)


@pytest.fixture
def data(blobs):
    return Dataset("blobs", *blobs)


@pytest.fixture
def autoencoder(tiny_config):
    """With weights whose codes are far from 0 and from a standard deviation of 1."""
    found = Autoencoder(NVISA(tiny_config), seed=3, total_steps=10)
    for weight in found.variables:
        weight.assign(weight + 0.5 * RNG.normal(size=weight.shape))
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
    autoencoder = Autoencoder(model, 3, 10)
    autoencoder.head.bias.assign([5.0, -3.0])
    x = tf.constant(data.x)
    before = autoencoder.encode(x)
    outputs = model.decoder(before)
    after = rescale(autoencoder, before.numpy())
    np.testing.assert_allclose(after.mean(0), 0, atol=1e-5)
    assert np.mean(after.astype(np.float64) ** 2) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(autoencoder.encode(x), after, atol=1e-4)
    for a, b in zip(outputs, model.decoder(tf.constant(after)), strict=True):
        if b is not None:
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4)


def test_codes_that_are_all_the_same_are_refused(autoencoder):
    with pytest.raises(ValueError, match="standard deviation of 0; start with init random"):
        rescale(autoencoder, np.ones((5, 2), np.float32))
    with pytest.raises(ValueError, match="standard deviation of nan"):
        rescale(autoencoder, np.full((5, 2), np.nan, np.float32))


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
def test_posterior_mean_is_the_code_for_every_cluster(tiny_config, data, posterior):
    model = NVISA(dataclasses.replace(tiny_config, posterior=posterior))
    autoencoder = Autoencoder(model, 3, 10)
    autoencoder.head.bias.assign([1.0, -1.0])
    give_code(model.latent_head, autoencoder.head)
    model.eps_z.assign(0.25)
    h = model.encoder(tf.constant(data.x))
    code = h.numpy() @ autoencoder.head.kernel.numpy() + autoencoder.head.bias.numpy()
    posterior_z = model.q_z(h, tf.broadcast_to(tf.range(3)[:, None], [3, 300]))
    np.testing.assert_allclose(posterior_z.mean(), np.broadcast_to(code, (3, 300, 2)), atol=1e-4)
    np.testing.assert_allclose(posterior_z.stddev(), initialization.CODE_SD + 0.25, rtol=1e-5)


def test_a_narrow_posterior_cannot_hold_the_code(tiny_config):
    model = NVISA(dataclasses.replace(tiny_config, posterior_units=3))
    with pytest.raises(ValueError, match="at least twice latent_dim, 4"):
        give_code(model.latent_head, Autoencoder(model, 0, 1).head)


@pytest.mark.parametrize("learned", [False, True])
def test_prior_is_the_mixture(tiny_config, learned):
    model = NVISA(dataclasses.replace(tiny_config, learn_prior_weights=learned))
    weights, means, variances = np.array([0.5, 0.3, 0.2]), RNG.normal(size=(3, 2)), RNG.uniform(0.1, 2, (3, 2))
    copy_mixture(model.prior, Mixture(weights, means, variances, np.eye(3), None, lambda codes: codes))
    z = RNG.normal(size=(20, 2))
    each = norm(means, np.sqrt(variances)).pdf(z[:, None]).prod(2)
    expected = np.log(each @ (weights if learned else np.full(3, 1 / 3)))
    np.testing.assert_allclose(model.p_z().log_prob(z.astype(np.float32)), expected, rtol=1e-4)


@pytest.mark.parametrize("scale", ["network", "per_dimension"])
def test_sigma_starts_at_the_error_where_eps_lets_it(tiny_config, data, scale):
    model = NVISA(dataclasses.replace(tiny_config, decoder_scale=scale))
    codes = RNG.normal(size=(300, 2)).astype(np.float32)
    eps = 4.0
    model.eps_x.assign(eps)
    start_scale(model, data, codes)
    likelihood = model.p_x(tf.constant(codes))
    error = np.sqrt(np.mean((data.x - likelihood.mean().numpy()) ** 2, 0))
    assert (error > 1.1 * eps).any()
    assert (error < 1.1 * eps).any()
    np.testing.assert_allclose(likelihood.stddev(), np.tile(np.maximum(error, 1.1 * eps), (300, 1)), rtol=1e-4)


class Log(Monitor):
    def __init__(self):
        self.said, self.rows = [], []

    def on_initialization(self, message):
        self.said.append(message)

    def on_evaluation(self, row, model):
        self.rows.append(row)


def make_trainer(tiny_config, data, config=CONFIG, run=None, **kwargs):
    model = NVISA(tiny_config, seed=0)
    model.set_preprocessing(*input_scaling(data))
    return Trainer(model, config, data, run=run, **kwargs)


def assert_same_weights(a, b):
    for x, y in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_training_starts_with_the_blobs_found_and_never_twice(tiny_config, data, tmp_path, monkeypatch):
    log, runs = Log(), [RunDirectory.create(tmp_path / name, RunConfig(), {}) for name in ("straight", "stopped")]
    straight = make_trainer(tiny_config, data, run=runs[0], monitors=[log])
    straight.train()
    assert log.rows[0]["accuracy"] > 0.97  # after one epoch; from random weights it takes a hundred
    assert "autoencoder: epoch 100 of 100" in "".join(log.said)
    assert "ae_gmm: accuracy" in log.said[-1]
    report = finish_run(straight, dataclasses.replace(RunConfig(), train=CONFIG), Splits(data, data, "blobs"))
    assert report["init"]["accuracy"] > 0.97
    assert report["init"]["start_accuracy"] > 0.97
    assert report["init"]["method"] == "ae_gmm"
    assert runs[0].report() == report

    # Stopped on its way: nothing is kept, and it starts again.
    first = make_trainer(tiny_config, data, run=runs[1], monitors=[log := Log()])
    log.on_initialization = lambda message: first.request_stop("because")
    assert first.train() == "because"
    assert not first.initialized
    assert not any(runs[1].checkpoints.iterdir())
    second = make_trainer(tiny_config, data, dataclasses.replace(CONFIG, max_minutes=1e-9), runs[1])
    assert second.resume() == 0
    assert "limit" in second.train()
    assert second.initialized

    # Stopped after it: it is not done again.
    monkeypatch.setattr(trainer, "initialize", None)  # cannot be called
    third = make_trainer(tiny_config, data, run=runs[1])
    assert third.resume() == 4
    assert third.train() == ""
    assert_same_weights(straight.model, third.model)


def initialized(tiny_config, data, **options):
    model = NVISA(tiny_config, seed=0)
    model.set_preprocessing(*input_scaling(data))
    config = dataclasses.replace(CONFIG, init_epochs=20, **options)
    return model, initialize(model, data, data, Course(config))


def test_labels_and_anything_but_the_seed_change_nothing(tiny_config, data):
    model, report = initialized(tiny_config, data)
    other, other_report = initialized(tiny_config, dataclasses.replace(data, y=RNG.permutation(data.y)))
    assert_same_weights(model, other)
    assert other_report["accuracy"] < report["accuracy"]
    other, report = initialized(tiny_config, dataclasses.replace(data, y=None), seed=1)
    assert "accuracy" not in report
    assert not np.array_equal(model.prior.loc.numpy(), other.prior.loc.numpy())


def test_a_start_that_lacks_its_package_is_refused_before_anything_is_written(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ValueError, match="umap-learn; install it"):
        start_run(RunConfig().replace({"init": "ae_umap", "n_clusters": 3}), Splits(data, data, "blobs"), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
