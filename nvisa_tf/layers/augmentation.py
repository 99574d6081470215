"""Small random rotations, shifts, scalings, shears and changes of brightness of images, without state and without any gradient."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import tensorflow as tf

from nvisa_tf.config.networks import AugmentationConfig


class Augmentation(NamedTuple):
    """How far an image may be changed; each change is drawn uniformly, for every image by itself.

    rotation: the largest, either way, degrees.
    shift: the largest, either way, as a share of height and of width.
    scale: height and width are each multiplied by a factor from 1 / (1 + scale) to 1 + scale, uniform in its logarithm.
    shear: the largest slant, either way: columns that a row moves by, per row of distance from the middle.
    brightness: values as they come, of which 0 is to be black, are multiplied by one factor from 1 / (1 + brightness) to 1 + brightness,
      uniform in its logarithm.
    """

    rotation: float = 10.0
    shift: float = 1 / 14
    scale: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0

    @classmethod
    def from_config(cls, config: AugmentationConfig) -> Augmentation:
        """What a run's options say."""
        return cls(*(getattr(config, f"augment_{name}") for name in cls._fields))


def augment(images: tf.Tensor, seed: tf.Tensor, how: Augmentation, *, fused: bool = False) -> tf.Tensor:
    """Every image changed by its own uniform draws, float32 of the same shape.

    Args:
      images: [B, h, w] or [B, h, w, c], integers or floats.
      seed: a stateless seed, integers [2].
      how: how far.
      fused: as for `moved`.
    """
    return changed_by(images, draw_changes(tf.shape(images)[0], seed), how, fused=fused)


def draw_changes(n_images: Any, seed: tf.Tensor) -> tf.Tensor:
    """Uniform draws in [-1, 1) for `changed_by`, float32 [7, n_images]; seed: a stateless seed, integers [2]."""
    return tf.random.stateless_uniform([7, n_images], seed, -1.0, 1.0)


def changed_by(images: tf.Tensor, draws: tf.Tensor, how: Augmentation, *, fused: bool = False) -> tf.Tensor:
    """Images [B, h, w(, c)] changed by these shares of the most that `how` allows, [7, B]; `fused` is as for `moved`.

    They are of rotation, of the shifts up and left, of the scaling of height and of width, of shear and of brightness.
    """
    angle, up, left, grow, widen, slant, light = tf.unstack(draws)
    angle, slant = math.radians(how.rotation) * angle, how.shear * slant
    tall, wide = (tf.exp(math.log1p(how.scale) * share) for share in (grow, widen))
    # From where a pixel goes to where it comes from, so the image is rotated first and then scaled and sheared.
    matrix = tf.stack(
        [
            tf.stack([tf.cos(angle) * tall - tf.sin(angle) * slant, -tf.sin(angle) * wide]),
            tf.stack([tf.sin(angle) * tall + tf.cos(angle) * slant, tf.cos(angle) * wide]),
        ]
    )
    changed = moved(images, matrix, how.shift * images.shape[1] * up, how.shift * images.shape[2] * left, fused=fused)
    if not how.brightness:
        return changed
    return changed * tf.reshape(tf.exp(math.log1p(how.brightness) * light), [-1] + [1] * (len(images.shape) - 1))


def moved(images: tf.Tensor, matrix: tf.Tensor, up: tf.Tensor, left: tf.Tensor, *, fused: bool = False) -> tf.Tensor:
    """Images [B, h, w(, c)] under affine maps about their centres; float32 of the same shape.

    A pixel at (row, column) from the centre comes from matrix @ (row, column) + (up, left); matrix is float32 [2, 2, B],
    up and left [B]. Values between pixels are interpolated (bilinear), those from outside are the nearest border's.

    Args:
      fused: by TensorFlow's kernel for this, which is several times faster on a CPU, and which neither XLA nor `tf.vectorized_map`
        knows. Otherwise by gathering, which goes in any program; the two agree to rounding.
    """
    return _by_kernel(images, matrix, up, left) if fused else _by_gathering(images, matrix, up, left)


def _by_kernel(images: tf.Tensor, matrix: tf.Tensor, up: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(images)
    height, width = images.shape[1:3]
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    # The kernel has columns before rows, and counts both from the top left pixel.
    from_row = up + middle_row - matrix[0, 0] * middle_row - matrix[0, 1] * middle_column
    from_column = left + middle_column - matrix[1, 0] * middle_row - matrix[1, 1] * middle_column
    flat = tf.zeros_like(up)  # no perspective
    maps = [matrix[1, 1], matrix[1, 0], from_column, matrix[0, 1], matrix[0, 0], from_row, flat, flat]
    found = tf.raw_ops.ImageProjectiveTransformV3(
        # Of integers it would give integers, cut off.
        images=tf.reshape(tf.cast(images, tf.float32), [shape[0], height, width, -1]),
        transforms=tf.stack(maps, 1),
        output_shape=tf.constant([height, width]),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",  # it clips coordinates, as below, so that beyond the border there is only what has a share of 0
    )
    return tf.reshape(found, shape)


def _by_gathering(images: tf.Tensor, matrix: tf.Tensor, up: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(images)
    batch, (height, width) = shape[0], images.shape[1:3]
    pixels = tf.reshape(tf.cast(images, tf.float32), [batch, height * width, -1])
    matrix, up, left = matrix[:, :, :, None, None], up[:, None, None], left[:, None, None]
    row = tf.range(height, dtype=tf.float32)[:, None] - (height - 1) / 2
    column = tf.range(width, dtype=tf.float32)[None] - (width - 1) / 2
    # Where each pixel comes from, [B, h, w].
    from_row = matrix[0, 0] * row + matrix[0, 1] * column + up + (height - 1) / 2
    from_column = matrix[1, 0] * row + matrix[1, 1] * column + left + (width - 1) / 2
    from_row = tf.clip_by_value(from_row, 0.0, height - 1.0)
    from_column = tf.clip_by_value(from_column, 0.0, width - 1.0)
    top, west = tf.floor(from_row), tf.floor(from_column)
    down, east = tf.minimum(top + 1, height - 1.0), tf.minimum(west + 1, width - 1.0)
    share_down, share_east = from_row - top, from_column - west

    def at(r: tf.Tensor, c: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        index = tf.reshape(tf.cast(r * width + c, tf.int32), [batch, -1])
        return tf.gather(pixels, index, batch_dims=1) * tf.reshape(share, [batch, -1, 1])

    mixed = (
        at(top, west, (1 - share_down) * (1 - share_east))
        + at(top, east, (1 - share_down) * share_east)
        + at(down, west, share_down * (1 - share_east))
        + at(down, east, share_down * share_east)
    )
    return tf.reshape(mixed, shape)
