"""The objective of clusters by mutual information: against NumPy and scipy in float64, and on held-out images in pieces."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, softmax

from nvisa_tf.layers.augmentation import Augmentation, augment
from nvisa_tf.models import cluster_objective
from nvisa_tf.models.cluster_objective import held_out_objective, objective


def test_the_objective_is_the_change_less_the_weighted_mutual_information(rng):
    logits, changed = rng.normal(size=(2, 7, 3, 4))
    found = objective(*(tf.constant(log_softmax(part, -1)) for part in (logits, changed)))
    for head in range(3):
        p, q = softmax(logits[:, head], -1), softmax(changed[:, head], -1)
        usage = p.mean(0)
        expected = (p * np.log(p / q)).sum(1).mean() - 0.1 * (4 * -(usage * np.log(usage)).sum() - -(p * np.log(p)).sum(1).mean())
        assert float(found[head]) == pytest.approx(expected, rel=1e-10)


def test_the_answer_to_an_image_is_held_where_it_is_compared_with_a_changed_one(rng):
    log_p, log_changed = (tf.constant(log_softmax(part, -1)) for part in rng.normal(size=(2, 7, 1, 4)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([log_p, log_changed])
        both, alone = (tf.reduce_sum(objective(log_p, other)) for other in (log_changed, tf.stop_gradient(log_p)))
    np.testing.assert_allclose(tape.gradient(both, log_p), tape.gradient(alone, log_p), rtol=1e-9)
    np.testing.assert_allclose(tape.gradient(both, log_changed), -np.exp(log_p) / 7, rtol=1e-9)


def test_held_out_images_are_changed_alike_for_whoever_answers(rng, monkeypatch):
    x, weights = rng.random((10, 6, 6)).astype(np.float32), tf.constant(rng.normal(size=(36, 6)), tf.float32)
    how = Augmentation(shift=0.3)

    def preprocess(images):
        return tf.reshape(images, [-1, 36])

    def answer(scaled):
        return tf.nn.log_softmax(tf.reshape(scaled @ weights, [-1, 2, 3]))

    found = held_out_objective(answer, preprocess, x, how)
    changed = augment(tf.constant(x), tf.constant([cluster_objective.JUDGED_DRAWS, 0]), how, fused=True)
    np.testing.assert_allclose(found, objective(*(answer(preprocess(part)) for part in (x, changed))), rtol=1e-6)
    np.testing.assert_array_equal(found, held_out_objective(answer, preprocess, x, how))
    monkeypatch.setattr(cluster_objective, "JUDGED_AT_ONCE", 4)  # H(y) is of all pieces together, not their mean
    still = held_out_objective(answer, preprocess, x, Augmentation(rotation=0.0, shift=1e-9))
    np.testing.assert_allclose(still, objective(*[answer(preprocess(x))] * 2), rtol=1e-4)
