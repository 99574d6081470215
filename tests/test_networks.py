"""Convolutions against loops in NumPy, and what they are joined to."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf import NVISA, ModelConfig
from nvisa_tf.networks import LayerFactory

RNG = np.random.default_rng(0)
SHAPES = [(8, 8), (9, 7, 3), (5, 6, 1)]


def relu(values, slope=0.0):
    return np.where(values > 0, values, slope * values)


def convolved(image, kernel, bias):
    """[h, w, c] with [3, 3, c, n] at every second place of the image, which lies in the middle of zeros."""
    sides = [-(-side // 2) for side in image.shape[:2]]
    added = [2 * (n - 1) + 3 - side for n, side in zip(sides, image.shape[:2], strict=True)]
    image = np.pad(image, [*((n // 2, n - n // 2) for n in added), (0, 0)])
    found = [
        [np.einsum("abc,abcn->n", image[2 * i : 2 * i + 3, 2 * j : 2 * j + 3], kernel) for j in range(sides[1])] for i in range(sides[0])
    ]
    return np.array(found) + bias


def spread(small, kernel, bias):
    """[h, w, c] with [3, 3, n, c]: every pixel paints its own 3 by 3, two apart, on an image of [2 h, 2 w, n]."""
    image = np.zeros((2 * small.shape[0] + 1, 2 * small.shape[1] + 1, kernel.shape[2]))
    for i, row in enumerate(small):
        for j, pixel in enumerate(row):
            image[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += kernel @ pixel
    return image[:-1, :-1] + bias


def values(layer):
    return [weight.numpy().astype(np.float64) for weight in layer.weights]


def shaken(network):
    for weight in network.weights:
        weight.assign(weight + 0.2 * RNG.normal(size=weight.shape))
    return network


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_trunk_convolves_the_image_and_goes_on_as_an_mlp(shape):
    trunk = shaken(LayerFactory(0, 0.0).trunk(shape, (4, 6), (5,), "trunk"))
    x = RNG.normal(size=(3, np.prod(shape)))
    _, first, second, _, dense = trunk.layers
    for flat, found in zip(x, trunk(x.astype(np.float32)).numpy(), strict=True):
        image = flat.reshape(*shape[:2], -1)
        for layer in (first, second):
            image = relu(convolved(image, *values(layer)))
        kernel, bias = values(dense)
        np.testing.assert_allclose(found, relu(image.reshape(-1) @ kernel + bias, 0.2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_image_comes_from_transposed_convolutions(shape):
    network = shaken(LayerFactory(0, 0.0).image(7, (6, 4), shape, "image"))
    features = RNG.normal(size=(3, 7))
    dense, reshape, first, second = network.layers[:4]
    kernel, bias = values(dense)
    for one, found in zip(features, network(features.astype(np.float32)).numpy(), strict=True):
        small = relu(one @ kernel + bias, 0.2).reshape(reshape.target_shape)
        image = spread(relu(spread(small, *values(first))), *values(second))
        np.testing.assert_allclose(found, image[: shape[0], : shape[1]].reshape(-1), rtol=1e-4, atol=1e-4)


def test_without_filters_the_weights_are_those_of_an_mlp():
    mlp, trunk = LayerFactory(3, 0.0).mlp(12, (5, 4), "a"), LayerFactory(3, 0.0).trunk((4, 3), (), (5, 4), "b")
    for a, b in zip(mlp.get_weights(), trunk.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_a_model_of_convolutions_learns_through_all_its_weights(likelihood):
    config = ModelConfig(
        input_shape=(9, 7), n_clusters=3, latent_dim=2, encoder_units=(16,), posterior_units=8, decoder_units=(), l2=1e-4,
        encoder_filters=(4, 8), decoder_filters=(8, 4), likelihood=likelihood,
    )  # fmt: skip
    model = NVISA(config, seed=1)
    model.compile(n_samples=5, decoder_gradient="resampled", forward_precision="bfloat16")
    x = tf.constant(RNG.uniform(size=(20, 63)), tf.float32)
    gradients = model.loss_gradient(x, tf.constant([1, 2])).gradients
    still = {v.path for v, g in zip(model.trainable_variables, gradients, strict=True) if not np.any(g.numpy())}
    assert not still
    assert len(model.losses) == sum(1 for v in model.trainable_variables if v.path.endswith("kernel"))
    assert model.p_x(tf.zeros((4, 20, 2))).mean().shape == (4, 20, 63)


def test_what_is_no_image_has_no_convolutions():
    config = ModelConfig(encoder_filters=[4])  # before the data are known
    assert config.encoder_filters == (4,)
    with pytest.raises(ValueError, match="encoder_filters is for images, and these examples have the shape 6; leave it out"):
        dataclasses.replace(config, input_shape=(6,))
    with pytest.raises(ValueError, match="decoder_filters is for images, and these examples have the shape 2x3x4x5"):
        ModelConfig(input_shape=(2, 3, 4, 5), decoder_filters=(4,))
    with pytest.raises(ValueError, match="encoder_filters is 0; it must be at least 1"):
        ModelConfig(encoder_filters=(0,))
