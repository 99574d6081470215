import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from nvisa_tf import Dataset, input_scaling

RNG = np.random.default_rng(0)


def scaled(x, method="auto", **kwargs):
    scale, shift = input_scaling(Dataset("d", x, **kwargs), method)
    return x.reshape(len(x), -1) * scale + shift


def test_bytes_by_their_maximum():
    x = RNG.integers(0, 200, (5, 4, 4)).astype(np.uint8)
    np.testing.assert_allclose(scaled(x, max_value=255.0), x.reshape(5, -1) / 255, rtol=1e-6)


def test_unit_floats_stay():
    x = RNG.uniform(size=(5, 7))
    np.testing.assert_array_equal(scaled(x), x)


def test_other_vectors_are_standardized_like_scikit_learn(monkeypatch):
    x = RNG.normal(3, 5, (200, 7)) * np.arange(7) * [1, 1, 1, 1, 1, 1, 1e-9]  # the first dimension is constant, the last small
    x[:, -1] -= 3 * 5e-9
    monkeypatch.setattr("nvisa_tf.data.dataset.CHUNK", 7)
    np.testing.assert_allclose(scaled(x), StandardScaler().fit_transform(x), atol=1e-5)
    expected = (x[:, 1:6] - x[:, 1:6].mean(0)) / x[:, 1:6].std(0)
    np.testing.assert_allclose(scaled(x)[:, 1:6], expected, atol=1e-5)


def test_other_images_are_brought_to_0_1():
    x = RNG.normal(3, 5, (20, 4, 4))
    got = scaled(x)
    assert (got.min(), got.max()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))


def test_unknown_method():
    with pytest.raises(ValueError, match="must be auto"):
        scaled(np.ones((2, 2)), "robust")
