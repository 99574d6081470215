"""Vectors that lie far out, and vectors of zeros."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from nvisa_tf import Dataset
from nvisa_tf.data.dataset import input_scaling, scaled
from nvisa_tf.evaluation.outliers import far_out, without_direction


def scaling_of(data, method="auto"):
    scale, shift = input_scaling(data, method)
    return lambda x: scaled(x, scale, shift, False)


def spoiled(factor, rows):
    x = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    x[rows] *= factor
    return Dataset("some", x, ids=np.array([f"id{i}" for i in range(300)]))


@pytest.mark.parametrize("method", ["standardize", "center", "none"])
def test_vectors_that_decide_the_scale_are_named(method):
    data = spoiled(1e6, [17])
    assert far_out(data, scaling_of(data, method)) == (
        "1 of 300 examples is more than 100 times as far from the middle of the data as half of all (the first is id17); "
        "it decides the scale of the others, so look at it, or leave it out."
    )
    two = spoiled(1e6, [17, 40])
    assert far_out(two, scaling_of(two, method)).startswith("2 of 300 examples are more than")


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_diabetes])
@pytest.mark.parametrize("method", ["standardize", "none"])
def test_real_tables_have_none(load, method):
    data = Dataset("real", load().data.astype(np.float32))
    assert far_out(data, scaling_of(data, method)) == ""


def test_heavy_tails_are_none():
    data = Dataset("heavy", np.random.default_rng(0).standard_t(2.5, size=(20_000, 8)).astype(np.float32))
    assert far_out(data, scaling_of(data)) == ""


def test_vectors_that_are_mostly_one_have_none():
    x = np.zeros((100, 3), np.float32)
    x[:20] = np.random.default_rng(0).normal(size=(20, 3))
    data = Dataset("one", x)
    assert far_out(data, scaling_of(data)) == ""


def test_zeros_have_no_direction():
    data = spoiled(0.0, [4, 9])
    assert without_direction(data) == (
        "2 of 300 vectors have zeros alone (the first is id4), so no direction; what cluster they get means nothing."
    )
    assert without_direction(spoiled(1.0, [0])) == ""
