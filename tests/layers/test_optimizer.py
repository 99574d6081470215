import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf import NVISA
from nvisa_tf.layers.optimizer import FusedAdam


def apply(optimizer, variables, gradients):
    optimizer.apply(gradients, variables)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 1.0, "beta_1": 0.5}, {"amsgrad": True}, {"weight_decay": 0.1}])
def test_it_takes_the_steps_of_keras_adam(options, jit):
    rng = np.random.default_rng(0)
    shapes = [(7, 5), (3,)]
    sides = []
    for kind in (keras.optimizers.Adam, FusedAdam):
        variables = [keras.Variable(np.ones(shape, np.float32)) for shape in shapes]
        optimizer = kind(keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.9), **options)
        optimizer.build(variables)
        sides.append((optimizer, variables, tf.function(functools.partial(apply, optimizer, variables), jit_compile=jit)))
    for i in range(50):
        gradients = [tf.constant(rng.normal(size=shape, scale=10.0 ** (i % 5 - 3)).astype(np.float32)) for shape in shapes]
        for _, _, step in sides:
            step(gradients)
    (theirs, expected, _), (ours, found, _) = sides
    assert int(ours.iterations) == 50
    for a, b in zip(expected + theirs.variables, found + ours.variables, strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-4, atol=1e-7)
    assert np.abs(expected[0].numpy() - 1).max() > 0.05  # they moved


def test_updates_are_what_apply_would_write():
    rng = np.random.default_rng(0)
    sides = []
    for _ in range(2):
        variables = [keras.Variable(np.ones(shape, np.float32)) for shape in [(7, 5), (3,)]]
        optimizer = FusedAdam(keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.9), global_clipnorm=1.0, beta_1=0.5, use_ema=True)
        optimizer.build(variables)
        sides.append((optimizer, variables))
    (theirs, expected), (ours, found) = sides
    for _ in range(20):
        gradients = [tf.constant(rng.normal(size=v.shape, scale=3.0).astype(np.float32)) for v in expected]
        theirs.apply(gradients, expected)
        for variable, value in ours.updates(gradients, found):
            variable.assign(value)
    for a, b in zip(expected + theirs.variables, found + ours.variables, strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-4, atol=1e-7)
    assert np.abs(expected[0].numpy() - 1).max() > 0.05
    with pytest.raises(ValueError, match="no amsgrad"):
        FusedAdam(amsgrad=True).updates([], [])


def test_moving_averages_stand_in_for_the_weights_and_leave_again():
    variables = [keras.Variable(np.ones(3, np.float32))]
    optimizer = FusedAdam(0.1, use_ema=True, ema_momentum=0.75)
    optimizer.build(variables)
    with optimizer.averages_in_place(variables):  # there are none before the first step
        np.testing.assert_array_equal(variables[0].numpy(), np.ones(3))
    optimizer.finalize_variable_values(variables)
    np.testing.assert_array_equal(variables[0].numpy(), np.ones(3))
    average = np.zeros(3)
    for step in range(40):
        optimizer.apply([tf.constant([1.0, -1.0, 2.0])], variables)
        now = variables[0].numpy().astype(np.float64)
        kept = min(0.75, (1 + step) / (10 + step)) if step else 0.0
        average = kept * average + (1 - kept) * now
    with optimizer.averages_in_place(variables):
        np.testing.assert_allclose(variables[0].numpy(), average, rtol=1e-6)
    np.testing.assert_array_equal(variables[0].numpy(), now.astype(np.float32))
    assert np.abs(average - now).max() > 0.1
    with FusedAdam(0.1).averages_in_place(variables):
        np.testing.assert_array_equal(variables[0].numpy(), now.astype(np.float32))


def test_it_survives_serialization():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(FusedAdam(0.02, global_clipnorm=3.0)))
    assert isinstance(again, FusedAdam)
    assert (float(again.learning_rate), again.global_clipnorm) == (pytest.approx(0.02), 3.0)


def test_adam_by_name_is_this_one(tiny_config):
    model = NVISA(tiny_config)
    model.compile("adam")
    assert isinstance(model.optimizer, FusedAdam)
