import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import affine_transform

from nvisa_tf import augmentation
from nvisa_tf.augmentation import augment, moved

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 3)])
@pytest.mark.parametrize("xla", [False, True])
def test_images_are_rotated_and_shifted_as_scipy_does(shape, xla):
    images = RNG.integers(0, 256, (6, *shape), np.uint8)
    angle, up, left = (RNG.normal(0, size, 6).astype(np.float32) for size in (0.2, 2, 2))
    found = tf.function(moved, jit_compile=xla)(*map(tf.constant, (images, angle, up, left))).numpy().reshape(6, 9, 12, -1)
    centre = np.array([4.0, 5.5])
    for i in range(6):
        matrix = np.array([[np.cos(angle[i]), -np.sin(angle[i])], [np.sin(angle[i]), np.cos(angle[i])]])
        offset = centre - matrix @ centre + np.array([up[i], left[i]])
        for channel in range(found.shape[-1]):
            plane = images[i].reshape(9, 12, -1)[:, :, channel].astype(float)
            np.testing.assert_allclose(found[i, :, :, channel], affine_transform(plane, matrix, offset, order=1, mode="nearest"), atol=0.01)


def test_rotations_and_shifts_stay_small():
    """Of the left half white: the edge moves by at most a tilt of 10 degrees and a 14th of the width."""
    images = tf.constant(np.tile(np.arange(28) < 14, (500, 28, 1)), tf.float32)
    found = augment(images, tf.constant([0, 1])).numpy()
    moves = found[:, 13:15].sum(2).mean(1) - 14  # pixels, in the rows by the centre
    assert 1.5 < moves.max() < 2.2
    assert -2.2 < moves.min() < -1.5
    tilt = (found[:, 0].sum(1) - found[:, 27].sum(1)) / 27
    assert 0.15 < np.abs(tilt).max() < 1.01 * np.tan(augmentation.ANGLE)


def test_draws_come_from_the_seed_and_differ_between_images():
    images = tf.tile(tf.constant(RNG.normal(size=(1, 8, 8)), tf.float32), [5, 1, 1])
    first = augment(images, tf.constant([0, 1])).numpy()
    np.testing.assert_array_equal(first, augment(images, tf.constant([0, 1])))
    assert np.abs(first - augment(images, tf.constant([0, 2]))).max() > 0.1
    assert np.abs(first[0] - first[1]).max() > 0.1
