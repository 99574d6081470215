import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import affine_transform

from nvisa_tf.layers.augmentation import Augmentation, augment, changed_by, draw_changes, moved

STILL = Augmentation(rotation=0.0, shift=0.0)


def by_scipy(image, matrix, offset):
    centre = (np.array(image.shape[:2]) - 1) / 2
    offset = centre - matrix @ centre + offset
    planes = image.reshape(*image.shape[:2], -1).astype(float)
    return np.stack([affine_transform(planes[:, :, c], matrix, offset, order=1, mode="nearest") for c in range(planes.shape[2])], -1)


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 3)])
@pytest.mark.parametrize("xla", [False, True])
def test_images_are_moved_as_scipy_does(shape, xla, rng):
    images = rng.integers(0, 256, (6, *shape), np.uint8)
    matrix = (np.eye(2)[:, :, None] + rng.normal(0, 0.2, (2, 2, 6))).astype(np.float32)
    up, left = (rng.normal(0, 2, 6).astype(np.float32) for _ in range(2))
    found = tf.function(moved, jit_compile=xla)(*map(tf.constant, (images, matrix, up, left))).numpy()
    for i in range(6):
        expected = by_scipy(images[i], matrix[:, :, i], np.array([up[i], left[i]]))
        np.testing.assert_allclose(found[i], expected.reshape(shape), atol=0.01)


def test_draws_become_a_rotation_then_scaling_and_shear_in_another_light(rng):
    images = tf.constant(rng.uniform(0, 9, (5, 11, 8)), tf.float32)
    how = Augmentation(rotation=30.0, shift=0.2, scale=0.5, shear=0.4, brightness=1.0)
    draws = draw_changes(5, tf.constant([0, 1]))
    found = changed_by(images, draws, how).numpy()
    for i, (angle, up, left, grow, widen, slant, light) in enumerate(draws.numpy().astype(float).T):
        turn = np.radians(30 * angle)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        matrix = rotation @ np.array([[1.5**grow, 0], [0.4 * slant, 1.5**widen]])
        offset = np.array([0.2 * 11 * up, 0.2 * 8 * left])
        np.testing.assert_allclose(found[i], 2**light * by_scipy(images[i].numpy(), matrix, offset)[:, :, 0], atol=1e-3)


@pytest.mark.parametrize(
    ("how", "least", "most"),
    [
        (STILL._replace(rotation=10.0), 0.9 * np.tan(np.radians(10)), np.tan(np.radians(10))),
        (STILL._replace(shear=0.2), 0.9 * 0.2, 0.2),
        (Augmentation(), 0.9 * np.tan(np.radians(10)), np.tan(np.radians(10))),
    ],
)
def test_an_upright_edge_tilts_by_no_more_than_it_may(how, least, most):
    images = tf.constant(np.tile(np.arange(28) < 14, (500, 28, 1)), tf.float32)
    found = augment(images, tf.constant([0, 1]), how).numpy()
    tilt = (found[:, 4].sum(1) - found[:, 23].sum(1)) / 19
    assert least < tilt.max() < 1.01 * most
    assert least < -tilt.min() < 1.01 * most


def test_shifts_and_sizes_stay_within_their_bounds():
    square = np.zeros((500, 28, 28), np.float32)
    square[:, 9:19, 9:19] = 1
    edge = tf.constant(np.tile(np.arange(28) < 14, (500, 28, 1)), tf.float32)
    shifts = augment(edge, tf.constant([0, 1]), STILL._replace(shift=1 / 14)).numpy().sum((1, 2)) / 28 - 14
    assert 1.8 < shifts.max() <= 2.001
    assert -2.001 <= shifts.min() < -1.8
    areas = augment(tf.constant(square), tf.constant([0, 1]), STILL._replace(scale=0.2)).numpy()
    for sizes in (areas[:, 14].sum(1), areas[:, :, 14].sum(1)):  # widths, heights
        assert 11.4 < sizes.max() < 12.2
        assert 8.1 < sizes.min() < 8.8
    assert np.abs(np.corrcoef(areas[:, 14].sum(1), areas[:, :, 14].sum(1))[0, 1]) < 0.2


def test_draws_come_from_the_seed_and_differ_between_images(rng):
    images = tf.tile(tf.constant(rng.normal(size=(1, 8, 8)), tf.float32), [5, 1, 1])
    first = augment(images, tf.constant([0, 1]), Augmentation()).numpy()
    np.testing.assert_array_equal(first, augment(images, tf.constant([0, 1]), Augmentation()))
    assert np.abs(first - augment(images, tf.constant([0, 2]), Augmentation())).max() > 0.1
    assert np.abs(first[0] - first[1]).max() > 0.1


def test_no_change_is_the_image(rng):
    images = rng.integers(0, 256, (4, 7, 7, 2), np.uint8)
    np.testing.assert_allclose(augment(tf.constant(images), tf.constant([0, 1]), STILL), images, atol=1e-3)


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 3)])
def test_brightness_is_one_factor_an_image(shape, rng):
    images = rng.integers(1, 256, (400, *shape), np.uint8)
    ratio = augment(tf.constant(images), tf.constant([0, 1]), STILL._replace(brightness=0.5)).numpy() / images
    factors = ratio.reshape(400, -1)
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1], factors.shape), rtol=1e-4)
    assert 1 / 1.5 < factors.min() < 0.68
    assert 1.48 < factors.max() < 1.5001
