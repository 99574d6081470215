"""Consensus clusters: the matching against all permutations, the average against a planted truth."""

import itertools

import numpy as np

from nvisa_tf import clustering_accuracy
from nvisa_tf.clustering.consensus import average, matching


def clusterings(rng, y, rights, n_clusters):
    """Probabilities by clusterings that are right so often, each with numbers of its own."""
    found = []
    for right in rights:
        seen = np.where(rng.random(len(y)) < right, y, rng.integers(0, n_clusters, len(y)))
        found.append(np.eye(n_clusters)[rng.permutation(n_clusters)[seen]] * 0.8 + 0.2 / n_clusters)
    return found


def test_the_matching_agrees_on_more_examples_than_any_other(rng):
    first, other = rng.dirichlet(np.full(4, 0.3), (2, 60))
    order = matching(first, other)
    agreements = {permutation: (first * other[:, permutation]).sum() for permutation in itertools.permutations(range(4))}
    assert tuple(order) == max(agreements, key=agreements.get)


def test_the_average_is_right_more_often_than_any_and_keeps_the_numbers_of_the_first(rng):
    y = rng.integers(0, 4, 3000)
    found = clusterings(rng, y, (0.75, 0.7, 0.7, 0.7), 4)
    p = average(found, [matching(found[0], one) for one in found])
    assert clustering_accuracy(y, p.argmax(1)) > max(clustering_accuracy(y, one.argmax(1)) for one in found) + 0.05
    assert np.mean(p.argmax(1) == found[0].argmax(1)) > 0.75
    np.testing.assert_allclose(p.sum(1), 1)


def test_one_alone_stays_as_it_is(rng):
    p = rng.dirichlet(np.ones(3), 50).astype(np.float32)
    np.testing.assert_array_equal(average([p], [matching(p, p)]), p.astype(np.float64))
