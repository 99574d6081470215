import pytest

from nvisa_tf import NVISA
from nvisa_tf.config import RunConfig
from nvisa_tf.presets import EXPECTED, PRESETS, automatic, better, expected, preset
from nvisa_tf.training import compile_for_training


@pytest.mark.parametrize(("name", "dataset"), EXPECTED)
def test_what_to_expect_is_said_of_the_preset_as_it_is_alone(name, dataset):
    config = RunConfig().replace({**preset(name), "dataset": dataset, "seed": 7, "eval_epochs": 3.0, "data_dir": "x"})
    assert expected(name, config) == EXPECTED[name, dataset]
    assert expected(name, config.replace({"n_samples": 7})) == ""
    assert expected(name, config.replace({"n_clusters": 11})) == ""
    assert expected(name, config.replace({"dataset": "mine.npz"})) == ""


def test_a_better_preset_is_named_where_one_is_known():
    assert better("fast", "mnist").startswith("augmented, accuracy 98")
    assert better("fast", "fashion_mnist").startswith("contrastive, accuracy 7")
    assert better("quick", "digits").startswith("small, accuracy 90")
    assert better("augmented", "mnist") == better("small", "digits") == better("fast", "mine.npz") == ""


@pytest.mark.parametrize("name", PRESETS)
def test_a_model_can_be_compiled_as_each_says(name):
    config = RunConfig().replace({**preset(name), "input_shape": (8, 8)})
    model = NVISA(config.model)
    compile_for_training(model, config.train, per_epoch=11)
    assert bool(model.optimizer.use_ema) == (name in ("augmented", "images", "contrastive"))


def test_thorough_is_fast_three_times_slower():
    different = {option for option, value in PRESETS["thorough"].items() if PRESETS["fast"][option] != value}
    assert different == {"epochs", "eps_halving_epochs"}
    for option in different:
        assert PRESETS["thorough"][option] == 3 * PRESETS["fast"][option]


def test_the_automatic_preset_goes_by_kind_and_number():
    assert [automatic(9_999, True), automatic(10_000, True), automatic(50, False), automatic(10**6, False)] == [
        "small",
        "images",
        "tables",
        "tables",
    ]


def test_gpu_has_the_papers_samples_and_annealing():
    paper, gpu = (RunConfig().replace(preset(name)).train for name in ("paper", "gpu"))
    for option in ("epochs", "n_samples", "eps_start", "eps_halving_epochs", "eps_floor"):
        assert getattr(gpu, option) == getattr(paper, option), option
    assert gpu.xla


def test_an_unknown_preset_names_the_near_one():
    with pytest.raises(ValueError, match="did you mean thorough"):
        preset("thorogh")
