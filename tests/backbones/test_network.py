"""Backbones by name and from files: their features against NumPy and Keras, and what is refused."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf.backbones import load_backbone
from nvisa_tf.backbones.identity import difference
from nvisa_tf.backbones.pixels import scaled_pixels
from nvisa_tf.config.backbones import APPLICATIONS, application

WIDTH = 5  # of the small network


@pytest.mark.parametrize(("pixels", "mode"), [("symmetric", "tf"), ("imagenet", "torch")])
def test_pixels_are_scaled_as_by_keras(pixels, mode, photos):
    theirs = keras.src.applications.imagenet_utils.preprocess_input(photos.astype(np.float32), mode=mode)
    np.testing.assert_allclose(scaled_pixels(photos.astype(np.float32), pixels), theirs, atol=1e-6)


def test_pixels_from_0_to_255_and_to_1(photos):
    np.testing.assert_array_equal(scaled_pixels(photos, "bytes"), photos)
    assert (scaled_pixels(np.full((1, 1, 1, 3), 255.0), "unit") == 1).all()


def test_a_keras_file_gives_the_average_of_its_map(keras_file, by_numpy, photos):
    backbone = load_backbone(keras_file, pixels="symmetric")
    assert (backbone.name, backbone.shape, backbone.width, backbone.pixels) == ("small.keras", (32, 32, 3), WIDTH, "symmetric")
    np.testing.assert_allclose(backbone.features(photos), by_numpy(photos), atol=1e-5)


def test_a_tflite_file_gives_the_same(tflite_file, by_numpy, photos):
    backbone = load_backbone(tflite_file, pixels="symmetric")
    assert (backbone.shape, backbone.width, backbone.model) == ((32, 32, 3), WIDTH, None)
    np.testing.assert_allclose(backbone.features(photos), by_numpy(photos), atol=1e-5)


@pytest.mark.parametrize("pixels", ["", "symmetric"])
def test_a_quantized_tflite_file_takes_bytes_as_they_are(byte_file, by_numpy, photos, pixels):
    found = load_backbone(byte_file, pixels=pixels).features(photos)
    np.testing.assert_allclose(found, by_numpy(photos), atol=0.03)


def test_the_hash_is_of_the_weights(keras_file, network, kernel, tmp_path):
    other = keras.models.clone_model(network)
    other.set_weights([kernel + 1])
    other.save(tmp_path / "small.keras")
    hashes = [load_backbone(str(path), pixels="unit").weights_sha256 for path in (keras_file, tmp_path / "small.keras", keras_file)]
    assert hashes[0] == hashes[2] != hashes[1]


def test_the_same_weights_in_other_layers_are_another_network(network, kernel, photos, tmp_path):
    def saved(name, activation, scaling):
        layer = keras.layers.Conv2D(WIDTH, 1, activation=activation, use_bias=False)
        model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Rescaling(scaling), layer])
        layer.set_weights([kernel])
        (tmp_path / name).mkdir()
        model.save(tmp_path / name / "one.keras")
        return load_backbone(str(tmp_path / name / "one.keras"))

    one, same, scaled, tanh = (
        saved(*of) for of in (("a", "relu", 1 / 255), ("b", "relu", 1 / 255), ("c", "relu", 1 / 127), ("d", "tanh", 1 / 255))
    )
    assert difference(one.about(), same.about()) == ""
    for other in (scaled, tanh):
        assert other.weights_sha256 == one.weights_sha256
        assert difference(one.about(), other.about()) == "has the same weights in other layers"
    old = {name: value for name, value in one.about().items() if name != "probe"}
    assert difference(old, tanh.about()) == ""  # nothing to compare it by
    assert len({backbone.file_sha256 for backbone in (one, scaled, tanh)}) == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "b.keras"}, "is another network (a.keras, not b.keras)"),
        ({"weights_sha256": "1"}, "has other weights"),
        ({"pixels": "unit"}, "is given pixels in another way"),
        ({"shape": [64, 64, 3]}, "takes photos of another size (32 x 32, not 64 x 64 pixels)"),
        ({"probe": [1.0, -2.1]}, "has the same weights in other layers"),
        ({"probe": [1.001, -2.0]}, ""),
    ],
)
def test_what_two_backbones_differ_in(changed, message):
    about = {"name": "a.keras", "weights_sha256": "0", "pixels": "own", "shape": [32, 32, 3], "probe": [1.0, -2.0]}
    assert difference(about, {**about, **changed}) == message


def test_a_layer_of_python_code_is_not_run(tmp_path):
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Lambda(lambda x: x / 255), keras.layers.GlobalAveragePooling2D()])
    model.save(tmp_path / "code.keras")
    with pytest.raises(ValueError, match=r"code\.keras has a layer of Python code \(Lambda\), which is never run; put layers such as"):
        load_backbone(str(tmp_path / "code.keras"), pixels="unit")


def test_a_tflite_file_for_photos_of_any_size_is_refused(tmp_path):
    function = tf.function(lambda x: tf.reduce_mean(x, (1, 2)))
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function(tf.TensorSpec([1, None, None, 3], tf.float32))]
    )
    (tmp_path / "any.tflite").write_bytes(converter.convert())
    with pytest.raises(ValueError, match=r"any\.tflite takes photos of any size; export it again for one"):
        load_backbone(str(tmp_path / "any.tflite"), pixels="unit")


def test_a_file_that_scales_its_pixels_itself_is_given_them_as_they_are(network, by_numpy, photos, tmp_path):
    scaling = keras.layers.Rescaling(1 / 127.5, -1.0)
    keras.Sequential([keras.Input((32, 32, 3)), scaling, *network.layers]).save(tmp_path / "own.keras")
    backbone = load_backbone(str(tmp_path / "own.keras"))
    assert backbone.pixels == "own"
    np.testing.assert_allclose(backbone.features(photos), by_numpy(photos), atol=1e-5)


def test_a_network_for_photos_of_any_size_takes_the_one_that_is_asked_for(tmp_path):
    layer = keras.layers.Conv2D(WIDTH, 1, use_bias=False)
    keras.Sequential([keras.Input((None, None, 3)), layer]).save(tmp_path / "any.keras")
    with pytest.raises(ValueError, match=r"any\.keras takes photos of any size; say which by backbone_size"):
        load_backbone(str(tmp_path / "any.keras"), pixels="unit")
    assert load_backbone(str(tmp_path / "any.keras"), pixels="unit", side=40).shape == (40, 40, 3)


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """MobileNet with random weights, and a file of these."""
    keras.utils.set_random_seed(3)
    model = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    model.save_weights(path)
    return model, str(path)


def test_a_network_of_keras_applications_by_name(mobilenet, photos):
    model, path = mobilenet
    backbone = load_backbone("Mobile_Net", path, side=32)
    assert (backbone.name, backbone.width, backbone.pixels) == ("mobilenet", 1024, "own")
    theirs = model.predict(keras.applications.mobilenet.preprocess_input(photos.astype(np.float32)), verbose=0)
    scale = theirs.max()
    np.testing.assert_allclose(backbone.features(photos) / scale, theirs / scale, atol=1e-4)
    assert np.abs(model.predict(photos.astype(np.float32), verbose=0) - theirs).max() > 0.1 * scale  # without Keras' preprocessing


def test_other_weights_and_a_file_that_is_cut_off_are_refused(mobilenet, tmp_path):
    _, path = mobilenet
    with pytest.raises(ValueError, match="does not hold the weights of vgg16 without its classifier, or is cut off"):
        load_backbone("vgg16", path, side=32)
    cut = tmp_path / "cut.weights.h5"
    cut.write_bytes(Path(path).read_bytes()[:100_000])
    with pytest.raises(ValueError, match="does not hold the weights of mobilenet "):
        load_backbone("mobilenet", str(cut), side=32)
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        load_backbone("mobilenet", "nope.h5", side=32)
    with pytest.raises(ValueError, match=r"must be an \.h5 file"):
        load_backbone("mobilenet", __file__, side=32)


def test_weights_that_cannot_be_fetched_are_named(monkeypatch):
    def offline(**options):
        raise Exception("URL fetch failure on https://host/small_no_top.h5: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr(keras.applications, "MobileNetV3Small", offline)
    monkeypatch.setenv("KERAS_HOME", "/elsewhere")
    message = r"fetch https://host/small_no_top\.h5 where there is a .*, and put it into /elsewhere/models or name it by --backbone-weights"
    with pytest.raises(FileNotFoundError, match=message):
        load_backbone("mobilenetv3small")


def test_every_name_is_one_of_kerass_networks_and_all_of_these_have_one():
    theirs = {name.lower() for name in dir(keras.applications) if name[0].isupper()}
    assert set(APPLICATIONS) == theirs
    for found in APPLICATIONS.values():
        assert hasattr(sys.modules[getattr(keras.applications, found.keras_name).__module__], "preprocess_input")


def test_a_wrong_name_is_told_with_the_nearest():
    with pytest.raises(ValueError, match=r"no backbone 'resnet5'; did you mean resnet50"):
        application("resnet5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"small\.keras does not say which values it wants for pixels; say so by backbone_pixels: bytes, unit"),
        ({"pixels": "rgb"}, "must be one of bytes, unit"),
        ({"pixels": "unit", "side": 64}, "takes photos of 32 x 32 pixels and no others"),
        ({"pixels": "unit", "weights": "w.h5"}, "is a whole network with its weights"),
        ({"pixels": "unit", "side": 8}, "needs 32 at least"),
    ],
)
def test_options_that_do_not_go_with_a_file_are_refused(keras_file, options, message):
    with pytest.raises(ValueError, match=message):
        load_backbone(keras_file, **options)


def test_how_pixels_are_given_to_a_known_network_is_not_chosen():
    with pytest.raises(ValueError, match="How pixels are given to resnet50 is known"):
        load_backbone("resnet50", pixels="unit")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Flatten()]), r"inputs of the shape \[n, 32, 32, 1\]"),
        (lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]), r"inputs of the shape \[n, 8\]"),
        (lambda: keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Reshape((96, 32))]), r"gives \[n, 96, 32\]; a backbone"),
    ],
)
def test_networks_that_take_no_photos_or_give_no_vectors_are_refused(model, message, tmp_path):
    model().save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=message):
        load_backbone(str(tmp_path / "m.keras"), pixels="unit")


@pytest.mark.parametrize("name", ["a.keras", "a.tflite"])
def test_files_that_hold_no_network_are_refused(name, tmp_path, tflite_file):
    path = tmp_path / name
    with pytest.raises(FileNotFoundError, match="There is no backbone"):
        load_backbone(str(path), pixels="unit")
    path.write_bytes(b"nothing at all")
    with pytest.raises(ValueError, match=r"is not a \.keras file, or is cut off|is not a TFLite file"):
        load_backbone(str(path), pixels="unit")
    with pytest.raises(ValueError, match=r"small\.tflite does not say which values"):
        load_backbone(tflite_file)
