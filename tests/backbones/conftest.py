"""A small convolutional network as .keras and .tflite files, and what it gives by NumPy alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

WIDTH = 5


@pytest.fixture(scope="session")
def kernel():
    return np.random.default_rng(0).normal(size=(1, 1, 3, WIDTH)).astype(np.float32)


@pytest.fixture(scope="session")
def network(kernel):
    layer = keras.layers.Conv2D(WIDTH, 1, activation="relu", use_bias=False)
    model = keras.Sequential([keras.Input((32, 32, 3)), layer])
    layer.set_weights([kernel])
    return model


@pytest.fixture(scope="session")
def keras_file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("backbone") / "small.keras"
    network.save(path)
    return str(path)


@pytest.fixture(scope="session")
def tflite_file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("backbone") / "small.tflite"
    network.export(path, format="litert", verbose=False)
    return str(path)


@pytest.fixture(scope="session")
def byte_file(kernel, tmp_path_factory):
    """The same network with bytes for pixels, quantized."""
    path = tmp_path_factory.mktemp("backbone") / "bytes.tflite"
    function = tf.function(lambda x: tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID")))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(tf.TensorSpec([1, 32, 32, 3], tf.float32))])
    some = np.random.default_rng(1).uniform(-1, 1, (20, 1, 32, 32, 3)).astype(np.float32)
    some[0, 0, 0, 0], some[0, 0, 0, 1] = -1, 1
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([photo] for photo in some)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    path.write_bytes(converter.convert())
    return str(path)


@pytest.fixture(scope="session")
def by_numpy(kernel):
    """The network's features in float64: a 1x1 convolution of pixels from -1 to 1, ReLU, the average of all places."""

    def features(photos):
        values = np.einsum("bhwc,cf->bhwf", np.asarray(photos, np.float64) / 127.5 - 1, kernel[0, 0].astype(np.float64))
        return np.maximum(values, 0).mean((1, 2))

    return features


@pytest.fixture
def photos():
    return np.random.default_rng(2).integers(0, 256, (7, 32, 32, 3)).astype(np.uint8)
