"""Categorical draws that depend on the seed alone."""

from __future__ import annotations

import tensorflow as tf
from tensorflow_probability import distributions as tfd


def categories(logits: tf.Tensor, n: int, seed: tf.Tensor) -> tf.Tensor:
    """n independent draws from Cat(softmax(logits)), int32 [n, ...]; always in range, even where a logit is NaN.

    By the Gumbel-max trick, as TensorFlow's own sampler gives other draws on another number of threads.

    Args:
      logits: [..., K], up to a constant.
      n: draws of each.
      seed: a stateless seed, integers [2].
    """
    standard = tfd.Gumbel(tf.zeros([], logits.dtype), 1)
    return tf.argmax(logits + standard.sample(tf.concat([[n], tf.shape(logits)], 0), seed), -1, output_type=tf.int32)
