"""Convolutions against loops in NumPy, and what they are joined to."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf import NVISA, NVISAConfig
from nvisa_tf.layers.networks import LayerFactory

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


def shaken(network, rng):
    for weight in network.weights:
        weight.assign(weight + 0.2 * rng.normal(size=weight.shape))
    return network


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_trunk_convolves_the_image_and_goes_on_as_an_mlp(shape, rng):
    trunk = shaken(LayerFactory(0, 0.0).trunk(shape, (4, 6), (5,), "trunk"), rng)
    x = rng.normal(size=(3, np.prod(shape)))
    _, first, second, _, dense = trunk.layers
    for flat, found in zip(x, trunk(x.astype(np.float32)).numpy(), strict=True):
        image = flat.reshape(*shape[:2], -1)
        for layer in (first, second):
            image = relu(convolved(image, *values(layer)))
        kernel, bias = values(dense)
        np.testing.assert_allclose(found, relu(image.reshape(-1) @ kernel + bias, 0.2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_image_comes_from_transposed_convolutions(shape, rng):
    network = shaken(LayerFactory(0, 0.0).image(7, (6, 4), shape, "image"), rng)
    features = rng.normal(size=(3, 7))
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
def test_a_model_of_convolutions_learns_through_all_its_weights(likelihood, rng):
    config = NVISAConfig(
        input_shape=(9, 7), n_clusters=3, latent_dim=2, encoder_units=(16,), posterior_units=8, decoder_units=(), l2=1e-4,
        encoder_filters=(4, 8), decoder_filters=(8, 4), likelihood=likelihood,
    )  # fmt: skip
    model = NVISA(config, seed=1)
    model.compile(n_samples=5, decoder_gradient="resampled")
    x = tf.constant(rng.uniform(size=(20, 63)), tf.float32)
    gradients = model.gradient_step.loss_gradient(x, tf.constant([1, 2])).gradients
    still = {v.path for v, g in zip(model.trainable_variables, gradients, strict=True) if not np.any(g.numpy())}
    assert not still
    assert len(model.losses) == sum(1 for v in model.trainable_variables if v.path.endswith("kernel"))
    assert model.p_x(tf.zeros((4, 20, 2))).mean().shape == (4, 20, 63)


def test_dense_layers_among_convolutions_have_their_precision_and_convolutions_do_not(rng):
    model = NVISA(NVISAConfig(input_shape=(8, 8), latent_dim=2, decoder_units=(), decoder_filters=(4,), decoder_scale="per_dimension"))
    z = rng.normal(size=(20, 2)).astype(np.float32)
    dense, reshape, convolution = model.decoder.loc.layers[:3]
    cut = tf.bfloat16.as_numpy_dtype
    small = relu(z.astype(cut).astype(np.float64) @ dense.kernel.numpy().astype(cut).astype(np.float64), 0.2)
    expected = convolution(small.reshape(-1, *reshape.target_shape).astype(np.float32)).numpy().reshape(20, 64)
    found = model.decoder(tf.constant(z), precision="bfloat16")[0].numpy()
    assert np.abs(found - model.decoder(tf.constant(z))[0]).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=5e-3)


def test_a_keras_file_of_convolutions_answers_alike_whatever_keras_is_set_to(tmp_path, rng):
    model = NVISA(NVISAConfig(input_shape=(8, 6, 3), encoder_filters=(4,), decoder_filters=(4,), encoder_units=(8,), decoder_units=(8,)))
    x = rng.uniform(size=(5, 8, 6, 3)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    keras.backend.set_image_data_format("channels_first")
    try:
        again = keras.saving.load_model(tmp_path / "model.keras")
    finally:
        keras.backend.set_image_data_format("channels_last")
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    np.testing.assert_array_equal(again.reconstruct(x), model.reconstruct(x))


def test_what_is_no_image_has_no_convolutions():
    config = NVISAConfig(encoder_filters=[4])  # before the data are known
    assert config.encoder_filters == (4,)
    with pytest.raises(ValueError, match="encoder_filters is for images, and these examples have the shape 6; leave it out"):
        dataclasses.replace(config, input_shape=(6,))
    with pytest.raises(ValueError, match="decoder_filters is for images, and these examples have the shape 2x3x4x5"):
        NVISAConfig(input_shape=(2, 3, 4, 5), decoder_filters=(4,))
    with pytest.raises(ValueError, match="encoder_filters is 0; it must be at least 1"):
        NVISAConfig(encoder_filters=(0,))
    with pytest.raises(ValueError, match="decoder_filters has 4 filters, and images of 8x5 can be halved 3 times; give at most so many"):
        NVISAConfig(input_shape=(8, 5), decoder_filters=(4,) * 4)
    assert NVISA(NVISAConfig(input_shape=(9, 5), encoder_filters=(4,) * 4)).encoder.layers[4].output.shape[1:] == (1, 1, 4)
