import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import affine_transform

from nvisa_tf import NVISA
from nvisa_tf.layers.augmentation import Augmentation, augment, changed_by, draw_changes, moved
from nvisa_tf.models.nvisa import train_step

STILL = Augmentation(rotation=0.0, shift=0.0)


def by_scipy(image, matrix, offset):
    centre = (np.array(image.shape[:2]) - 1) / 2
    offset = centre - matrix @ centre + offset
    planes = image.reshape(*image.shape[:2], -1).astype(float)
    return np.stack([affine_transform(planes[:, :, c], matrix, offset, order=1, mode="nearest") for c in range(planes.shape[2])], -1)


@tf.function
def one_by_one(images, matrix, up, left):
    each = (images[:, None], tf.transpose(matrix, [2, 0, 1])[..., None], up[:, None], left[:, None])
    return tf.vectorized_map(lambda one: moved(*one), each, fallback_to_while_loop=False)[:, 0]


PROGRAMS = {
    "gathering": moved,
    "by XLA": tf.function(moved, jit_compile=True),
    "vectorized": one_by_one,
    "by the kernel": functools.partial(moved, fused=True),
}
CASES = [(program, (9, 12, 3), np.uint8) for program in PROGRAMS]  # others are compiled anew for every shape
CASES += [(program, shape, np.float32) for program in ("gathering", "by the kernel") for shape in ((9, 12), (12, 9, 3), (8, 8), (7, 1))]


@pytest.mark.parametrize(("program", "shape", "dtype"), CASES)
def test_images_are_moved_as_scipy_does_to_the_border_and_beyond(program, shape, dtype, rng):
    images = rng.integers(0, 256, (20, *shape)).astype(dtype)
    if dtype == np.float32:
        images = images / 100 - 1  # from -1 to 1.55
    matrix = (np.eye(2)[:, :, None] + rng.normal(0, 0.2, (2, 2, 20))).astype(np.float32)
    up, left = (rng.normal(0, 3, 20).astype(np.float32) for _ in range(2))
    found = PROGRAMS[program](*map(tf.constant, (images, matrix, up, left))).numpy()
    assert found.dtype == np.float32
    for i in range(20):
        expected = by_scipy(images[i], matrix[:, :, i], np.array([up[i], left[i]]))
        np.testing.assert_allclose(found[i], expected.reshape(shape), atol=1e-5 * np.abs(images.astype(float)).max())


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("rows", [0, 3, -4, 50])
def test_a_shift_by_whole_pixels_repeats_the_border_exactly(rows, fused, rng):
    images = rng.integers(0, 256, (2, 8, 5)).astype(np.uint8)
    still, up, left = tf.eye(2)[:, :, None] * tf.ones(2), tf.fill([2], float(rows)), tf.zeros([2])
    found = moved(tf.constant(images), still, up, left, fused=fused).numpy()
    np.testing.assert_array_equal(found, images[:, np.clip(np.arange(8) + rows, 0, 7)])


@pytest.mark.parametrize(("compiled", "select", "expected"), [(False, False, True), (True, False, False), (False, True, False)])
def test_a_step_has_the_kernel_where_no_xla_and_no_vectorization_is(tiny_config, compiled, select, expected, monkeypatch, rng):
    given = []
    monkeypatch.setattr(train_step, "changed_by", lambda *a, fused: given.append(fused) or changed_by(*a, fused=fused))
    model = NVISA(dataclasses.replace(tiny_config, input_shape=(6, 6)), seed=0)
    model.compile(jit_compile=compiled, augment=True, n_samples=2)
    step = model.gradient_step
    step.apply(tf.constant(rng.uniform(size=(4, 6, 6)), tf.float32), step.noise(4, tf.constant(0), tf.constant(0)), select)
    assert given == [expected]
    assert float(model.trackers["consistency"].result()) > 0


@pytest.mark.parametrize("fused", [False, True])
def test_draws_become_a_rotation_then_scaling_and_shear_in_another_light(fused, rng):
    images = tf.constant(rng.uniform(0, 9, (5, 11, 8)), tf.float32)
    how = Augmentation(rotation=30.0, shift=0.2, scale=0.5, shear=0.4, brightness=1.0)
    draws = draw_changes(5, tf.constant([0, 1]))
    found = changed_by(images, draws, how, fused=fused).numpy()
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
