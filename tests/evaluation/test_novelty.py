"""What warns of inputs of another kind, on real data: never on more of the same kind, always on noise, other units, other columns."""

import types

import numpy as np
import pytest
from sklearn import datasets
from sklearn.neighbors import NearestNeighbors

from nvisa_tf import Dataset
from nvisa_tf.data import input_scaling
from nvisa_tf.evaluation.novelty import Inputs


def model_for(train):
    """What of a model is used: its scaling."""
    scale, shift = input_scaling(train)
    return types.SimpleNamespace(scaled=lambda x: (x.reshape(len(x), -1) * scale + shift).reshape(x.shape))


def bars(seed):
    """Bytes [400, 6, 6], bright in one third."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, (400, 1, 1))
    return np.clip(rng.normal(20, 10, (400, 6, 6)) + 200 * (np.arange(6) // 2 == kind), 0, 255).astype(np.uint8)


SETS = {
    "wine": datasets.load_wine().data,
    "cancer": datasets.load_breast_cancer().data,
    "digits": datasets.load_digits().images.astype(np.uint8),
    "bars": bars(0),
}


def halves(x, seed):
    order = np.random.default_rng(seed).permutation(len(x))
    return Dataset("train", x[order[: len(x) // 2]]), Dataset("new", x[order[len(x) // 2 :]])


@pytest.mark.parametrize("name", SETS)
def test_more_of_the_same_kind_does_not_warn(name):
    for seed in range(5):
        train, new = halves(SETS[name], seed)
        model = model_for(train)
        inputs = Inputs.of(model, train)
        for examples in (train, new, new.take(slice(0, 4)), new.take(slice(0, 1))):
            assert inputs.warning(model, examples) == "", (seed, len(examples))


def test_one_class_alone_does_not_warn():
    digits = datasets.load_digits()
    train = Dataset("train", SETS["digits"])
    model = model_for(train)
    inputs = Inputs.of(model, train)
    for digit in range(10):
        assert inputs.warning(model, train.take(digits.target == digit)) == ""


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kind", ["noise", "inverted", "fractions", "other units", "blank", "turned"])
def test_another_kind_warns(name, kind, rng):
    train, new = halves(SETS[name], 0)
    x = new.x.astype(float)
    other = {
        "noise": rng.uniform(x.min(), x.max(), x.shape),
        "inverted": x.max() - x,
        "fractions": x / 255,
        "other units": 10 * x,
        "blank": np.full_like(x, x.max()),
        "turned": x.swapaxes(1, 2) if x.ndim == 3 else x[:, ::-1],  # columns in another order
    }[kind]
    model = model_for(train)
    inputs = Inputs.of(model, train)
    found = inputs.warning(model, Dataset("other", other))
    assert f" of {len(new):,} examples (" in found
    assert found.endswith("trust their clusters less.")
    assert inputs.warning(model, Dataset("three", other[:3])) != ""  # few are enough


def test_distances_are_to_the_nearest_other():
    train, new = halves(SETS["wine"], 0)
    model = model_for(train)
    inputs = Inputs.of(model, train)
    scaled = model.scaled(train.x)
    neighbours = NearestNeighbors().fit(scaled)
    own = neighbours.kneighbors(scaled, 2)[0][:, 1]
    assert inputs.farthest == pytest.approx(np.quantile(own, 0.999), rel=1e-5)
    far = neighbours.kneighbors(model.scaled(new.x), 1)[0][:, 0] > inputs.farthest
    assert not (far & ~inputs.unlike(model, new)).any()


def test_wide_examples_are_projected_and_few_kept():
    x = np.random.default_rng(0).integers(0, 256, (2500, 20, 20), np.uint8)
    train = Dataset("wide", x)
    model = model_for(train)
    inputs = Inputs.of(model, train)
    assert inputs.kept.shape == (834, 64)  # every third
    distance = np.linalg.norm(inputs.kept[:50, None] - inputs.kept[None, :50], axis=-1)
    flat = (x[::3][:50] / 255).reshape(50, -1)
    true = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    np.testing.assert_allclose(distance[true > 0] / true[true > 0], 1, atol=0.4)


def test_the_chance_is_that_of_order_statistics(rng):
    inputs = Inputs(np.zeros((30, 2)), np.float32(0), np.zeros((2, 1)))  # three limits
    drawn = np.sort(rng.uniform(size=(20_000, 30)))
    beyond = drawn[:, 2]  # as likely as the three outermost of 30 gaps, each between neighbours
    counts = rng.binomial(10, beyond)
    for unlike in (1, 3, 5):
        assert inputs.chance(10, unlike) == pytest.approx((counts >= unlike).mean(), abs=0.015)


def smooth(n, seed):
    """Images as varied as photos are, bytes [n, 16, 16, 3]: a few large spots each."""
    spots = np.random.default_rng(seed).uniform(0, 256, (n, 2, 2, 3))
    return spots.repeat(8, 1).repeat(8, 2).astype(np.uint8)


def test_an_image_is_told_by_its_neighbouring_pixels(rng):
    train = Dataset("photos", smooth(400, 0))
    model = model_for(train)
    inputs = Inputs.of(model, train)._replace(farthest=np.float32(np.inf))  # so that distance tells nothing
    shuffled = rng.permuted(train.x.reshape(400, 256, 3), axis=1).reshape(train.x.shape)  # the same values at other places
    assert "400 of 400 examples (100%)" in inputs.warning(model, Dataset("shuffled", shuffled))
    assert inputs.warning(model, Dataset("more", smooth(100, 1))) == ""


def test_images_without_contrast_are_told_though_the_darkest_are_near():
    train = Dataset("digits", SETS["digits"])
    model = model_for(train)
    inputs = Inputs.of(model, train)
    assert "20 of 20 examples" in inputs.warning(model, Dataset("black", np.zeros((20, 8, 8), np.uint8)))
