import argparse

import pytest

from nvisa_tf.cli.options import Chosen, add_config_flags, config_from_flags
from nvisa_tf.config import RunConfig
from nvisa_tf.config.objectives import OBJECTIVES
from nvisa_tf.config.presets import PRESETS, method_of
from nvisa_tf.io.run_directory import RunDirectory


def parsed(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    parser.add_argument("--method")
    add_config_flags(parser, Chosen(words))
    return parser.parse_args(words)


@pytest.mark.parametrize("preset", [name for name in PRESETS if method_of(name) == "nvisa"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_goes_with_every_preset(objective, preset):
    options = config_from_flags(parsed("--objective", objective), "nvisa", preset).model
    known = OBJECTIVES[objective]
    assert not (known.reparameterizes_z and options.decoder_gradient == "resampled")
    assert options.n_samples == (known.preset_samples or PRESETS[preset].get("n_samples", 15))


def test_the_objective_may_come_from_the_file_and_flags_win(tmp_path):
    (tmp_path / "a.toml").write_text('objective = "enum_y"\nepochs = 7\nseed = 5\n[model]\nn_clusters = 4\n')
    config = config_from_flags(parsed("--config", str(tmp_path / "a.toml"), "--epochs", "9", "--n-samples", "3"), "nvisa", "random_fast")
    assert (config.model.objective, config.model.decoder_gradient, config.train.epochs, config.model.n_samples) == ("enum_y", "all", 9, 3)
    assert (config.train.seed, config.model.n_clusters) == (5, 4)


def test_what_was_asked_for_is_refused_where_it_cannot_be():
    with pytest.raises(ValueError, match="use all"):
        config_from_flags(parsed("--objective", "iwae", "--decoder-gradient", "resampled"), "nvisa", "random_fast")


def test_a_run_that_is_started_from_gives_the_model_and_flags_win(tmp_path):
    source = RunConfig().replace({"n_clusters": 7, "encoder_units": (8, 9), "input_shape": (6,), "learning_rate": 0.5})
    RunDirectory.create(tmp_path / "run", source, {})
    config = config_from_flags(parsed("--init-from", str(tmp_path / "run"), "--l2", "0.1"), "nvisa", "umap_augmented")
    assert (config.model.n_clusters, config.model.encoder_units, config.model.decoder_scale, config.model.l2) == (7, (8, 9), "network", 0.1)
    assert (config.model.init, config.train.learning_rate) == ("random", PRESETS["umap_augmented"]["learning_rate"])
    with pytest.raises(ValueError, match="two initializations"):
        config_from_flags(parsed("--init-from", str(tmp_path / "run"), "--init", "ae_kmeans"), "nvisa", "random_fast")
    with pytest.raises(ValueError, match="not a run directory"):
        config_from_flags(parsed("--init-from", str(tmp_path)), "nvisa", "random_fast")


def test_a_run_that_is_started_from_brings_its_clusters_and_its_scaling(tmp_path):
    source = RunConfig.of("vade", {"input_shape": (6,), "scaling": "minmax", "pretrain_epochs": 30})
    RunDirectory.create(tmp_path / "run", source, {})
    begin = ("--init-from", str(tmp_path / "run"))
    config = config_from_flags(parsed(*begin), "vade", "vade_small")
    assert (config.model.pretrain_epochs, config.data.scaling) == (0, "minmax")
    config = config_from_flags(parsed(*begin, "--pretrain-epochs", "5", "--scaling", "minmax"), "vade", "vade_small")
    assert (config.model.pretrain_epochs, config.data.scaling) == (5, "minmax")
    with pytest.raises(ValueError, match=r"--scaling cannot change with --init-from, as .* brings its own \(minmax\)"):
        config_from_flags(parsed(*begin, "--scaling", "standardize"), "vade", "vade_small")


def test_an_autoencoder_that_is_taken_is_not_trained():
    words = ("--method", "vade", "--autoencoder-from", "run")
    assert config_from_flags(parsed(*words), "vade", "vade_small").model.autoencoder_from == "run"
    with pytest.raises(ValueError, match="none is trained for --pretrain-epochs; leave one"):
        config_from_flags(parsed(*words, "--pretrain-epochs", "5"), "vade", "vade_small")


def test_no_layers_at_all_can_be_asked_for():
    assert parsed("--encoder-filters", "none").encoder_filters == ()
    assert parsed("--encoder-filters", "8,16").encoder_filters == (8, 16)


def test_help_says_that_a_list_is_empty_by_default():
    parser = argparse.ArgumentParser()
    add_config_flags(parser, Chosen(()))
    assert "images only (default none)" in " ".join(parser.format_help().split())


def test_a_data_set_of_photos_brings_its_backbone_and_its_clusters_and_flags_win(tmp_path):
    def config(*words):
        return config_from_flags(parsed(*words), "nvisa", "features")

    assert config("--dataset", "cifar100").data.backbone == config("--dataset", "stl10").data.backbone == "resnet50"
    assert config("--dataset", "cifar100").model.n_clusters == 100
    assert config("--dataset", "cifar100", "--n-clusters", "20").model.n_clusters == 20
    assert config("--dataset", "cifar10", "--backbone", "mobilenetv3small").data.backbone == "mobilenetv3small"
    assert config("--dataset", "cifar10", "--backbone", "none").data.backbone == ""
    assert config("--dataset", "mnist").data.backbone == ""
    (tmp_path / "of_a_run.toml").write_text('[data]\ndataset = "cifar10"\nbackbone = ""\n')
    assert config("--config", str(tmp_path / "of_a_run.toml")).data.backbone == ""
