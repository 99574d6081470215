import numpy as np
import pytest

from nvisa_tf.config import RunConfig
from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.presets import EXPECTED, PRESETS, automatic, better, expected, method_of, preset
from nvisa_tf.data import Dataset
from nvisa_tf.models.nvisa.training import compile_for_training
from nvisa_tf.models.registry import create_model
from nvisa_tf.training import Trainer


@pytest.mark.parametrize(("name", "dataset"), EXPECTED)
def test_what_to_expect_is_said_of_the_preset_as_it_is_alone(name, dataset):
    config = RunConfig().replace({**preset(name), "dataset": dataset, "seed": 7, "eval_epochs": 3.0, "data_dir": "x"})
    assert expected(name, config) == EXPECTED[name, dataset]
    assert expected(name, config.replace({"n_samples": 7})) == ""
    assert expected(name, config.replace({"n_clusters": 11})) == ""
    assert expected(name, config.replace({"dataset": "mine.npz"})) == ""


def test_a_better_preset_is_named_where_one_is_known():
    assert better("random_fast", "mnist").startswith("umap_augmented, accuracy 98")
    assert better("random_fast", "fashion_mnist").startswith("information, accuracy 74")
    assert better("random_small", "digits").startswith("information_small, accuracy 91")
    assert (
        better("umap_augmented", "mnist")
        == better("information_small", "digits")
        == better("information", "fashion_mnist")
        == better("random_fast", "mine.npz")
        == ""
    )


AVERAGED = ("umap_augmented", "tsne_augmented", "contrastive_balanced", "contrastive_communities", "information", "features")


@pytest.mark.parametrize("name", PRESETS)
def test_a_model_can_be_compiled_as_each_says(name):
    shape = (64,) if PRESETS[name].get("unit_length") else (8, 8)
    config = RunConfig().replace({**preset(name), "input_shape": shape})
    assert config.method == method_of(name)
    model = create_model(config.method, config.model, 0)
    if config.method == "nvisa":
        compile_for_training(model, config.model, config.train, per_epoch=11)
        assert bool(model.optimizer.use_ema) == (
            name in ("umap_augmented", "tsne_augmented", "contrastive_balanced", "contrastive_communities", "information", "features")
        )
    else:
        Trainer(model, config, Dataset("images", np.random.default_rng(0).random((20, *shape), np.float32)))


def test_random_slow_is_random_fast_three_times_slower():
    different = {option for option, value in PRESETS["random_slow"].items() if PRESETS["random_fast"][option] != value}
    assert different == {"epochs", "eps_halving_epochs"}
    for option in different:
        assert PRESETS["random_slow"][option] == 3 * PRESETS["random_fast"][option]


def test_the_automatic_preset_goes_by_kind_and_number():
    of = {
        "nvisa": ("few_images", "information_small", "information_small", "information", "tabular", "tabular"),
        "ae_gmm": ("ae_gmm_small", "ae_gmm_small", "ae_gmm_small", "ae_gmm", "ae_gmm_small", "ae_gmm"),
        "vade": ("vade_small", "vade_small", "vade_small", "vade", "vade_vectors", "vade_vectors"),
        "ltvae": ("ltvae_small", "ltvae_small", "ltvae_small", "ltvae", "ltvae_vectors", "ltvae_vectors"),
        "gmvae": ("gmvae_small", "gmvae_small", "gmvae_small", "gmvae", "gmvae_vectors", "gmvae_vectors"),
    }
    for method, names in of.items():
        sizes = (999, True), (1_000, True), (9_999, True), (10_000, True), (50, False), (10**6, False)
        assert tuple(automatic(method, *size) for size in sizes) == names


def test_features_of_photos_have_a_preset_of_their_own_where_a_method_has_one():
    found = {method: automatic(method, 5_000, False, True) for method in ("nvisa", "neighbor_information", "temi", "vade", "dec")}
    assert found == {
        "nvisa": "features",
        "neighbor_information": "neighbor_information_features",
        "temi": "temi_features",
        "vade": "vade_vectors",
        "dec": "dec_small",
    }
    assert automatic("temi", 5_000, False) == automatic("temi", 50_000, True) == "temi"


def test_every_method_has_presets_of_its_own_where_none_is_named():
    for method in METHODS:
        for size in ((10, True), (9_999, True), (10_000, True), (50, False), (10**6, False)):
            assert method_of(automatic(method, *size)) == method


def test_random_gpu_has_the_papers_samples_and_annealing():
    paper, gpu = (RunConfig().replace(preset(name)).options() for name in ("paper", "random_gpu"))
    for option in ("epochs", "n_samples", "eps_start", "eps_halving_epochs", "eps_floor"):
        assert gpu[option] == paper[option], option
    assert gpu["xla"]


@pytest.mark.parametrize("name", PRESETS)
def test_images_that_are_binarized_are_made_no_brighter(name):
    found = preset(name, binarize=True)
    assert {option: value for option, value in preset(name).items() if option != "augment_brightness"} == found
    if found.get("method", "nvisa") == "nvisa":
        RunConfig().replace({**found, "likelihood": "bernoulli", "binarize": True})


def test_an_unknown_preset_names_the_near_one():
    with pytest.raises(ValueError, match="did you mean random_slow"):
        preset("random_slwo")
