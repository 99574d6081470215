"""A folder as a data set: shape, names, labels, what is left out, and what is said of it."""

import numpy as np
import pytest
from PIL import Image

from nvisa_tf.config.run import DataConfig
from nvisa_tf.data import folders
from nvisa_tf.data.folders import choose_size, classes, read_folder
from nvisa_tf.data.loaders import load_splits, read_examples
from nvisa_tf.io.images import Header, load_image

AUTO = DataConfig()


def put(folder, name, values, **options):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(folder / name, **options)


@pytest.fixture
def photos(tmp_path, rng):
    """Six colour photos of 20 x 12 pixels, in three folders."""
    for i, kind in enumerate(("ant", "bee", "cat", "ant", "bee", "cat")):
        put(tmp_path / "photos", f"{kind}/{i}.png", rng.integers(0, 256, (12, 20, 3)).astype(np.uint8))
    return tmp_path / "photos"


def test_a_folder_is_a_data_set_with_names_and_labels(photos):
    data = read_folder(str(photos), AUTO)
    names = ["ant/0.png", "ant/3.png", "bee/1.png", "bee/4.png", "cat/2.png", "cat/5.png"]
    assert data.names.tolist() == names
    np.testing.assert_array_equal(data.x, [np.asarray(Image.open(photos / name)) for name in names])
    assert data.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert (data.name, data.max_value, data.origin.kind, data.origin.id_name) == ("photos", 255.0, "folder", "file")
    assert (data.origin.class_names, data.origin.left_out) == (("ant", "bee", "cat"), ())
    assert data.origin.remarks == (
        "All images have --image-shape 12,20,3 (height, width, colour).",
        "The folders are labels, which only score: ant, bee, cat.",
    )


def test_what_cannot_be_read_shifts_nothing(photos):
    whole = read_folder(str(photos), AUTO)
    half = (photos / "bee" / "1.png").read_bytes()[:300]
    (photos / "bee" / "1.png").write_bytes(half)
    (photos / "ant" / "00.jpg").touch()
    (photos / "dog").symlink_to(photos / "nowhere")
    (photos / "notes.txt").write_text("no image")
    data = read_folder(str(photos), AUTO)
    keep = [0, 1, 3, 4, 5]
    assert data.names.tolist() == whole.names[keep].tolist()
    np.testing.assert_array_equal(data.x, whole.x[keep])
    assert data.y.tolist() == [0, 0, 1, 2, 2]
    assert data.places.tolist() == [0, 2, 4, 5, 6]  # among all 8 files that should be images, in the order of their paths
    assert data.origin.left_out == (
        ("ant/00.jpg", "it is empty"),
        ("bee/1.png", "it is cut short or damaged"),
        ("dog", "it links to what is not there"),
    )
    assert data.origin.remarks[-2:] == (
        "Left out, as unreadable: ant/00.jpg (it is empty), bee/1.png (it is cut short or damaged), dog (it links to what is not there).",
        "Passed over, as no images: 1 .txt.",
    )
    assert data.take(np.array([2, 0])).names.tolist() == ["bee/4.png", "ant/0.png"]
    assert data.take(np.array([2, 0])).places.tolist() == [4, 0]


def test_linked_class_folders_are_classes(photos, tmp_path):
    kept = read_folder(str(photos), AUTO)
    (photos / "cat").rename(tmp_path / "moved")
    (photos / "cat").symlink_to(tmp_path / "moved")
    found = read_folder(str(photos), AUTO)
    np.testing.assert_array_equal(found.x, kept.x)
    np.testing.assert_array_equal(found.y, kept.y)
    assert found.names.tolist() == kept.names.tolist()


@pytest.mark.parametrize("resize", ["pad", "crop", "stretch"])
def test_a_shape_that_is_given_holds(photos, resize):
    for shape in ((8, 8), (8, 8, 1), (8, 10, 3)):
        data = read_folder(str(photos), DataConfig(image_shape=shape, resize=resize))
        np.testing.assert_array_equal(data.x, [load_image(photos / name, shape, resize=resize) for name in data.names])
        assert not any("image-shape" in remark for remark in data.origin.remarks)


def test_colour_is_kept_if_any_image_has_some(tmp_path, rng):
    grey = rng.integers(0, 256, (12, 20)).astype(np.uint8)
    put(tmp_path, "a.png", grey)
    put(tmp_path, "b.png", np.repeat(grey[..., None], 3, 2))  # three equal channels
    data = read_folder(str(tmp_path), AUTO)
    assert (data.shape, data.x.flags.c_contiguous) == ((12, 20), True)
    np.testing.assert_array_equal(data.x, [grey, grey])
    assert data.origin.remarks == ("All images have --image-shape 12,20 (height, width).",)
    np.testing.assert_array_equal(data.x, read_folder(str(tmp_path), DataConfig(image_shape=(12, 20))).x)
    colour = np.repeat(grey[..., None], 3, 2)
    colour[3, 3, 0] ^= 1
    put(tmp_path, "c.png", colour)
    data = read_folder(str(tmp_path), AUTO)
    assert data.shape == (12, 20, 3)
    np.testing.assert_array_equal(data.x[2], colour)


