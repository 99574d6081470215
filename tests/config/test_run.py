import pytest

from nvisa_tf import NVISAConfig, NVISAOptions, RunConfig, StepOptions, TrainConfig, preset
from nvisa_tf.config import options_from_toml
from nvisa_tf.config.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_round_trip_through_toml(name):
    config = RunConfig().replace({**preset(name), "input_shape": [28 * 28] if PRESETS[name].get("unit_length") else [28, 28]})
    assert RunConfig().replace(options_from_toml(config.to_toml())) == config
    assert config != RunConfig()


def test_paper_preset_is_the_papers():
    found = RunConfig().replace(preset("paper")).options()
    papers = {
        "epochs": 1400, "n_samples": 15, "eps_start": 1.0, "eps_halving_epochs": 100, "eps_floor": 1e-4, "anneal": "both",
        "anneal_mode": "staircase", "learning_rate": 1e-3, "lr_halving_epochs": 300, "batch_size": 128,
    }  # fmt: skip
    assert {name: found[name] for name in papers} == papers


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: StepOptions(n_samples=1), "vimco needs at least 2 because"),
        (lambda: NVISAConfig(n_clusters=0), "n_clusters is 0; it must be at least 1"),
        (lambda: NVISAConfig(likelihood="poisson"), "one of gaussian, bernoulli"),
        (lambda: NVISAConfig(binarize=True), "goes with the Bernoulli likelihood"),
        (lambda: StepOptions(objective="vimc"), "one of vimco, enum_y"),
        (lambda: StepOptions(objective="rws", n_samples=1), "rws needs at least 2"),
        (lambda: StepOptions(objective="iwae", decoder_gradient="resampled"), "use all"),
        (lambda: StepOptions(forward_precision="bfloat16"), "set decoder_gradient to resampled"),
        (lambda: TrainConfig(learning_rate=float("nan")), "finite"),
        (lambda: NVISAOptions(eps_start=0.1, eps_floor=0.2), "must not be below eps_floor"),
        (lambda: TrainConfig(seed=2**31), "below"),
        (lambda: NVISAConfig(encoder_units=(500, 0)), "encoder_units is 0"),
        (lambda: preset("random_fats"), "did you mean random_fast"),
        (lambda: RunConfig().replace({"n_cluster": 3}), "did you mean n_clusters"),
        (lambda: RunConfig().replace({"epochs": 1.5}), "epochs is 1.5; it must be an int"),
        (lambda: RunConfig().replace({"epochs": True}), "must be an int"),
        (lambda: RunConfig().replace({"epochs": 0}), "epochs is 0 and init is random, so there is nothing to train"),
        (lambda: RunConfig().replace({"init_from": "runs/a", "init": "ae_kmeans"}), "init is ae_kmeans, so there are two initializations"),
        (lambda: RunConfig.of("dec", {"tolerance": 1.0}), "a share of the examples; it must be below 1"),
        (lambda: RunConfig.of("ltvae", {"structure_share": 1.5}), "it must be at most 1"),
        (lambda: RunConfig.of("vade", {"pretrain_epochs": 0}), "name a run by autoencoder_from or init_from"),
        (lambda: RunConfig().replace({"encoder_units": ["a"]}), "list of integers"),
        (lambda: NVISAOptions(augment=True, augment_rotation=0.0, augment_shift=0.0), "are all 0, so no image would be changed"),
        (lambda: NVISAOptions(init="contrastive", augment_rotation=0.0, augment_shift=0.0), "are all 0, so no image would be changed"),
        (
            lambda: RunConfig().replace({"augment": True, "augment_brightness": 1, "likelihood": "bernoulli", "binarize": True}),
            "black or white as a whole; set it to 0",
        ),
        (lambda: options_from_toml("[train]\nn_clusters = 3"), r"belongs in \[model\]"),
        (lambda: options_from_toml("[trian]\nepochs = 3"), r"no table \[trian\]"),
        (lambda: options_from_toml("epochs = "), "not valid TOML"),
    ],
)
def test_bad_values_are_one_sentence(make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_toml_without_tables_and_integer_for_a_float():
    assert options_from_toml("epochs = 3\nclip_norm = 5") == {"epochs": 3, "clip_norm": 5}
    assert RunConfig().replace({"clip_norm": 5}).model.clip_norm == 5.0
