"""The estimator on photos: images or paths in, clusters by a backbone's vectors out."""

import pickle
from pathlib import Path

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


@pytest.mark.parametrize("of", [np.array, lambda paths: np.array(paths, object), lambda paths: pytest.importorskip("pandas").Series(paths)])
def test_paths_come_in_arrays_too(fitted, photos, tmp_path, of):
    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    for path, photo in zip(paths, photos, strict=False):
        Image.fromarray(photo).save(path)
    np.testing.assert_array_equal(fitted.predict(of(paths)), fitted.labels_[:3])


def test_it_keeps_to_its_backbone(backbone, photos, tmp_path, monkeypatch):
    (tmp_path / "own.keras").write_bytes(Path(backbone).read_bytes())
    monkeypatch.chdir(tmp_path)
    estimator = NVISAClustering(2, method="ae_gmm", backbone="own.keras", options=OPTIONS).fit(photos)
    kept = pickle.dumps(estimator)
    monkeypatch.chdir("/")  # the path of then is known
    np.testing.assert_array_equal(pickle.loads(kept).predict(photos), estimator.labels_)
    network = keras.models.load_model(tmp_path / "own.keras")
    network.set_weights([weight + 1 for weight in network.get_weights()])
    network.save(tmp_path / "own.keras")
    with pytest.raises(ValueError, match=r"own\.keras has other weights than when the estimator was fitted; put the one of then in place"):
        pickle.loads(kept).predict(photos)
    monkeypatch.chdir(tmp_path)
    assert NVISAClustering(2, method="ae_gmm", backbone="own.keras", options=OPTIONS).fit(photos).backbone_ != estimator.backbone_


def test_the_vectors_are_those_of_the_backbone(fitted, backbone, photos):
    from nvisa_tf.config.run import DataConfig
    from nvisa_tf.data.photos_in_memory import features_in_memory, load_for

    x = features_in_memory(photos, load_for(DataConfig(backbone=backbone, backbone_pixels="unit")), "crop")
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
        ("photos", "X is one path, photos; give a list of the paths of image files"),
        ([], "X has no images; a backbone needs at least one"),
        ([np.zeros((4, 5, 3)), np.zeros((5, 4, 3))], "X has images of several sizes; bring them to one, or give the paths"),
        (["a.png", np.zeros((4, 5, 3))], "X has paths and other things; give paths alone, or images alone"),
        (np.zeros((40, 50, 3)), r"X has the shape \[40, 50, 3\], as one photo in colour has; give an array of photos, x\[None\] of one"),
        (np.full((2, 4, 5, 3), np.nan), "image 0 has 60 values that are NaN or Inf; fill them first"),
    ],
)
def test_what_is_no_photo_is_refused(fitted, x, message):
    with pytest.raises(ValueError, match=message):
        fitted.predict(x)


def test_options_of_a_backbone_need_one(photos):
    with pytest.raises(ValueError, match="options has backbone_pixels, which goes with a backbone"):
        NVISAClustering(2, method="ae_gmm", options=OPTIONS).fit(photos)
