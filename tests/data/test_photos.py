"""Data sets as photos for a backbone, and files of features with what is said beside them."""

import json
from pathlib import Path

import numpy as np
import pytest

from nvisa_tf import load_dataset
from nvisa_tf.backbones import Backbone, extract
from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.photos import photos_of

SHAPE = (32, 32, 3)


@pytest.fixture
def backbone():
    return Backbone("means", SHAPE, 3, "0", "own", lambda photos: photos.mean((1, 2)))


@pytest.fixture
def x():
    return np.random.default_rng(0).integers(0, 256, (12, *SHAPE)).astype(np.uint8)


def features(dataset, backbone, folder):
    return str(extract(photos_of(DataConfig(dataset=str(dataset), resize="crop")), backbone, lambda text: None, 4, folder).path)


def test_features_keep_labels_and_the_own_split(x, backbone, tmp_path):
    y = np.arange(12) % 3
    np.savez(tmp_path / "a.npz", x_train=x[:8], x_test=x[8:], y_train=y[:8], y_test=y[8:])
    splits = load_dataset(features(tmp_path / "a.npz", backbone, tmp_path))
    assert (len(splits.train), len(splits.test)) == (8, 4)
    np.testing.assert_array_equal(np.concatenate([splits.train.y, splits.test.y]), y)
    np.testing.assert_allclose(splits.test.x, x[8:].mean((1, 2)), rtol=1e-6)
    assert splits.train.origin.backbone == {**backbone.about(), "resize": "crop", "made_by": {}}


def test_features_of_a_data_set_known_by_name_keep_its_split(backbone, tmp_path):
    splits = load_dataset(features("digits", backbone, tmp_path))
    assert (len(splits.train), len(splits.test)) == (1437, 360)
    theirs = load_dataset("digits")
    np.testing.assert_array_equal(splits.test.y, theirs.test.y)
    brightest = theirs.train.x.reshape(1437, -1).mean(1).argmax()
    assert splits.train.x[:, 0].argmax() == brightest


def test_names_of_files_and_their_folders_stand_beside_the_features(x, backbone, tmp_path):
    from PIL import Image

    for i in range(12):
        (tmp_path / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[i]).save(tmp_path / "photos" / "ab"[i % 2] / f"{i}.png")
    (tmp_path / "photos" / "a" / "1.jpg").write_bytes(b"nothing")
    data = load_dataset(features(tmp_path / "photos", backbone, tmp_path), split="all").train
    assert list(data.ids[:2]) == ["a/0.png", "a/10.png"]
    assert (data.origin.class_names, data.origin.id_name) == (("a", "b"), "file")
    assert [name for name, _ in data.origin.left_out] == ["a/1.jpg"]
    assert list(data.places) == [0, *range(2, 13)]


def test_what_lies_beside_must_be_of_this_file(x, backbone, tmp_path):
    np.save(tmp_path / "a.npy", x)
    path = features(tmp_path / "a.npy", backbone, tmp_path / "made")
    np.save(path, np.zeros((5, 3), np.float32))
    with pytest.raises(ValueError, match=r"describes 12 examples of 3 values, and .* has \[5, 3\]"):
        load_dataset(path)
    with open(f"{path}.json", "a") as file:
        file.write("}")
    with pytest.raises(ValueError, match="is damaged; make the features again"):
        load_dataset(path)


def test_examples_in_another_order_than_their_names_are_refused(x, backbone, tmp_path):
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(12) % 3)
    path = features(tmp_path / "a.npz", backbone, tmp_path)
    values = np.load(path)
    np.save(path, values)
    assert len(load_dataset(path, split="all").train) == 12  # the same again
    np.save(path, values[::-1].copy())
    with pytest.raises(ValueError, match=r"is not the file that .*\.npy\.json describes, so its names and labels may be of others"):
        load_dataset(path)


@pytest.mark.parametrize("changed", [{"y": [99] * 12}, {"n_train": 500}, {"class_names": ["a"]}])
def test_labels_and_a_split_that_cannot_be_are_refused(x, backbone, tmp_path, changed):
    np.savez(tmp_path / "a.npz", x=x, y=np.array(["a", "b", "c"])[np.arange(12) % 3])
    path = features(tmp_path / "a.npz", backbone, tmp_path)
    about = json.loads(Path(f"{path}.json").read_text())
    Path(f"{path}.json").write_text(json.dumps({**about, **changed}))
    with pytest.raises(ValueError, match="has labels or a split that cannot be; make the features again"):
        load_dataset(path)


def test_as_many_names_as_examples(x, backbone, tmp_path):
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(12) % 3)
    path = features(tmp_path / "a.npz", backbone, tmp_path)
    about = json.loads(Path(f"{path}.json").read_text())
    Path(f"{path}.json").write_text(json.dumps({**about, "y": about["y"][:5]}))
    with pytest.raises(ValueError, match="has not as many names or labels as examples"):
        load_dataset(path)


def test_a_json_file_of_something_else_is_left_alone(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(5, 3)))
    (tmp_path / "a.npy.json").write_text(json.dumps({"n": 7}))
    assert len(load_dataset(tmp_path / "a.npy").train) == 5


def test_a_table_has_no_photos(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is a table; a backbone needs photos"):
        photos_of(DataConfig(dataset=str(tmp_path / "a.csv")))


def test_pictures_are_of_the_photos_and_grey_where_these_are_gone(x, backbone, tmp_path):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.fromarray(x[i]).save(tmp_path / "photos" / f"{i}.png")
    data = load_dataset(features(tmp_path / "photos", backbone, tmp_path), split="all").train
    assert data.pictures.are_there
    np.testing.assert_array_equal(data.pictures.read(1, "1.png", SHAPE), x[1])
    assert data.pictures.read(1, "other.png", SHAPE).std() == 0
    assert data.pictures.remark() == ""
    (tmp_path / "photos" / "2.png").write_bytes(b"nothing")
    assert data.pictures.read(2, "2.png", SHAPE).std() == 0
    assert "are not as they were when their features were made" in data.pictures.remark()
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert load_dataset(features(tmp_path / "moved", backbone, tmp_path), split="all").train.pictures.read(0, "0.png", SHAPE).std() != 0
    assert not data.pictures.are_there
    assert f"The photos are no longer in {tmp_path / 'photos'}, so there are no pictures" in data.pictures.remark()


def test_a_picture_is_found_by_its_name_where_others_have_come(x, backbone, tmp_path):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.fromarray(x[i]).save(tmp_path / "photos" / f"{i}.png")
    data = load_dataset(features(tmp_path / "photos", backbone, tmp_path), split="all").train
    Image.fromarray(x[5]).save(tmp_path / "photos" / "00.png")  # the first by name
    for place in range(3):
        np.testing.assert_array_equal(data.pictures.read(place, f"{place}.png", SHAPE), x[place])


def test_auto_cuts_photos_for_a_backbone_and_pads_images():
    assert (DataConfig(backbone="resnet50").resizing, DataConfig().resizing) == ("crop", "pad")
    assert DataConfig(backbone="resnet50", resize="stretch").resizing == "stretch"
