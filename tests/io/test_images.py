import numpy as np
import pytest
from PIL import Image

from nvisa_tf.io.images import load_folder, load_image

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)


def saved(tmp_path, image, name="i.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize(("values", "shape"), [(GREY, (6, 8)), (GREY, (6, 8, 1)), (COLOUR, (6, 8, 3))])
def test_bytes_come_as_they_are(tmp_path, values, shape):
    path = saved(tmp_path, Image.fromarray(values))
    for resize in (False, True):
        np.testing.assert_array_equal(load_image(path, shape, resize=resize), values.reshape(shape))
    np.testing.assert_array_equal(load_image(path, shape, invert=True), 255 - values.reshape(shape))


@pytest.mark.parametrize(("values", "shape"), [(GREY, (8, 6)), (GREY, (6, 8, 3)), (COLOUR, (6, 8)), (COLOUR, (3, 4, 3))])
def test_other_shapes_are_refused_with_both_unless_asked(tmp_path, values, shape):
    path = saved(tmp_path, Image.fromarray(values))
    with pytest.raises(ValueError, match="--resize") as caught:
        load_image(path, shape)
    assert str(list(values.shape)) in str(caught.value)
    assert str(list(shape)) in str(caught.value)
    assert load_image(path, shape, resize=True).shape == shape


def test_resizing_keeps_the_mean_and_grey_is_luma(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.repeat(np.repeat(COLOUR, 10, 0), 10, 1)))
    luma = COLOUR @ [0.299, 0.587, 0.114]
    found = load_image(path, (6, 8), resize=True)
    assert abs(found.mean() - luma.mean()) < 2
    assert np.corrcoef(found.ravel(), luma.ravel())[0, 1] > 0.9


def test_transparent_parts_are_white(tmp_path):
    layers = np.zeros((6, 8, 4), np.uint8)
    layers[:3, :, 3] = 255
    expected = np.where(np.arange(6)[:, None] < 3, 0, 255) * np.ones((1, 8))
    for name, image in [("rgba.png", Image.fromarray(layers)), ("la.png", Image.fromarray(layers).convert("LA"))]:
        np.testing.assert_array_equal(load_image(saved(tmp_path, image, name), (6, 8), resize=True), expected)


@pytest.mark.parametrize("mode", ["1", "P"])
def test_palettes_are_looked_up(tmp_path, mode):
    black_and_white = Image.fromarray(np.where(GREY > 100, 255, 0).astype(np.uint8))
    path = saved(tmp_path, black_and_white.convert(mode))
    np.testing.assert_array_equal(load_image(path, (6, 8), resize=True), np.asarray(black_and_white))


def test_a_photo_is_turned_as_its_camera_was(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    path = saved(tmp_path, Image.fromarray(GREY), exif=exif)
    np.testing.assert_array_equal(load_image(path, (8, 6), resize=True), np.rot90(GREY, -1))


@pytest.mark.parametrize(
    ("make", "shape", "words"),
    [
        (lambda p: p.write_text("hello"), (6, 8), "cannot be read as an image"),
        (lambda p: None, (6, 8), "No such file"),
        (lambda p: Image.fromarray(COLOUR).save(p), (48,), r"shape \[48\] here, which no image file has"),
        (lambda p: Image.fromarray(COLOUR).save(p), (6, 8, 2), "which no image file has"),
        (lambda p: Image.fromarray(GREY.astype(np.uint16)).save(p), (6, 8), "more than 8 bits"),
    ],
)
def test_what_is_no_such_image_is_one_sentence(tmp_path, make, shape, words):
    make(tmp_path / "i.png")
    with pytest.raises(ValueError, match=words) as caught:
        load_image(tmp_path / "i.png", shape)
    assert "\n" not in str(caught.value)


def test_half_a_file(rng, tmp_path):
    path = saved(tmp_path, Image.fromarray(rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)))
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ValueError, match="cannot be read as an image"):
        load_image(path, (60, 80, 3))


def test_a_folder_is_brought_to_one_shape_in_the_order_of_paths(tmp_path):
    said = []
    for name, values in (("b.png", COLOUR), ("a.png", COLOUR[:, :, 0]), ("inner/c.png", 255 - COLOUR), (".hidden/d.png", COLOUR)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    x, y = load_folder(tmp_path, (3, 4, 3), said.append)
    assert (x.shape, x.dtype, y) == ((3, 3, 4, 3), np.uint8, None)
    expected = [load_image(tmp_path / name, (3, 4, 3), resize=True) for name in ("a.png", "b.png", "inner/c.png")]
    np.testing.assert_array_equal(x, expected)
    assert [line.startswith(f"Left out: {tmp_path / 'notes.txt'} cannot be read") for line in said] == [True]


def test_folders_within_a_folder_are_labels(tmp_path):
    for name in ("cat/1.png", "ant/1.png", "cat/deep/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(COLOUR).save(tmp_path / name)
    assert load_folder(tmp_path, (6, 8), print)[1].tolist() == [0, 1, 1]  # ant/1, cat/1, cat/deep/2
    (tmp_path / "ant" / "1.png").unlink()
    assert load_folder(tmp_path, (6, 8), print)[1] is None  # one kind alone


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no images"):
        load_folder(tmp_path, (6, 8), print)
