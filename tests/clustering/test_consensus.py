"""Consensus clusters: against a planted truth, brute-force enumeration of the posterior, and the likelihood, which never falls."""

import numpy as np
from scipy.special import logsumexp

from nvisa_tf import clustering_accuracy
from nvisa_tf.clustering import consensus as module
from nvisa_tf.clustering.consensus import consensus


def observers(rng, y, rights, n_clusters):
    """Answers of observers that are right so often, each with numbers of its own."""
    answers = []
    for right in rights:
        wrong = rng.integers(0, n_clusters, len(y))
        seen = np.where(rng.random(len(y)) < right, y, wrong)
        answers.append(rng.permutation(n_clusters)[seen])
    return answers


def test_it_is_right_more_often_than_any_observer_and_keeps_the_numbers_of_the_first(rng):
    y = rng.integers(0, 4, 3000)
    answers = observers(rng, y, (0.8, 0.75, 0.75, 0.7, 0.1), 4)
    found = consensus(answers, 4)
    p = found.probabilities(answers)
    best = max(clustering_accuracy(y, one) for one in answers)
    assert clustering_accuracy(y, p.argmax(1)) > best + 0.05
    assert np.mean(p.argmax(1) == answers[0]) > 0.75
    np.testing.assert_allclose(p.sum(1), 1)


def test_one_that_guesses_changes_next_to_nothing(rng):
    y = rng.integers(0, 3, 2000)
    good, guesses = observers(rng, y, (0.9, 0.85, 0.85), 3), observers(rng, y, (0.0,), 3)
    alone, beside = (consensus(some, 3).probabilities(some) for some in (good, good + guesses))
    assert np.mean(alone.argmax(1) != beside.argmax(1)) < 0.01


def test_the_posterior_of_hard_answers_is_that_of_enumeration(rng):
    answers = observers(rng, rng.integers(0, 3, 300), (0.9, 0.7), 3)
    found = consensus(answers, 3)
    for i in range(5):
        joint = [found.log_weights[k] + sum(q[one[i], k] for one, q in zip(answers, found.log_confusions, strict=True)) for k in range(3)]
        np.testing.assert_allclose(found.probabilities([one[i : i + 1] for one in answers])[0], np.exp(joint - logsumexp(joint)))
    np.testing.assert_allclose([np.exp(q).sum(0) for q in found.log_confusions], 1)


def test_a_step_never_lowers_the_posterior_of_the_parameters(rng, monkeypatch):
    answers = observers(rng, rng.integers(0, 4, 400), (0.7, 0.6, 0.5), 4)

    def value(found):
        log_joint = found.log_weights + sum(q[seen] for seen, q in zip(answers, found.log_confusions, strict=True))
        prior = module.PRIOR * (found.log_weights.sum() + sum(q.sum() for q in found.log_confusions))
        return logsumexp(log_joint, 1).sum() + prior

    values = []
    for steps in range(1, 12):
        monkeypatch.setattr(module, "STEPS", steps)
        monkeypatch.setattr(module, "SETTLED", 0.0)
        values.append(value(consensus(answers, 4)))
    assert np.all(np.diff(values) > -1e-8)
    assert values[-1] > values[0]


def test_a_single_observer_is_believed(rng):
    answers = [rng.integers(0, 3, 500)]
    p = consensus(answers, 3).probabilities(answers)
    np.testing.assert_array_equal(p.argmax(1), answers[0])
