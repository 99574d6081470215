"""What lies in a folder of images: nested, linked, unreadable, or no image at all."""

import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from nvisa_tf.io.image_folders import Tally, find_images, left_out_sentences, without_images
from nvisa_tf.io.images import ImageRead


@pytest.fixture
def tree(tmp_path):
    """A function that makes image files and gives the folder."""

    def make(*names):
        for name in names:
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 4), 9, np.uint8)).save(path, "PNG")
        return tmp_path / "photos"

    return make


def names(found):
    return [file.name for file, why in found.files if not why]


def unusable(found):
    return {file.name: why for file, why in found.files if why}


def test_files_come_in_the_order_of_their_paths(tree):
    folder = tree("b.png", "a/z.png", "a-b/c.png", "a/deep/er/y.png", "B.PNG", ".hidden/x.png", "a/.y.png")
    expected = sorted(p for p in folder.rglob("*") if p.is_file() and "/." not in str(p))
    found = find_images(folder)
    assert names(found) == ["B.PNG", "a/deep/er/y.png", "a/z.png", "a-b/c.png", "b.png"]
    assert names(found) == [path.relative_to(folder).as_posix() for path in expected]
    assert [file.path for file, _ in found.files] == expected
    assert not found.others


def test_what_is_no_image_is_counted_by_suffix_unless_its_content_is_one(tree):
    folder = tree("a.png", "picture", "b.data")
    for name in ("notes.txt", "more.TXT", "LICENSE", "empty.csv", "broken.jpg"):
        (folder / name).write_text("words" * (name != "empty.csv"))
    found = find_images(folder)
    assert names(found) == ["a.png", "b.data", "broken.jpg", "picture"]  # a broken image is one that cannot be read
    assert found.others == {".txt": 2, "without a suffix": 1, ".csv": 1}


def test_links_to_files_and_folders_are_followed(tree, tmp_path):
    folder = tree("cat/1.png")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "in").mkdir(parents=True)
    for name in ("2.png", "in/3.png"):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(elsewhere / name)
    (folder / "dog").symlink_to(elsewhere)
    (folder / "wolf").symlink_to(elsewhere)
    (folder / "cat" / "4.png").symlink_to(elsewhere / "2.png")
    assert names(find_images(folder)) == ["cat/1.png", "cat/4.png", "dog/2.png", "dog/in/3.png", "wolf/2.png", "wolf/in/3.png"]
    linked = tmp_path / "link"
    linked.symlink_to(folder)
    assert names(find_images(linked)) == names(find_images(folder))


def test_links_that_lead_round_in_circles_are_named(tree, tmp_path):
    folder = tree("a/1.png")
    (folder / "a" / "up").symlink_to(folder)
    assert names(find_images(folder)) == ["a/1.png"]
    assert unusable(find_images(folder)) == {"a/up": "it links to a folder that it lies in"}
    (folder / "a" / "up").unlink()
    (folder / "b").mkdir()
    (folder / "a" / "b").symlink_to(folder / "b")
    (folder / "b" / "a").symlink_to(folder / "a")
    assert names(find_images(folder)) == ["a/1.png", "b/a/1.png"]
    assert list(unusable(find_images(folder))) == ["a/b/a", "b/a/b"]


def test_links_that_lead_nowhere_are_named(tree):
    folder = tree("a/1.png")
    (folder / "gone").symlink_to(folder / "nothing")
    (folder / "self.png").symlink_to(folder / "self.png")
    assert names(find_images(folder)) == ["a/1.png"]
    assert unusable(find_images(folder)) == {"gone": "it links to what is not there", "self.png": "it links to what is not there"}


def test_a_folder_that_cannot_be_opened_is_named(tree, monkeypatch):
    folder = tree("a.png", "shut/b.png")
    listed = os.listdir

    def listdir(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "listdir", listdir)  # root may open any
    assert unusable(find_images(folder)) == {"shut": "the folder cannot be opened (Permission denied)"}


def test_names_are_text_whatever_their_bytes(tree):
    folder = tree("caf\u00e9 \U0001f600.png")
    raw = os.path.join(os.fsencode(folder), b"caf\xe9.png")
    os.link(folder / "caf\u00e9 \U0001f600.png", raw)
    assert sorted(names(find_images(folder))) == sorted(["caf\u00e9 \U0001f600.png", "caf\\xe9.png"])
    assert all(file.path.is_file() for file, _ in find_images(folder).files)


def test_a_whole_file_system_is_refused():
    with pytest.raises(ValueError, match=r"^/ is the whole file system; give the folder of your images\.$"):
        find_images("/")


def test_what_is_left_out_is_said_in_two_sentences():
    left_out = [(f"{i}.png", "it is empty") for i in range(7)]
    others = Counter({".txt": 4, ".md": 1})
    first, second = left_out_sentences(left_out, others)
    assert first.startswith("Left out, as unreadable: 0.png (it is empty), 1.png (it is empty)")
    assert first.endswith("4.png (it is empty) and 2 more.")
    assert second == "Passed over, as no images: 4 .txt, 1 .md."
    assert left_out_sentences([], Counter()) == []
    assert "but 4 .txt, 1 .md; give one with images" in without_images("x", [], others)
    assert without_images("x", left_out, others).endswith("of 7 files the first is 0.png (it is empty).")


def test_deep_images_and_first_frames_are_counted():
    tally = Tally()
    for value, deep, frames in ((9, False, False), (15, True, False), (200, False, True), (12, True, True)):
        assert (tally.add(ImageRead(np.full((2, 2), value, np.uint8), deep, frames)) == value).all()
    assert tally.sentences() == [
        "Images of more than 8 bits a value are scaled to 8 bits, by the range of their format: 2.",
        "Their largest value is then 15 of 255, so they are nearly black; scale them to the whole range first, or give a .npy file.",
        "Of files with several pages or frames the first is taken: 2.",
    ]
    assert len(Tally(deep=1, brightest=200).sentences()) == 1
    assert Tally().sentences() == []
