"""Image files of many kinds against NumPy, and against the bytes of runs of before."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from nvisa_tf.io import images
from nvisa_tf.io.images import Header, NotAnImageError, load_image, read_header, read_image

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)


def saved(tmp_path, image, name="i.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize(("values", "shape"), [(GREY, (6, 8)), (GREY, (6, 8, 1)), (COLOUR, (6, 8, 3))])
def test_bytes_come_as_they_are(tmp_path, values, shape):
    path = saved(tmp_path, Image.fromarray(values))
    for resize in (None, *images.RESIZE):
        np.testing.assert_array_equal(load_image(path, shape, resize=resize), values.reshape(shape))


@pytest.mark.parametrize(("values", "shape"), [(GREY, (8, 6)), (GREY, (6, 8, 3)), (COLOUR, (6, 8)), (COLOUR, (3, 4, 3))])
def test_other_shapes_are_refused_with_both_unless_asked(tmp_path, values, shape):
    path = saved(tmp_path, Image.fromarray(values))
    with pytest.raises(ValueError, match="--resize") as caught:
        load_image(path, shape)
    assert str(list(values.shape)) in str(caught.value)
    assert str(list(shape)) in str(caught.value)
    for resize in images.RESIZE:
        assert load_image(path, shape, resize=resize).shape == shape


def test_there_is_no_other_way_to_resize(tmp_path):
    with pytest.raises(ValueError, match="resize is 'squeeze'; it must be one of pad, crop, stretch"):
        load_image(saved(tmp_path, Image.fromarray(GREY)), (6, 8), resize="squeeze")


def test_resizing_keeps_the_mean_and_grey_is_luma(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.repeat(np.repeat(COLOUR, 10, 0), 10, 1)))
    luma = COLOUR @ [0.299, 0.587, 0.114]
    for resize in images.RESIZE:
        found = load_image(path, (6, 8), resize=resize)
        assert abs(found.mean() - luma.mean()) < 2
        assert np.corrcoef(found.ravel(), luma.ravel())[0, 1] > 0.9


def blocks(values, size):
    """Each value as a block of size x size pixels."""
    return Image.fromarray(np.repeat(np.repeat(values, size, 0), size, 1))


def test_pad_keeps_the_whole_image_and_continues_its_edges(tmp_path):
    """4 x 8 blocks come to 8 x 8 pixels: two rows above in the median of the first, two below in that of the last."""
    values = np.random.default_rng(1).integers(0, 256, (4, 8, 3)).astype(np.uint8)
    found = load_image(saved(tmp_path, Image.fromarray(values)), (8, 8, 3), resize="pad")
    np.testing.assert_array_equal(found[2:6], values)
    for rows, edge in ((found[:2], values[0]), (found[6:], values[3])):
        np.testing.assert_array_equal(rows, np.broadcast_to(np.percentile(edge, 50, axis=0, method="higher"), (2, 8, 3)))
    turned = load_image(saved(tmp_path, Image.fromarray(values.transpose(1, 0, 2))), (8, 8, 3), resize="pad")
    np.testing.assert_array_equal(turned, found.transpose(1, 0, 2))


def test_pad_leaves_a_plain_background_plain(tmp_path):
    """A product on white, wide or high, large or small: its border is white, and its parts keep their proportions."""
    for high, wide in ((40, 100), (100, 40), (4, 8), (600, 120)):
        picture = np.full((high, wide), 255, np.uint8)
        picture[high // 4 : 3 * high // 4, wide // 4 : 3 * wide // 4] = 0
        found = load_image(saved(tmp_path, Image.fromarray(picture)), (32, 32), resize="pad")
        border = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
        assert (border == 255).mean() > 0.9
        scale = 32 / max(high, wide)
        assert np.sum(255.0 - found) / 255 == pytest.approx(np.sum(picture == 0) * scale**2, rel=0.3)
    assert load_image(saved(tmp_path, Image.fromarray(GREY)), (33, 17), resize="pad").shape == (33, 17)  # 12.75 rows


def test_crop_keeps_the_middle_in_its_proportions(tmp_path):
    values = np.random.default_rng(1).integers(0, 256, (4, 8, 3)).astype(np.uint8)
    found = load_image(saved(tmp_path, Image.fromarray(values)), (4, 4, 3), resize="crop")
    np.testing.assert_array_equal(found, values[:, 2:6])
    large = load_image(saved(tmp_path, blocks(values, 16)), (4, 4, 3), resize="crop").astype(int)
    assert np.abs(large - values[:, 2:6]).mean() < 40  # neighbouring blocks blend a little
    assert np.corrcoef(large.ravel(), values[:, 2:6].ravel())[0, 1] > 0.95


def test_stretch_gives_the_bytes_of_runs_of_before(tmp_path):
    """Those of `resize=True` before there were other ways, of files that Pillow decodes exactly."""
    x = np.random.default_rng(3).integers(0, 256, (90, 70, 4)).astype(np.uint8)
    digest = hashlib.sha256()
    for name, mode in (("a.png", "RGB"), ("b.png", "RGBA"), ("c.png", "L"), ("d.png", "LA"), ("e.bmp", "1"), ("f.tif", "CMYK")):
        base = Image.fromarray(x) if mode in ("RGBA", "LA") else Image.fromarray(x[..., :3])
        path = saved(tmp_path, base.convert(mode), name)
        for shape in ((32, 24, 3), (28, 28)):
            found = load_image(path, shape, resize="stretch")
            digest.update(found.tobytes())
            if mode == "RGB" and len(shape) == 3:
                np.testing.assert_array_equal(found, np.asarray(Image.open(path).resize((24, 32), Image.Resampling.BILINEAR)))
    assert digest.hexdigest() == "7e78decab21216136fa57a0bcee1a3ee45743abea1fd5acc3373bff3cf0d5381"


def test_large_jpeg_files_are_drafted_but_not_stretched_ones(tmp_path):
    """A photo is decoded at a fraction of its size for pad and crop, hardly to be seen; stretch decodes it whole, as it did."""
    y, x = np.mgrid[0:800, 0:1000]
    photo = np.stack([x * 255 / 999, y * 255 / 799, 127 + 100 * np.sin(x / 40) * np.cos(y / 50)], 2).astype(np.uint8)
    path = saved(tmp_path, Image.fromarray(photo), "i.jpg")
    whole = Image.open(path).convert("RGB")
    assert (load_image(path, (32, 40, 3), resize="stretch") == np.asarray(whole.resize((40, 32), Image.Resampling.BILINEAR))).all()
    drafted = load_image(path, (32, 40, 3), resize="pad").astype(int)
    assert 0 < np.abs(drafted - images.resized(whole, 32, 40, "pad").astype(int)).max() < 6
    one = saved(tmp_path, Image.fromarray(photo[:50, :60]), "small.jpg")
    for resize in ("pad", "crop"):  # no smaller one is decoded
        np.testing.assert_array_equal(
            load_image(one, (32, 32, 3), resize=resize), images.resized(Image.open(one).convert("RGB"), 32, 32, resize)
        )


def test_transparent_parts_are_white(tmp_path):
    layers = np.zeros((6, 8, 4), np.uint8)
    layers[:3, :, 3] = 255
    expected = np.where(np.arange(6)[:, None] < 3, 0, 255) * np.ones((1, 8))
    for name, image in [("rgba.png", Image.fromarray(layers)), ("la.png", Image.fromarray(layers).convert("LA"))]:
        np.testing.assert_array_equal(load_image(saved(tmp_path, image, name), (6, 8), resize="stretch"), expected)


@pytest.mark.parametrize("mode", ["1", "P"])
def test_palettes_are_looked_up(tmp_path, mode):
    black_and_white = Image.fromarray(np.where(GREY > 100, 255, 0).astype(np.uint8))
    path = saved(tmp_path, black_and_white.convert(mode))
    np.testing.assert_array_equal(load_image(path, (6, 8), resize="pad"), np.asarray(black_and_white))


def test_inks_are_turned_into_light(tmp_path):
    """CMYK: an ink takes its share of the light away."""
    inks = np.zeros((6, 8, 4), np.uint8)
    inks[:, :4, 0], inks[:, 4:, 3] = 255, 255
    path = saved(tmp_path, Image.merge("CMYK", [Image.fromarray(ink) for ink in np.moveaxis(inks, 2, 0)]), "i.tif")
    found = load_image(path, (6, 8, 3), resize="pad")
    assert (found[:, :4] == [0, 255, 255]).all()
    assert (found[:, 4:] == 0).all()


@pytest.mark.parametrize("name", ["i.png", "i.jpg", "i.tif", "i.webp"])
def test_a_photo_is_turned_as_its_camera_was(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    path = saved(tmp_path, Image.fromarray(GREY), name, exif=exif, quality=100)
    for resize in (None, "pad", "stretch"):
        shape = (8, 6) if name != "i.webp" or resize else (8, 6, 3)  # WebP has no grey
        found = load_image(path, shape, resize=resize).reshape(8, 6, -1)
        assert np.abs(found - np.rot90(GREY, -1)[..., None].astype(int)).max() < 5
    if name != "i.png":  # whose header does not say
        assert read_header(path)[:2] == (8, 6)


@pytest.mark.parametrize("name", ["i.png", "i.tif", "i.pgm"])
def test_grey_of_16_bits_is_divided_by_257(tmp_path, name):
    values = np.linspace(0, 65535, 48).astype(np.uint16).reshape(6, 8)
    found = read_image(saved(tmp_path, Image.fromarray(values), name), (6, 8), resize="pad")
    np.testing.assert_array_equal(found.values, np.rint(values / 257))
    assert found.deep
    assert not found.frames
    assert (found.values.min(), found.values.max()) == (0, 255)


def test_floats_are_taken_as_from_0_to_1(tmp_path):
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    found = read_image(saved(tmp_path, Image.fromarray(values), "i.tif"), (6, 8), resize="pad")
    np.testing.assert_array_equal(found.values, np.rint(255 * values.astype(float)))
    assert found.deep
    for wrong in (values * 2, values - 0.5, np.where(values > 0.5, np.float32("nan"), values)):
        with pytest.raises(NotAnImageError, match=r"its values are floats beyond 0 to 1; save it with 8 or 16 bits"):
            read_image(saved(tmp_path, Image.fromarray(wrong), "i.tif"), (6, 8), resize="pad")
    with pytest.raises(NotAnImageError, match="its values are integers beyond 16 bits"):
        read_image(saved(tmp_path, Image.fromarray(np.full((6, 8), 70000, np.int32)), "i.tif"), (6, 8), resize="pad")


@pytest.mark.parametrize("name", ["i.gif", "i.tif", "i.webp", "i.png"])
def test_the_first_frame_or_page_is_taken_and_said(tmp_path, name):
    frames = [Image.fromarray(np.full((6, 8), value, np.uint8)) for value in (200, 100, 0)]
    path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
    found = read_image(path, (6, 8), resize="pad")
    assert found.frames
    assert np.abs(found.values.astype(int) - 200).max() <= 1
    assert not read_image(saved(tmp_path, frames[0], name), (6, 8), resize="pad").frames


def test_a_cameras_preview_is_no_second_frame(tmp_path):
    photo = Image.fromarray(COLOUR)
    path = saved(tmp_path, photo, "i.mpo", save_all=True, append_images=[photo])
    assert Image.open(path).n_frames == 2
    assert not read_image(path, (6, 8, 3), resize="pad").frames


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (Image.fromarray(GREY), False),
        (Image.fromarray(GREY).convert("1"), False),
        (Image.fromarray(GREY).convert("LA"), False),
        (Image.fromarray(GREY).convert("P"), False),
        (Image.fromarray(GREY.astype(np.uint16)), False),
        (Image.fromarray(COLOUR), True),
        (Image.fromarray(COLOUR).convert("P"), True),
        (Image.fromarray(COLOUR).convert("RGBA"), True),
    ],
    ids=lambda value: getattr(value, "mode", value),
)
def test_headers_tell_size_and_colour(tmp_path, image, colour):
    assert read_header(saved(tmp_path, image)) == Header(6, 8, colour)


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise(path, **options):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)).save(path, **options)


@pytest.mark.parametrize(
    ("name", "make", "why"),
    [
        ("i.png", lambda p: p.write_text("hello"), "it holds something else"),
        ("i.txt", lambda p: p.write_text("hello"), "it is none"),
        ("i.png", lambda p: None, "there is no such file"),
        ("i.png", lambda p: p.symlink_to("nowhere"), "it links to a file that is not there"),
        ("i.jpg", lambda p: p.touch(), "it is empty"),
        ("i.png", lambda p: (noise(p), half(p)), "it is cut short or damaged"),
        ("i.jpg", lambda p: (noise(p), half(p)), "it is cut short or damaged"),
        ("i.gif", lambda p: (noise(p), half(p)), "it is cut short or damaged"),
        ("i.webp", lambda p: (noise(p, lossless=True), half(p)), "it is cut short or damaged"),
        ("i.tif", lambda p: (noise(p), half(p)), "it is cut short or damaged"),
        ("i.bmp", lambda p: (noise(p), half(p)), "it is cut short or damaged"),
        ("i.svg", lambda p: p.write_text("<svg/>"), "it is a drawing in lines; save it as PNG"),
        ("i.heic", lambda p: p.write_bytes(b"\0\0\0\x18ftypheic" + bytes(50)), "HEIC is read where pillow-heif is installed"),
        ("i.png", lambda p: p.mkdir(), r"the system cannot read it \(Is a directory\)"),
    ],
)
@pytest.mark.parametrize("resize", [None, "pad", "stretch"])
def test_what_is_no_image_is_one_sentence_in_our_words(tmp_path, monkeypatch, name, make, why, resize):
    monkeypatch.setattr(images, "_register_heic", lambda: None)
    make(tmp_path / name)
    with pytest.raises(NotAnImageError, match=f"^{tmp_path / name} cannot be read as an image: {why}") as caught:
        load_image(tmp_path / name, (60, 80, 3), resize=resize)
    assert str(caught.value).count("\n") == 0
    assert str(caught.value).endswith(f"{caught.value.why}.")


@pytest.mark.parametrize("shape", [(48,), (6, 8, 2), (2, 6, 8, 3)])
def test_a_shape_of_no_image_is_refused(tmp_path, shape):
    path = saved(tmp_path, Image.fromarray(COLOUR))
    with pytest.raises(ValueError, match=r"here, which no image file has; give a \.npy file\.$"):
        load_image(path, shape, resize="pad")


def test_too_many_pixels_are_refused_and_many_are_not_warned_of(tmp_path, monkeypatch, recwarn):
    path = saved(tmp_path, Image.fromarray(GREY))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 23)
    with pytest.raises(NotAnImageError, match="it has more than 46 pixels; make it smaller"):
        load_image(path, (6, 8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 25)
    assert load_image(path, (6, 8)).shape == (6, 8)
    assert not recwarn.list


def test_damaged_exif_does_not_lose_a_photo(tmp_path, recwarn):
    path = saved(tmp_path, Image.fromarray(COLOUR), "i.jpg", exif=b"Exif\0\0" + bytes(range(40)), quality=100)
    assert read_header(path) == Header(6, 8, True)
    assert load_image(path, (6, 8, 3), resize="pad").shape == (6, 8, 3)
    assert not recwarn.list


def test_heic_is_read_where_its_reader_is_installed(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.fromarray(np.full((64, 64, 3), (200, 100, 50), np.uint8))).save(tmp_path / "i.heic")
    found = load_image(tmp_path / "i.heic", (32, 32, 3), resize="pad")
    assert np.abs(found.astype(int) - [200, 100, 50]).max() < 6
