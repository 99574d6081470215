"""Small random shifts and rotations of images, without state and without any gradient."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

ANGLE = math.radians(10)  # the largest rotation, either way
SHIFT = 1 / 14  # the largest shift, of the height and of the width: 2 pixels of 28


def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Every image rotated about its centre and shifted, each by its own uniform draws, float32 of the same shape.

    Args:
      images: [B, h, w] or [B, h, w, c], integers or floats.
      seed: a stateless seed, integers [2].
    """
    return moved_by(images, draw_moves(tf.shape(images)[0], seed))


def draw_moves(n_images: Any, seed: tf.Tensor) -> tf.Tensor:
    """Uniform draws in [-1, 1) for `moved_by`, float32 [3, n_images]; seed: a stateless seed, integers [2]."""
    return tf.random.stateless_uniform([3, n_images], seed, -1.0, 1.0)


def moved_by(images: tf.Tensor, moves: tf.Tensor) -> tf.Tensor:
    """Images [B, h, w(, c)] rotated and shifted by these shares, [3, B], of the largest rotation, height's and width's shift."""
    return moved(images, ANGLE * moves[0], SHIFT * images.shape[1] * moves[1], SHIFT * images.shape[2] * moves[2])


def moved(images: tf.Tensor, angle: tf.Tensor, up: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    """Images [B, h, w(, c)] rotated by angles in radians and shifted by pixels, each float32 [B]; float32 of the same shape.

    Values between pixels are interpolated (bilinear), those from outside are the nearest border's.
    """
    shape = tf.shape(images)
    batch, (height, width) = shape[0], images.shape[1:3]
    pixels = tf.reshape(tf.cast(images, tf.float32), [batch, height * width, -1])
    angle, up, left = (values[:, None, None] for values in (angle, up, left))
    row = tf.range(height, dtype=tf.float32)[:, None] - (height - 1) / 2
    column = tf.range(width, dtype=tf.float32)[None] - (width - 1) / 2
    # Where each pixel comes from, [B, h, w].
    from_row = tf.cos(angle) * row - tf.sin(angle) * column + up + (height - 1) / 2
    from_column = tf.sin(angle) * row + tf.cos(angle) * column + left + (width - 1) / 2
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
