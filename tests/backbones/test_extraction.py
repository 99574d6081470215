"""Features of many photos: kept, gone on with after a kill, made once; and the folders and arrays that they are of."""

import json
import os
import shutil

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from nvisa_tf.backbones import ArrayPhotos, Backbone, FolderPhotos, extract
from nvisa_tf.backbones.extraction import cache_folder
from nvisa_tf.data.folders import classes
from nvisa_tf.io.files import description_of


class Sums:
    """A backbone whose features are the sums of each colour; it counts the photos, and ends where it is told to."""

    def __init__(self, ends_after=10**9):
        self.photos, self.ends_after = 0, ends_after
        self.backbone = Backbone("sums", (32, 32, 3), 3, "0", "own", self.features)

    def features(self, photos):
        if self.photos >= self.ends_after:
            raise KeyboardInterrupt
        self.photos += len(photos)
        return photos.sum((1, 2), dtype=np.float32)


@pytest.fixture
def x():
    return np.random.default_rng(0).integers(0, 256, (23, 32, 32, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, x):
    for i, photo in enumerate(x):
        (tmp_path / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(tmp_path / "photos" / "ab"[i % 2] / f"{i:02}.png")
    return tmp_path / "photos"


def of_folder(folder):
    return FolderPhotos(str(folder), classes, "crop")


def quiet(text):
    pass


def test_features_are_in_the_order_of_the_photos_and_described(x, tmp_path):
    photos = ArrayPhotos("x", x, 255.0, {"y": list(range(23)), "class_names": [], "n_train": 0}, "crop")
    found = extract(photos, Sums().backbone, quiet, 4, tmp_path)
    values = np.load(found.path, mmap_mode="r")
    assert (values.dtype, values.shape) == (np.float32, (23, 3))
    np.testing.assert_array_equal(values, x.sum((1, 2)))
    about = json.loads(description_of(found.path).read_text())
    assert (about["n"], about["width"], about["y"], about["backbone"]["name"]) == (23, 3, list(range(23)), "sums")
    assert {path.name for path in tmp_path.iterdir()} == {found.path.name, description_of(found.path).name}


def test_nothing_is_made_twice_and_a_change_makes_it_anew(folder, tmp_path):
    sums = Sums()
    first = extract(of_folder(folder), sums.backbone, quiet, 8, tmp_path)
    made = sums.photos
    again = extract(of_folder(folder), sums.backbone, quiet, 4, tmp_path)
    assert (again.path, first.was_there, again.was_there, sums.photos) == (first.path, False, True, made)
    os.utime(folder / "a" / "00.png", (1, 1))
    assert extract(of_folder(folder), sums.backbone, quiet, 8, tmp_path).path != first.path
    other = Backbone("sums", (32, 32, 3), 3, "1", "own", sums.features)
    assert not extract(of_folder(folder), other, quiet, 8, tmp_path).was_there


@pytest.mark.parametrize("what", ["value", "end", "description"])
def test_a_damaged_cache_is_told_and_made_again(folder, tmp_path, what):
    first = extract(of_folder(folder), Sums().backbone, quiet, 8, tmp_path)
    good = first.path.read_bytes()
    if what == "value":
        first.path.write_bytes(good[:-4] + b"\xff" * 4)
    elif what == "end":
        first.path.write_bytes(good[:-100])
    else:
        description_of(first.path).write_text(description_of(first.path).read_text()[:100])
    told = []
    again = extract(of_folder(folder), Sums().backbone, told.append, 8, tmp_path)
    assert not again.was_there
    assert told == [f"{folder}: the features in {first.path} are damaged, and are made again"]
    assert again.path.read_bytes() == good
    assert extract(of_folder(folder), Sums().backbone, quiet, 8, tmp_path).was_there


@pytest.mark.parametrize("after", [0, 4, 12, 20])
def test_what_was_stopped_goes_on_bit_for_bit(folder, tmp_path, after):
    whole = extract(of_folder(folder), Sums().backbone, quiet, 4, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        extract(of_folder(folder), Sums(after).backbone, quiet, 4, tmp_path / "stopped")
    sums, told = Sums(), []
    found = extract(of_folder(folder), sums.backbone, told.append, 4, tmp_path / "stopped")
    assert sums.photos == 24 - after
    assert told == ([f"{folder}: going on after {after} of 23 photos"] if after else [])
    assert found.path.read_bytes() == whole.path.read_bytes()
    assert description_of(found.path).read_text() == description_of(whole.path).read_text()


@pytest.mark.parametrize(
    ("file", "spoil"),
    [
        ("features.bin", lambda content: content[:-4]),
        ("features.bin", lambda content: content[:40] + bytes([content[40] ^ 1]) + content[41:]),
        ("state.json", lambda content: content[:20]),
        ("state.json", lambda content: b""),
    ],
)
def test_an_unfinished_file_that_was_damaged_is_begun_again(folder, tmp_path, file, spoil):
    whole = extract(of_folder(folder), Sums().backbone, quiet, 4, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        extract(of_folder(folder), Sums(12).backbone, quiet, 4, tmp_path / "stopped")
    (unfinished,) = (tmp_path / "stopped").glob("*.unfinished")
    (unfinished / file).write_bytes(spoil((unfinished / file).read_bytes()))
    sums, told = Sums(), []
    found = extract(of_folder(folder), sums.backbone, told.append, 4, tmp_path / "stopped")
    assert sums.photos == 24
    assert told == ([f"{folder}: what was made before is damaged, and is made again"] if file == "features.bin" else [])
    assert found.path.read_bytes() == whole.path.read_bytes()


def test_features_that_are_not_finite_are_refused_with_the_photo(folder, tmp_path):
    def features(photos):
        found = photos.sum((1, 2), dtype=np.float32)
        found[photos[:, 0, 0, 0] == odd, 1] = np.nan
        return found

    names = [of_folder(folder).name_of(place) for place in range(23)]
    odd = np.asarray(Image.open(folder / names[13]))[0, 0, 0]
    with pytest.raises(ValueError, match=r"sums gives features of [ab]/\d\d\.png that are NaN or Inf"):
        extract(of_folder(folder), Backbone("sums", (32, 32, 3), 3, "0", "own", features), quiet, 4, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_what_a_killed_process_wrote_without_saying_so_is_made_again(folder, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        extract(of_folder(folder), Sums(8).backbone, quiet, 4, tmp_path)
    (unfinished,) = tmp_path.glob("*.unfinished")
    with open(unfinished / "features.bin", "ab") as file:
        file.write(b"half a row")
    found = extract(of_folder(folder), Sums().backbone, quiet, 4, tmp_path)
    whole = extract(of_folder(folder), Sums().backbone, quiet, 4, tmp_path / "whole")
    assert found.path.read_bytes() == whole.path.read_bytes()


def test_a_photo_that_cannot_be_read_has_no_row_and_shifts_no_other(folder, tmp_path, x):
    (folder / "a" / "02.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(KeyboardInterrupt):
        extract(of_folder(folder), Sums(4).backbone, quiet, 4, tmp_path)
    found = extract(of_folder(folder), Sums().backbone, quiet, 4, tmp_path)
    about = json.loads(description_of(found.path).read_text())
    assert [name for name, _ in about["left_out"]] == ["a/02.png"]
    assert about["ids"][:2] == ["a/00.png", "a/04.png"]
    assert about["rows"] == [0, *range(2, 23)]
    assert (about["y"][:2], about["y"][-1], about["class_names"]) == ([0, 0], 1, ["a", "b"])
    assert any("Left out, as unreadable: a/02.png" in remark for remark in about["remarks"])
    order = [i for i in range(0, 23, 2) if i != 2] + list(range(1, 23, 2))
    np.testing.assert_array_equal(np.load(found.path), x[order].sum((1, 2)))


def test_no_photo_that_can_be_read_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"has no image that can be read; of 1 files the first is a\.png"):
        extract(of_folder(tmp_path / "photos"), Sums().backbone, quiet, 4, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]


def test_two_processes_do_not_make_the_same(folder, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        extract(of_folder(folder), Sums(4).backbone, quiet, 4, tmp_path)
    (unfinished,) = tmp_path.glob("*.unfinished")
    with FileLock(unfinished.with_suffix(".lock")), pytest.raises(ValueError, match="Another process makes these features"):
        extract(of_folder(folder), Sums().backbone, quiet, 4, tmp_path)


def test_a_cache_that_cannot_be_written_is_told(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="name another folder by the environment variable NVISA_TF_CACHE"):
        extract(of_folder(folder), Sums().backbone, quiet, 4, tmp_path / "file")


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NVISA_TF_CACHE", raising=False)
    assert cache_folder() == tmp_path / "nvisa-tf"
    monkeypatch.setenv("NVISA_TF_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_photos_of_other_sizes_are_cut_and_scaled_as_pillow_does(tmp_path):
    photo = np.random.default_rng(1).integers(0, 256, (90, 140, 3)).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.png")
    theirs = np.asarray(Image.fromarray(photo).resize((32, 32), Image.Resampling.BILINEAR, box=(25, 0, 115, 90)))
    np.testing.assert_array_equal(of_folder(tmp_path).read(0, (32, 32, 3)).values, theirs)


@pytest.mark.parametrize(
    ("x", "white", "expected"),
    [
        (np.full((1, 32, 32), 16, np.uint8), 16.0, 255),
        (np.full((1, 32, 32, 1), 0.5, np.float32), 1.0, 128),
        (np.full((1, 32, 32, 3), 7, np.uint8), 255.0, 7),
    ],
)
def test_images_of_any_range_and_grey_ones_become_bytes_of_three_colours(x, white, expected):
    values = ArrayPhotos("x", x, white, {}, "crop").read(0, (32, 32, 3)).values
    assert (values.dtype, values.shape, set(values.ravel())) == (np.uint8, (32, 32, 3), {expected})


def test_arrays_that_are_no_images_are_refused():
    with pytest.raises(ValueError, match=r"examples of the shape \[4\]; a backbone needs images"):
        ArrayPhotos("x", np.zeros((3, 4)), 1.0, {}, "crop")
    with pytest.raises(ValueError, match="image 0 has values from 3 to 3, and 1 is white"):
        ArrayPhotos("x", np.full((1, 32, 32), 3.0), 1.0, {}, "crop").read(0, (32, 32, 3))


def test_one_value_of_many_images_tells_an_array_from_another():
    x = np.zeros((2500, 32, 32), np.uint8)
    other = x.copy()
    other[1001, 5, 5] = 1
    assert ArrayPhotos("x", x, 255.0, {}, "crop").fingerprint() != ArrayPhotos("x", other, 255.0, {}, "crop").fingerprint()


def test_a_copy_of_a_folder_elsewhere_is_the_same_photos(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")  # with the times of change
    assert of_folder(tmp_path / "copy").fingerprint() == of_folder(folder).fingerprint()
