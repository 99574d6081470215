"""An autoencoder that one run trained and others begin with."""

import numpy as np
import pytest

from nvisa_tf import Dataset, RunConfig
from nvisa_tf.data import Splits
from nvisa_tf.runs.workflows import build_model, finish_run, start_run

NETWORKS = {"encoder_units": (16,), "decoder_units": (16,), "latent_dim": 2, "n_clusters": 3}
SHORT = {**NETWORKS, "epochs": 2, "batch_size": 32, "seed": 3}


@pytest.fixture(scope="module")
def splits(make_blobs):
    x, y = make_blobs(60)
    data = Dataset("blobs", ((x - x.min()) / (x.max() - x.min())).astype(np.float32), y)
    return Splits(data, data, "")


@pytest.fixture(scope="module")
def sources(splits, tmp_path_factory):
    """Finished runs of AE+GMM, by likelihood, with another number of clusters: that is no part of the autoencoder."""
    folder = tmp_path_factory.mktemp("sources")
    for likelihood in ("gaussian", "bernoulli"):
        config = RunConfig.of("ae_gmm", {**SHORT, "n_clusters": 4, "likelihood": likelihood})
        trainer = start_run(config, splits, str(folder / likelihood))
        trainer.train()
        finish_run(trainer, trainer.config, splits)
    return folder


@pytest.mark.parametrize(("method", "likelihood"), [("dec", "gaussian"), ("idec", "gaussian"), ("vade", "gaussian"), ("vade", "bernoulli")])
def test_the_codes_and_what_is_made_of_them_are_the_same(method, likelihood, splits, sources, tmp_path):
    x = splits.train.x[:20]
    source = sources / likelihood
    options = {"likelihood": likelihood} if method == "vade" else {}
    config = RunConfig.of(method, {**SHORT, **options, "seed": 5, "autoencoder_from": str(source)})
    before = build_model(RunConfig.of("ae_gmm", {**SHORT, "n_clusters": 4, "likelihood": likelihood, "init_from": str(source)}), splits)
    model = build_model(config, splits)
    np.testing.assert_array_equal(model.embed(x), before.embed(x))
    np.testing.assert_array_equal(model.decode_mean(model.embed(x)), before.decode_mean(before.embed(x)))
    trainer = start_run(config, splits, str(tmp_path / "run"))
    assert [stage.total_steps == 0 for stage in trainer.stages] == [True, False]
    trainer.train()
    assert trainer.stages[-1].report["examples"] == len(splits.train)  # clusters were looked for
    assert trainer.run.config().options()["autoencoder_from"] == str(source.resolve())


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("dec", {"latent_dim": 3}, "gaussian has latent_dim 2 and this run 3"),
        ("vade", {"likelihood": "bernoulli"}, "has squared error and this run a Bernoulli likelihood"),
        ("vade", {"init_from": "somewhere"}, "give one of them"),
    ],
)
def test_another_autoencoder_is_refused(method, options, message, splits, sources):
    with pytest.raises(ValueError, match=message):
        build_model(RunConfig.of(method, {**SHORT, "autoencoder_from": str(sources / "gaussian"), **options}), splits)


def test_a_model_without_an_autoencoder_neither_gives_nor_takes_one(splits, sources, tmp_path):
    trainer = start_run(RunConfig.of("nvisa", {**SHORT, "posterior_units": 16, "n_samples": 2}), splits, str(tmp_path / "nvisa"))
    trainer.train()
    finish_run(trainer, trainer.config, splits)
    with pytest.raises(ValueError, match="a run of NVISA, which has no autoencoder that could be taken"):
        build_model(RunConfig.of("dec", {**SHORT, "autoencoder_from": str(tmp_path / "nvisa")}), splits)
    with pytest.raises(ValueError, match="NVISA does not begin with an autoencoder"):
        trainer.model.take_autoencoder(trainer.model, "autoencoder_from: a")


def test_a_bernoulli_autoencoder_gives_values_in_the_unit_interval(splits, sources):
    config = RunConfig.of("ae_gmm", {**SHORT, "n_clusters": 4, "likelihood": "bernoulli", "init_from": str(sources / "bernoulli")})
    shown = build_model(config, splits).reconstruct(splits.train.x[:50])
    assert 0 < shown.min() < shown.max() < 1
    whole = splits.train.take(np.arange(50))
    with pytest.raises(ValueError, match="needs values in"):
        build_model(RunConfig.of("ae_gmm", {**SHORT, "likelihood": "bernoulli", "scaling": "standardize"}), Splits(whole, whole, ""))
