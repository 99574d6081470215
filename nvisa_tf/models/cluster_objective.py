"""Clusters by mutual information: what a network that gives them is trained by, and what compares clusters without labels.

The objective is regularized information maximization (Krause et al., NeurIPS 2010) with the self-augmented regularizer of IMSAT (Hu et
al., ICML 2017, arXiv 1702.08720), here by changed images instead of adversarial ones. Answers are to be alike for an image however it is
changed, sure, and with every cluster in use.

What compares clusters has no weights that would have to be chosen: how many nats a changed image tells about the cluster of the image.

Shapes: n examples, B of a batch, d values of one, K clusters, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from nvisa_tf.layers.augmentation import Augmentation, augment

INFORMATION, BALANCE = 0.1, 4.0  # weights of the mutual information, and of H(y) in it (Hu et al. have the same)
VALUES_AT_ONCE = 8_000_000  # of images that a network answers for at once: what its convolutions give is many times as large
JUDGED_AT_ONCE = 1_000  # images at most, so that memory does not grow with their number
# How often each image is changed: as often as makes so many in all, within a limit. Of a hundred images, one change of each is chance.
CHANGED_IMAGES, MOST_CHANGES = 5_000, 16
CLUSTER_INFORMATION = "held_out_cluster_information"  # the name of its mean over held-out images, as a metric
JUDGED_DRAWS = 0x1D6E  # sets the seed of how held-out images are changed apart from those of the steps


def objective(log_p: tf.Tensor, log_changed: tf.Tensor) -> tf.Tensor:
    """What each head is to make small, nats, float32 [H] (Hu et al., equations 3 to 6).

    KL(p(y|x) || p(y|changed x)), where p(y|x) is held, minus `INFORMATION` times (`BALANCE` H(y) - H(y|x)).

    Args:
      log_p: of images, [B, H, K].
      log_changed: of the same images, changed, [B, H, K].
    """
    p, held = tf.exp(log_p), tf.stop_gradient(log_p)
    usage = tf.reduce_mean(p, 0)
    of_clusters = -tf.reduce_sum(tf.math.xlogy(usage, usage), -1)
    of_images = -tf.reduce_mean(tf.reduce_sum(p * log_p, -1), 0)
    change = tf.reduce_mean(tf.reduce_sum(tf.exp(held) * (held - log_changed), -1), 0)
    return change - INFORMATION * (BALANCE * of_clusters - of_images)


def information(log_p: tf.Tensor, log_changed: tf.Tensor) -> tf.Tensor:
    """What each changed image tells about the cluster of the image, nats, float32 [B, H]; their mean is log K at most.

    The mean is H(y) - E[log 1/p(y|changed x)], where y is drawn from p(y|x): a lower bound of the mutual information of the two (Barber &
    Agakov, NeurIPS 2003). It is high where clusters are many, answers are sure, and changes leave them as they are.

    Args:
      log_p: of images, [B, H, K].
      log_changed: of the same images, changed, [B, H, K].
    """
    p = tf.exp(log_p)
    usage = tf.reduce_mean(p, 0)
    return tf.reduce_sum(p * log_changed, -1) - tf.reduce_sum(tf.math.xlogy(p, usage), -1)


def held_out_information(
    answer: Callable[[tf.Tensor], tf.Tensor], preprocess: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray, augmentation: Augmentation
) -> np.ndarray:
    """The `information` of each image and head, of its changes on average, float64 [n, H]; arguments as `held_out_answers`."""
    log_p, log_changed = held_out_answers(answer, preprocess, x, augmentation)
    times = len(log_changed) // len(log_p)
    found = information(tf.tile(log_p, [times, 1, 1]), log_changed).numpy().astype(np.float64)
    return np.asarray(found.reshape(times, len(x), -1).mean(0))


def held_out_answers(
    answer: Callable[[tf.Tensor], tf.Tensor], preprocess: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray, augmentation: Augmentation
) -> tuple[tf.Tensor, tf.Tensor]:
    """What is answered of images, [n, H, K], and of all of them changed, once or more, [c n, H, K].

    They are changed by draws of their own, the same for whoever answers, and the more often the fewer there are, c = `times_changed`.

    Args:
      answer: log p(y|x), [B, H, K], of images on the model's scale, [B, d].
      preprocess: brings raw images to it.
      x: raw images [n, *input_shape].
      augmentation: how far they are changed.
    """
    at_once = max(1, min(JUDGED_AT_ONCE, VALUES_AT_ONCE // x[0].size))
    times, parts = times_changed(len(x)), [tf.constant(part) for part in np.array_split(x, math.ceil(len(x) / at_once))]
    log_p = tf.concat([answer(preprocess(part)) for part in parts], 0)
    to_change = [(part, tf.constant([JUDGED_DRAWS, number])) for number, part in enumerate(parts * times)]
    together = max(1, at_once // len(parts[0]))
    log_changed = []
    for first in range(0, len(to_change), together):
        changed = [augment(part, seed, augmentation, fused=True) for part, seed in to_change[first : first + together]]
        log_changed.append(answer(preprocess(tf.concat(changed, 0))))
    return log_p, tf.concat(log_changed, 0)


def times_changed(n: int) -> int:
    """How often each of n images is changed by `held_out_answers`."""
    return max(1, min(MOST_CHANGES, CHANGED_IMAGES // n))
