import io

import numpy as np
import pytest
from PIL import Image

from nvisa_tf import Dataset
from nvisa_tf.evaluation.examples import Examples
from nvisa_tf.evaluation.thumbnails import Range, encoded, spread, sprite_sheet, thumbnails, to_bytes, value_range


@pytest.mark.parametrize(
    ("values", "max_value", "expected"),
    [
        (np.array([0, 8, 16], np.uint8), 16.0, [0, 128, 255]),
        (np.array([0, 0.5, 1], np.float32), None, [0, 128, 255]),
        (np.array([-1, 0, 1], np.float32), None, [0, 128, 255]),
        (np.array([7, 7, 7], np.int64), None, [0, 0, 0]),
    ],
)
def test_black_is_the_lowest_and_white_the_highest(values, max_value, expected):
    examples = Examples([("all", Dataset("mine", values[:, None, None].repeat(5, 1).repeat(4, 2), max_value=max_value))])
    shown = to_bytes(examples.take(np.arange(3)), value_range(examples))
    assert shown.dtype == np.uint8
    assert shown.shape == (3, 5, 4)
    np.testing.assert_allclose(shown[:, 0, 0].astype(int), expected, atol=3)


@pytest.mark.parametrize(("channels", "shape"), [(1, ()), (2, ()), (3, (3,)), (5, (3,))])
def test_channels_as_far_as_they_can_be_shown(channels, shape):
    x = np.random.default_rng(0).integers(0, 256, (2, 6, 6, channels)).astype(np.uint8)
    examples = Examples([("all", Dataset("mine", x, max_value=255.0))])
    shown = to_bytes(x, value_range(examples))
    assert shown.shape == (2, 6, 6, *shape)
    np.testing.assert_array_equal(shown, x[..., :3] if shape else x[..., 0])


def test_small_pictures_are_kept_exactly_and_large_ones_shrunk():
    x = np.random.default_rng(0).integers(0, 256, (600, 28, 20, 3)).astype(np.uint8)
    places, bytes_ = np.array([3, 599, 300]), Range(0, 255)
    small = thumbnails(Examples([("all", Dataset("mine", x))]), places, bytes_, 96)
    for place, image in zip(places, small, strict=True):
        media_type, content = encoded(image)
        assert media_type == "image/png"
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), x[place])
    large = thumbnails(Examples([("all", Dataset("mine", x[:1].repeat(10, 1).repeat(10, 2)))]), np.zeros(1, int), bytes_, 96)
    media_type, content = encoded(large[0])
    assert (media_type, Image.open(io.BytesIO(content)).size) == ("image/jpeg", (69, 96))


def test_a_sprite_sheet_is_square_and_its_pictures_in_the_middle_of_their_cells():
    sheet, columns = sprite_sheet([Image.new("L", (4, 2), 200)] * 5, 8)
    values = np.asarray(sheet)
    assert (columns, values.shape) == (3, (24, 24))
    assert (values[2:6, :8] == 200).all()
    assert (values[:2, :8] == 128).all()
    assert (values[16:, 16:] == 128).all()


def test_spread_keeps_both_ends():
    assert spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread(100, 4).tolist() == [0, 33, 66, 99]
