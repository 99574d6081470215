"""Categorical draws that depend on the seed alone."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd


def gumbel_noise(shape: Any, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Standard Gumbel draws of a shape; seed: a stateless seed, integers [2]."""
    return tfd.Gumbel(tf.zeros([], dtype), 1).sample(shape, seed)


def pick(logits: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """The draws from Cat(softmax(logits)) that Gumbel noise gives, int32 [...]; always in range, even where a logit is NaN.

    By the Gumbel-max trick, as TensorFlow's own sampler gives other draws on another number of threads.

    Args:
      logits: broadcasts to [..., K], up to a constant.
      noise: [..., K], from `gumbel_noise`.
    """
    return tf.argmax(logits + noise, -1, output_type=tf.int32)


def categories(logits: tf.Tensor, n: int, seed: tf.Tensor) -> tf.Tensor:
    """n independent draws from Cat(softmax(logits)), [..., K] up to a constant: int32 [n, ...], as of `pick`."""
    return pick(logits, gumbel_noise(tf.concat([[n], tf.shape(logits)], 0), seed, logits.dtype))
