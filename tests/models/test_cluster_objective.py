"""The objective of clusters by mutual information: against NumPy and scipy in float64, and on held-out images in pieces."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from nvisa_tf.layers.augmentation import Augmentation, augment
from nvisa_tf.models import cluster_objective
from nvisa_tf.models.cluster_objective import held_out_information, information, objective, times_changed


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


def test_the_information_is_a_lower_bound_of_the_mutual_information_less_the_change(rng):
    logits, changed = rng.normal(0, 2, size=(2, 50, 3, 4))
    found = tf.reduce_mean(information(*(tf.constant(log_softmax(part, -1)) for part in (logits, changed))), 0)
    same = tf.reduce_mean(information(*[tf.constant(log_softmax(logits, -1))] * 2), 0)
    for head in range(3):
        p, q = softmax(logits[:, head], -1), softmax(changed[:, head], -1)
        mutual = entropy(p.mean(0)) - entropy(p, axis=1).mean()
        assert float(same[head]) == pytest.approx(mutual, rel=1e-10)
        assert float(found[head]) == pytest.approx(mutual - entropy(p, q, axis=1).mean(), rel=1e-10)


def test_the_information_is_log_k_of_sure_clusters_that_stay_and_0_of_answers_that_are_always_the_same():
    sure = tf.constant(np.log(np.eye(4)[np.arange(40) % 4] * (1 - 4e-9) + 1e-9))[:, None]
    assert float(tf.reduce_mean(information(sure, sure))) == pytest.approx(np.log(4), abs=1e-6)
    same = tf.constant(np.log(np.tile([0.7, 0.1, 0.1, 0.1], (40, 1))))[:, None]
    assert float(tf.reduce_mean(information(same, same))) == pytest.approx(0, abs=1e-12)
    assert float(tf.reduce_mean(information(sure, tf.roll(sure, 1, 0)))) < -1  # a changed image is sure of another cluster


def test_held_out_images_are_changed_alike_for_whoever_answers(rng, monkeypatch):
    x, weights = rng.random((10, 6, 6)).astype(np.float32), tf.constant(rng.normal(size=(36, 6)), tf.float32)
    how = Augmentation(shift=0.3)

    def preprocess(images):
        return tf.reshape(images, [-1, 36])

    def answer(scaled):
        return tf.nn.log_softmax(tf.reshape(scaled @ weights, [-1, 2, 3]))

    found = held_out_information(answer, preprocess, x, how)
    seeds = [tf.constant([cluster_objective.JUDGED_DRAWS, number]) for number in range(16)]  # so few images are changed 16 times
    changed = tf.concat([augment(tf.constant(x), seed, how, fused=True) for seed in seeds], 0)
    of_changes = information(*(answer(preprocess(part)) for part in (np.tile(x, (16, 1, 1)), changed)))
    np.testing.assert_allclose(found, np.reshape(of_changes, (16, 10, 2)).mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found, held_out_information(answer, preprocess, x, how))
    monkeypatch.setattr(cluster_objective, "JUDGED_AT_ONCE", 4)  # H(y) is of all pieces together, not their mean
    still = held_out_information(answer, preprocess, x, Augmentation(rotation=0.0, shift=1e-9))
    np.testing.assert_allclose(still, information(*[answer(preprocess(x))] * 2), atol=1e-5)
    sizes = []
    monkeypatch.setattr(cluster_objective, "VALUES_AT_ONCE", 3 * 36)  # of large images there are fewer at once
    held_out_information(lambda scaled: sizes.append(len(scaled)) or answer(scaled), preprocess, x, how)
    assert max(sizes) == 3


def test_the_fewer_images_there_are_the_more_often_each_is_changed():
    assert [times_changed(n) for n in (1, 143, 900, 2_500, 2_501, 60_000)] == [16, 16, 5, 2, 1, 1]
