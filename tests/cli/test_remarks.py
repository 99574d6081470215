import numpy as np
import pytest

from nvisa_tf import Dataset, RunConfig
from nvisa_tf.cli.remarks import remarks
from nvisa_tf.data import Origin, Splits


class Halved:
    """A model whose scaling is the same for all values."""

    def scaled(self, x):
        return x / 2


@pytest.fixture
def splits(bar_images):
    data = Dataset("bars", *bar_images)
    return Splits(data, data, "")


def test_it_is_said_that_the_learning_rate_is_its_floor(splits):
    def said(rate):
        return remarks(RunConfig().replace({"learning_rate": rate, "lr_floor": 1e-4}), splits, Halved())

    (sentence,) = said(1e-5)
    assert sentence == "The learning rate is 0.0001, the least that lr_floor allows, and not 1e-05; for less, add --lr-floor 1e-05."
    assert said(1e-3) == []


def test_values_that_are_scaled_alike_are_told_of_vectors_alone(splits):
    vectors = Dataset("vectors", np.zeros((5, 3), np.float32))
    (sentence,) = remarks(RunConfig(), Splits(vectors, vectors, ""), Halved())
    assert "add --scaling standardize" in sentence
    assert remarks(RunConfig(), splits, Halved()) == []


def test_what_the_likelihood_takes_is_told(splits):
    (plain,) = remarks(RunConfig().replace({"likelihood": "bernoulli"}), splits, Halved())
    (binary,) = remarks(RunConfig().replace({"likelihood": "bernoulli", "binarize": True}), splits, Halved())
    assert "in [0, 1] as they are" in plain
    assert "cut at 0.5" in binary


def test_features_are_told_that_clusters_come_out_of_equal_size():
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    features = Dataset("features", x, origin=Origin(backbone={"name": "small"}))
    splits, sentence = Splits(features, features, ""), "Clusters come out of about equal size; where your groups differ much in size, "
    for config, is_told in [
        (RunConfig().replace({"init": "neighbor_information"}), True),
        (RunConfig.of("temi"), True),
        (RunConfig.of("ae_gmm"), False),
        (RunConfig(), False),
    ]:
        assert any(found.startswith(sentence) for found in remarks(config, splits, Halved())) == is_told


def test_vectors_far_out_or_without_direction_are_told(splits):
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    x[3], x[5] = 1e6, 0
    vectors = Dataset("vectors", x)
    standardized = RunConfig().replace({"scaling": "standardize"})
    (sentence,) = remarks(standardized, Splits(vectors, vectors, ""), Halved())
    assert "1 of 50 examples is more than 100 times as far" in sentence
    (sentence,) = remarks(standardized.replace({"unit_length": True}), Splits(vectors, vectors, ""), Halved())
    assert "1 of 50 vectors has zeros alone (the first is 5)" in sentence
