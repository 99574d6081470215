"""Consensus clusters: the matching against all permutations, links against scikit-learn, the averages against a planted truth."""

import itertools

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from nvisa_tf import clustering_accuracy
from nvisa_tf.clustering.consensus import LEAST_SHARE, average, link, matching, shares


def clusterings(rng, y, rights, n_clusters):
    """Probabilities by clusterings that are right so often, each with numbers of its own."""
    found = []
    for right in rights:
        seen = np.where(rng.random(len(y)) < right, y, rng.integers(0, n_clusters, len(y)))
        found.append(np.eye(n_clusters)[rng.permutation(n_clusters)[seen]] * 0.8 + 0.2 / n_clusters)
    return found


def test_the_matching_agrees_on_more_examples_than_any_other(rng):
    first, other = rng.dirichlet(np.full(4, 0.3), (2, 60))
    matrix = matching(first, other)
    agreements = {permutation: (first * other[:, permutation]).sum() for permutation in itertools.permutations(range(4))}
    np.testing.assert_array_equal(other @ matrix, other[:, max(agreements, key=agreements.get)])


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


def fine(rng, y, n_clusterings=6, each=60):
    """Probabilities by clusterings that cut groups in parts of about `each` examples, at random, and are unsure by a tenth."""
    found = []
    for _ in range(n_clusterings):
        part, done = np.zeros(len(y), int), 0
        for group in np.unique(y):
            rows = np.flatnonzero(y == group)
            n_parts = max(1, len(rows) // each)
            part[rows] = done + rng.integers(0, n_parts, len(rows))
            done += n_parts
        wrong = rng.random(len(y)) < 0.1
        part[wrong] = rng.integers(0, done, wrong.sum())
        found.append(0.9 * np.eye(done)[part] + 0.1 / done)
    return found


def test_parts_are_linked_to_groups_of_any_size(rng):
    y = rng.permutation(np.repeat(np.arange(4), (500, 250, 120, 60)))
    found = fine(rng, y)
    clusters = link(found, 4)
    assert clustering_accuracy(y, clusters) > 0.9  # clusters of equal size would have 0.69 at most
    p = average(found, [shares(one, clusters, 4) for one in found])
    assert clustering_accuracy(y, p.argmax(1)) > 0.97
    np.testing.assert_allclose(p.sum(1), 1)


def test_links_are_scikit_learns(rng):
    found = fine(rng, rng.permutation(np.repeat(np.arange(3), (90, 60, 30))), each=20)
    found = [p * rng.uniform(0.8, 1, p.shape) for p in found]  # no two distances are the same then
    together = np.mean([p @ p.T for p in found], 0)
    np.fill_diagonal(together, 1)
    clusters = link(found, 3)
    for n_parts in range(3, 25):  # until three of them are large enough
        expected = AgglomerativeClustering(n_parts, metric="precomputed", linkage="average").fit_predict(1 - together)
        large = [part for part in np.unique(expected) if np.sum(expected == part) >= LEAST_SHARE * 180 / 3]
        if len(large) >= 3:
            break
    assert len(large) == 3
    np.testing.assert_array_equal(clusters >= 0, np.isin(expected, large))
    assert adjusted_rand_score(clusters[clusters >= 0], expected[clusters >= 0]) == 1


def test_what_is_unlike_all_others_is_no_cluster_of_its_own(rng):
    y = np.repeat(np.arange(3), (100, 100, 2))
    found = [np.eye(3)[y] for _ in range(3)]
    assert link(found, 3) is None  # the two are too few
    found = [np.eye(4)[np.where(np.arange(202) < 50, 3, y)] for _ in range(3)]
    clusters = link(found, 3)
    assert set(clusters[:200]) == {0, 1, 2}
    assert set(clusters[200:]) == {-1}
    matrix = shares(found[0], clusters, 3)
    assert matrix[2] == pytest.approx([1 / 3] * 3)  # of it nothing is known
    np.testing.assert_array_equal(np.delete(matrix, 2, 0).sum(1), 1)
