import keras
import numpy as np
import pytest

from nvisa_tf import AnnealedLearningRate, StdAnnealing
from nvisa_tf.layers.schedules import FlooredDecay


def test_paper_schedule():
    # eps starts at 1, halves every 100 epochs, floor 1e-4; 469 steps are an epoch of MNIST.
    eps = StdAnnealing.from_epochs(100, 469)
    at_epoch = [float(eps(epoch * 469)) for epoch in (0, 99, 100, 199, 200, 1300, 1400, 5000)]
    np.testing.assert_allclose(at_epoch, [1, 1, 0.5, 0.5, 0.25, 2**-13, 1e-4, 1e-4], rtol=1e-6)
    assert float(eps(46_899)) == 1.0
    assert float(eps(46_900)) == 0.5


def test_exponential_is_smooth_and_meets_the_marks():
    eps = StdAnnealing(10, mode="exponential")
    values = np.array([float(eps(s)) for s in range(31)])
    np.testing.assert_allclose(values, 0.5 ** (np.arange(31) / 10), rtol=1e-6)


@pytest.mark.parametrize("halving", [3.3, 0.7 * 11, 1 / 3 * 30])
def test_staircase_halves_at_the_first_step_past_each_mark(halving):
    eps = StdAnnealing(halving)
    for k in range(1, 9):
        mark = int(np.ceil(k * halving - 1e-6))
        assert float(eps(mark)) == pytest.approx(0.5**k)
        assert float(eps(mark - 1)) == pytest.approx(0.5 ** (k - 1))


def test_exact_beyond_float32_integers():
    eps = StdAnnealing(2**24 + 1)
    assert float(eps(2**24)) == 1.0
    assert float(eps(2**24 + 1)) == 0.5


def test_constant():
    assert [float(StdAnnealing.constant(1e-4)(s)) for s in (0, 7)] == [pytest.approx(1e-4)] * 2


@pytest.mark.parametrize("bad", [{"mode": "linear"}, {"halving_steps": 0.5}, {"floor": 2.0}, {"floor": -1.0}])
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match="must"):
        StdAnnealing(**{"halving_steps": 10, **bad})


def test_learning_rate_follows_eps_and_halves():
    eps = StdAnnealing(10, mode="exponential")
    rate = AnnealedLearningRate(1e-3, halving_steps=20, annealing=eps, eps_power=0.5, floor=2e-5)
    np.testing.assert_allclose([float(rate(s)) for s in (0, 10, 20, 400)], [1e-3, 1e-3 * 0.5**0.5, 1e-3 * 0.25, 2e-5], rtol=1e-5)


def test_serialization():
    rate = AnnealedLearningRate(1e-3, 7, StdAnnealing(10, 2.0, 1e-3, "exponential"), 0.5, 1e-6)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(rate))
    assert [float(again(s)) for s in (0, 5, 50)] == [float(rate(s)) for s in (0, 5, 50)]


@pytest.mark.parametrize(("old", "new"), [("step", "staircase"), ("geometric", "exponential")])
def test_files_with_other_words_for_the_modes_are_read(old, new):
    config = StdAnnealing(10, 2.0, 1e-3, new).get_config()
    assert config["mode"] == new
    assert StdAnnealing.from_config({**config, "mode": old}).get_config() == config


def test_a_decay_at_marks_with_a_floor():
    rate = FlooredDecay(2e-3, 30, 0.9, 2e-4)  # VaDE's
    found = [float(rate(step)) for step in (0, 29, 30, 59, 60, 30 * 21, 30 * 22, 10_000)]
    np.testing.assert_allclose(found, [2e-3, 2e-3, 1.8e-3, 1.8e-3, 1.62e-3, 2e-3 * 0.9**21, 2e-4, 2e-4], rtol=1e-5)
