import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf import NVISA
from nvisa_tf.optimizer import FusedAdam


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
        optimizer = FusedAdam(keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.9), global_clipnorm=1.0, beta_1=0.5)
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


def test_it_survives_serialization():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(FusedAdam(0.02, global_clipnorm=3.0)))
    assert isinstance(again, FusedAdam)
    assert (float(again.learning_rate), again.global_clipnorm) == (pytest.approx(0.02), 3.0)


def test_adam_by_name_is_this_one(tiny_config):
    model = NVISA(tiny_config)
    model.compile("adam")
    assert isinstance(model.optimizer, FusedAdam)