def sizes(*groups):
    return [Header(height, width, True) for (height, width), count in groups for _ in range(count)]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (sizes(((48, 64), 20)), (48, 64)),  # their own
        (sizes(((28, 28), 19), ((100, 30), 1)), (28, 28)),  # of nearly all
        (sizes(((28, 28), 17), ((100, 100), 3)), (28, 28)),  # the usual side is under the longest
        (sizes(((65, 65), 20)), (32, 32)),  # too large
        (sizes(((800, 1000), 20)), (26, 32)),  # one aspect ratio
        (sizes(((1000, 800), 19), ((10, 900), 1)), (32, 26)),
        (sizes(((800, 1000), 10), ((1000, 800), 10)), (32, 32)),  # high and wide
        (sizes(((400, 401), 10), ((900, 901), 10)), (32, 32)),
        (sizes(((20, 10), 5), ((22, 11), 5)), (21, 10)),  # small ones are not blown up
        (sizes(((50, 5000), 20)), (8, 32)),  # a strip
        (sizes(((1, 3), 1)), (1, 3)),
        ([], (32, 32)),  # none can be read, which is said then
    ],
)
def test_the_size_is_chosen_by_the_images(headers, expected):
    assert choose_size(headers) == expected
    assert choose_size(headers[::-1]) == expected


def test_other_sizes_are_said(tmp_path, rng):
    for i in range(4):
        put(tmp_path, f"{i}.png", rng.integers(0, 256, (40 + 30 * i, 90, 3)).astype(np.uint8))
    data = read_folder(str(tmp_path), DataConfig(resize="crop"))
    assert data.shape == (32, 32, 3)
    assert data.origin.remarks == (
        "Images of other sizes come to --image-shape 32,32,3 (height, width, colour), scaled and cut (--resize crop).",
    )
    for i in range(40):
        put(tmp_path, f"own{i}.png", rng.integers(0, 256, (20, 16)).astype(np.uint8))
    assert read_folder(str(tmp_path), AUTO).origin.remarks == (
        "Images come to --image-shape 20,16,3 (height, width, colour), as 40 of 44 are; "
        "the others are scaled with a border (--resize pad).",
    )


@pytest.mark.parametrize(
    ("files", "names", "labels", "words"),
    [
        (["a/1", "b/1", "b/deep/2"], ("a", "b"), [0, 1, 1], "The folders are labels, which only score: a, b."),
        (["a/1", "a/deep/2"], (), None, ""),
        (["1", "2"], (), None, ""),
        (["a/1", "b/1", "3"], (), None, "The folders are not taken as labels, as 1 image lies in none of them, such as 3."),
        (["a/1", "2"], (), None, ""),
        (["test/b/1", "train/a/1", "train/b/1"], ("a", "b"), [1, 0, 1], "The folders test, train are taken together."),
        (["test/1", "train/2"], (), None, "The folders test, train are taken together."),
        (["train/a/1", "train/b/1", "extra/a/1"], ("extra", "train"), [1, 1, 0], "The folders are labels"),
    ],
)
def test_class_folders(files, names, labels, words):
    y, found, said = classes([file.split("/") for file in files])
    assert (found, None if y is None else y.tolist()) == (names, labels)
    assert words in " ".join(said) if words else not said


def test_many_classes_are_not_all_listed():
    _, names, said = classes([[f"k{i:02}", "1"] for i in range(12)])
    assert len(names) == 12
    assert said[0].endswith("k08, k09 and 2 more.")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, r"has no images; give one with images in it, or in the folders within\.$"),
        (lambda p: (p / "a.txt").write_text("x"), r"has no images, but 1 \.txt; give one"),
        (lambda p: (p / "a.png").touch(), r"has no image that can be read; of 1 files the first is a\.png \(it is empty\)\.$"),
    ],
)
def test_a_folder_without_images_is_refused(tmp_path, make, words):
    make(tmp_path)
    for config in (AUTO, DataConfig(image_shape=(8, 8))):
        with pytest.raises(ValueError, match=words):
            read_folder(str(tmp_path), config)


def test_a_shape_of_no_image_is_refused(photos):
    with pytest.raises(ValueError, match=r"shape \[13\] here, which no image file has"):
        read_examples(str(photos), DataConfig(image_shape=(13,)))


def test_files_of_16_bits_and_of_several_frames_are_said_once(tmp_path, rng):
    for i in range(3):
        put(tmp_path, f"{i}.png", rng.integers(0, 65536, (8, 8)).astype(np.uint16))
    frames = [Image.fromarray(rng.integers(0, 256, (8, 8)).astype(np.uint8)) for _ in range(2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    data = read_folder(str(tmp_path), AUTO)
    assert data.shape == (8, 8)
    said = " ".join(data.origin.remarks)
    assert "scaled to 8 bits, by the range of their format: 3." in said
    assert "several pages or frames the first is taken: 1." in said


def test_splits_keep_names_and_the_folder_in_use_has_its_own(photos, monkeypatch):
    splits = load_splits(DataConfig(dataset=str(photos), test_fraction=0.34))
    assert sorted([*splits.train.names, *splits.test.names]) == sorted(read_folder(str(photos), AUTO).names)
    monkeypatch.chdir(photos)
    assert read_folder(".", AUTO).name == "photos"


def test_only_headers_are_read_for_sizes(photos, monkeypatch):
    """Choosing a shape decodes no pixels: with them out of reach it is the same."""
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    found = folders._headers(folders.find_images(photos))
    assert choose_size(found) == (12, 20)
