"""The estimator on photos: images or paths in, clusters by a backbone's vectors out."""

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone

from nvisa_tf import NVISAClustering

OPTIONS = {"epochs": 5, "batch_size": 8, "encoder_units": (8,), "backbone_pixels": "unit"}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("backbone") / "small.keras"
    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(6, 3, strides=2, activation="relu")]).save(path)
    return str(path)


@pytest.fixture(scope="module")
def photos():
    random = np.random.default_rng(0)
    colours = np.array([[200, 40, 40], [40, 40, 200]])[np.arange(24) % 2]
    return np.clip(colours[:, None, None] + random.normal(0, 30, (24, 40, 50, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def fitted(backbone, photos):
    return NVISAClustering(2, method="ae_gmm", backbone=backbone, options=OPTIONS).fit(photos)


def test_images_files_and_floats_give_the_same(fitted, photos, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(24)]
    for path, photo in zip(paths, photos, strict=True):
        Image.fromarray(photo).save(path)
    assert (fitted.n_features_in_, fitted.model_.config.input_shape) == (6, (6,))
    np.testing.assert_array_equal(fitted.predict(paths), fitted.labels_)
    np.testing.assert_array_equal(fitted.predict([str(path) for path in paths]), fitted.labels_)
    np.testing.assert_array_equal(fitted.predict(photos / 255.0), fitted.labels_)


def test_the_vectors_are_those_of_the_backbone(fitted, backbone, photos):
    from nvisa_tf.config.run import DataConfig
    from nvisa_tf.data.photos import features_in_memory

    x = features_in_memory(photos, DataConfig(backbone=backbone, backbone_pixels="unit"))
    square = np.stack(
        [np.asarray(Image.fromarray(photo).resize((32, 32), Image.Resampling.BILINEAR, box=(5, 0, 45, 40))) for photo in photos]
    )
    network = keras.models.load_model(backbone)
    np.testing.assert_allclose(x, network.predict(square / 255.0, verbose=0).mean((1, 2)), atol=1e-5)
    same = {name: value for name, value in OPTIONS.items() if name != "backbone_pixels"}
    plain = NVISAClustering(2, method="ae_gmm", options=same).fit(x)
    np.testing.assert_array_equal(plain.labels_, fitted.labels_)


def test_it_is_cloned_with_its_backbone(fitted, backbone):
    assert clone(fitted).get_params()["backbone"] == backbone


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 7)), r"examples of the shape \[7\]; a backbone needs images"),
        (["nope.png"], "nope.png cannot be read as an image"),
    ],
)
def test_what_is_no_photo_is_refused(fitted, x, message):
    with pytest.raises(ValueError, match=message):
        fitted.predict(x)


def test_options_of_a_backbone_need_one(photos):
    with pytest.raises(ValueError, match="options has backbone_pixels, which goes with a backbone"):
        NVISAClustering(2, method="ae_gmm", options=OPTIONS).fit(photos)
