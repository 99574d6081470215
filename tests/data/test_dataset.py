import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from nvisa_tf import Dataset, input_scaling
from nvisa_tf.data import Origin, check, from_array
from nvisa_tf.data.dataset import of_unit_length


def scaled(x, method="auto", **kwargs):
    scale, shift = input_scaling(Dataset("d", x, **kwargs), method)
    return x.reshape(len(x), -1) * scale + shift


def test_bytes_by_their_maximum(rng):
    x = rng.integers(0, 200, (5, 4, 4)).astype(np.uint8)
    np.testing.assert_allclose(scaled(x, max_value=255.0), x.reshape(5, -1) / 255, rtol=1e-6)


@pytest.mark.parametrize(("top", "scale"), [(1, 1.0), (16, 1 / 16), (63, 1 / 63), (64, 1 / 255), (255, 1 / 255)])
def test_bytes_that_are_all_dark_have_a_format_of_their_own(top, scale):
    x = np.zeros((4, 3, 3), np.uint8)
    x[2, 1, 1] = top
    assert input_scaling(from_array("d", x))[0] == pytest.approx(scale)
    assert from_array("d", x.reshape(4, 9)).max_value == (1 if top == 1 else 255)  # vectors may well be counts


def test_vectors_of_unit_length_are_centred_by_one_scale(rng):
    x = rng.uniform(size=(200, 5)) * [1, 2, 3, 0, 900] + 1  # in [0, 1] or not counts for nothing
    x[7] = 0
    expected = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose(of_unit_length(x), expected, rtol=1e-6)
    scale, shift = input_scaling(Dataset("d", x), unit_length=True)
    found = expected * scale + shift
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-5)
    assert found.var(0).mean() == pytest.approx(1, rel=1e-5)
    assert np.shape(scale) == ()
    for one, other in zip((scale, shift), input_scaling(Dataset("d", expected), "center"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)
    scale, shift = input_scaling(Dataset("d", x), "minmax", unit_length=True)
    assert (expected * scale + shift).min() == pytest.approx(0, abs=1e-6)
    assert (expected * scale + shift).max() == pytest.approx(1, abs=1e-6)


def test_unit_floats_stay(rng):
    x = rng.uniform(size=(5, 7))
    np.testing.assert_array_equal(scaled(x), x)


def test_other_vectors_are_standardized_like_scikit_learn(rng, monkeypatch):
    x = rng.normal(3, 5, (200, 7)) * np.arange(7) * [1, 1, 1, 1, 1, 1, 1e-9]  # the first dimension is constant, the last small
    x[:, -1] -= 3 * 5e-9
    monkeypatch.setattr("nvisa_tf.data.dataset.CHUNK", 7)
    np.testing.assert_allclose(scaled(x), StandardScaler().fit_transform(x), atol=1e-5)
    expected = (x[:, 1:6] - x[:, 1:6].mean(0)) / x[:, 1:6].std(0)
    np.testing.assert_allclose(scaled(x)[:, 1:6], expected, atol=1e-5)


def test_other_images_are_brought_to_0_1(rng):
    x = rng.normal(3, 5, (20, 4, 4))
    got = scaled(x)
    assert (got.min(), got.max()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))


def test_values_that_float32_would_blur_are_refused(rng):
    x = rng.normal(0, 1, (200, 3))
    x[:, 1] = 1.7e9 + 40 * x[:, 1]
    with pytest.raises(ValueError, match=r"value 1 of the examples is about 1\.7e\+09 and differs by about"):
        input_scaling(Dataset("d", x))
    x[:, 1] = 1.7e9  # a constant says nothing, and is nothing that could be blurred
    scale, shift = input_scaling(Dataset("d", x))
    assert np.isfinite(scale).all()
    assert np.isfinite(shift).all()


def test_messages_call_a_value_by_its_column(rng):
    x = rng.normal(0, 1, (200, 3))
    x[:, 1] = 1.7e9 + 40 * x[:, 1]
    named, nameless = (Origin("table", feature_names=names) for names in (("age", "seen at", "size"), ("column 1", "column 2", "column 4")))
    with pytest.raises(ValueError, match=r"^d: column seen at is about 1\.7e\+09"):
        input_scaling(Dataset("d", x, origin=named))
    with pytest.raises(ValueError, match=r"^d: column 2 is about 1\.7e\+09"):
        input_scaling(Dataset("d", x, origin=nameless))
    x[7, 2] = np.nan
    with pytest.raises(ValueError, match=r"1 values that are NaN or Inf, the first in example 7, column size; remove or fill them"):
        check(Dataset("d", x, origin=named))


def test_a_fingerprint_tells_other_values_rows_and_types(rng):
    x = rng.integers(0, 9, (2500, 4))
    own = Dataset("a", x).fingerprint()
    assert own == Dataset("b", x.copy(), y=np.zeros(2500, int)).fingerprint()
    others = (x + 1, x[:-1], x.astype(np.float64), x.reshape(2500, 2, 2), x[::-1])
    assert all(Dataset("a", other).fingerprint() != own for other in others)


def test_unknown_method():
    with pytest.raises(ValueError, match="must be auto"):
        scaled(np.ones((2, 2)), "robust")
