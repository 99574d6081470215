import argparse

import pytest

from nvisa_tf.cli.options import add_config_flags, config_from_flags
from nvisa_tf.config import RunConfig
from nvisa_tf.methods import METHODS
from nvisa_tf.presets import PRESETS
from nvisa_tf.run_directory import RunDirectory


def parsed(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    add_config_flags(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("objective", METHODS)
def test_every_objective_goes_with_every_preset(objective, preset):
    train = config_from_flags(parsed("--objective", objective), preset).train
    method = METHODS[objective]
    assert not (method.reparameterizes_z and train.decoder_gradient == "resampled")
    assert train.n_samples == (method.preset_samples or PRESETS[preset].get("n_samples", 15))


def test_the_objective_may_come_from_the_file_and_flags_win(tmp_path):
    (tmp_path / "a.toml").write_text('objective = "enum_y"\nepochs = 7\n')
    config = config_from_flags(parsed("--config", str(tmp_path / "a.toml"), "--epochs", "9", "--n-samples", "3"), "fast")
    assert (config.train.objective, config.train.decoder_gradient, config.train.epochs, config.train.n_samples) == ("enum_y", "all", 9, 3)


def test_what_was_asked_for_is_refused_where_it_cannot_be():
    with pytest.raises(ValueError, match="use all"):
        config_from_flags(parsed("--objective", "iwae", "--decoder-gradient", "resampled"), "fast")


def test_a_run_that_is_started_from_gives_the_model_and_flags_win(tmp_path):
    source = RunConfig().replace({"n_clusters": 7, "encoder_units": (8, 9), "input_shape": (6,), "learning_rate": 0.5})
    RunDirectory.create(tmp_path / "run", source, {})
    config = config_from_flags(parsed("--start-from", str(tmp_path / "run"), "--l2", "0.1"), "augmented")
    assert (config.model.n_clusters, config.model.encoder_units, config.model.decoder_scale, config.model.l2) == (7, (8, 9), "network", 0.1)
    assert (config.train.init, config.train.learning_rate) == ("random", PRESETS["augmented"]["learning_rate"])
    with pytest.raises(ValueError, match="two starts"):
        config_from_flags(parsed("--start-from", str(tmp_path / "run"), "--init", "kmeans"), "fast")
    with pytest.raises(ValueError, match="not a run directory"):
        config_from_flags(parsed("--start-from", str(tmp_path)), "fast")


def test_no_layers_at_all_can_be_asked_for():
    assert parsed("--encoder-filters", "none").encoder_filters == ()
    assert parsed("--encoder-filters", "8,16").encoder_filters == (8, 16)


def test_help_says_that_a_list_is_empty_by_default():
    parser = argparse.ArgumentParser()
    add_config_flags(parser)
    assert "images only (default none)" in " ".join(parser.format_help().split())
