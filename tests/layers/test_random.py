import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import chisquare

from nvisa_tf.layers.random import categories


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_frequencies_are_the_probabilities(dtype):
    probabilities = np.array([[0.5, 0.3, 0.15, 0.05], [0.001, 0.009, 0.09, 0.9]])
    logits = tf.constant(np.log(probabilities) + np.array([[7.0], [-30.0]]), dtype)  # up to a constant
    drawn = categories(logits, 200_000, tf.constant([3, 4])).numpy()
    assert (drawn.shape, drawn.dtype) == ((200_000, 2), np.int32)
    for column, expected in zip(drawn.T, probabilities, strict=True):
        assert chisquare(np.bincount(column, minlength=4), 200_000 * expected).pvalue > 1e-4


def test_draws_are_independent_and_seeded():
    logits = tf.zeros([2, 3])
    drawn = categories(logits, 30_000, tf.constant([0, 1])).numpy()
    pairs = np.bincount(3 * drawn[:, 0] + drawn[:, 1], minlength=9)
    neighbours = np.bincount(3 * drawn[:-1, 0] + drawn[1:, 0], minlength=9)
    assert chisquare(pairs).pvalue > 1e-4
    assert chisquare(neighbours).pvalue > 1e-4
    np.testing.assert_array_equal(drawn, categories(logits, 30_000, tf.constant([0, 1])))
    assert (drawn != categories(logits, 30_000, tf.constant([0, 2])).numpy()).any()


@pytest.mark.parametrize("compiled", [False, True])
def test_the_impossible_is_not_drawn_and_nan_stays_in_range(compiled):
    logits = tf.constant([[0.0, -np.inf, 1.0], [np.nan, 0.0, 0.0], [np.nan] * 3])
    drawn = tf.function(categories, jit_compile=compiled)(logits, 10_000, tf.constant([5, 6])).numpy()
    assert set(drawn[:, 0]) == {0, 2}
    assert drawn.min() >= 0
    assert drawn.max() <= 2
