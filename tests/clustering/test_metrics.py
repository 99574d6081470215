import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from nvisa_tf import clustering_accuracy, clustering_scores, confusion_matrix
from nvisa_tf.clustering.metrics import cluster_size_entropy, exemplar_accuracy, majority_accuracy, measures


def best_by_enumeration(labels, clusters):
    """Try every one-to-one map of the smaller set into the larger."""
    classes, found = np.unique(labels), np.unique(clusters)
    best = 0
    if len(classes) >= len(found):
        for images in itertools.permutations(classes, len(found)):
            best = max(best, sum(np.sum((clusters == k) & (labels == c)) for k, c in zip(found, images, strict=True)))
    else:
        for images in itertools.permutations(found, len(classes)):
            best = max(best, sum(np.sum((clusters == k) & (labels == c)) for k, c in zip(images, classes, strict=True)))
    return best / len(labels)


@pytest.mark.parametrize(("n_classes", "n_clusters"), [(4, 4), (5, 3), (3, 5), (1, 4), (4, 1)])
def test_accuracy_against_every_mapping(n_classes, n_clusters, rng):
    for _ in range(5):
        labels, clusters = rng.integers(0, n_classes, 60), rng.integers(0, n_clusters, 60)
        assert clustering_accuracy(labels, clusters) == pytest.approx(best_by_enumeration(labels, clusters))


def test_permuted_and_sparse_names_are_perfect(rng):
    labels = rng.integers(0, 5, 100)
    clusters = np.array([100, 7, 42, 3, 9])[labels]
    assert clustering_scores(labels, clusters) == (1.0, pytest.approx(1.0), pytest.approx(1.0))


def test_confusion_matrix_counts():
    assert confusion_matrix([0, 0, 1, 1, 1], [2, 2, 2, 0, 0]).tolist() == [[0, 2], [2, 1]]


@pytest.mark.parametrize(("labels", "clusters"), [([0, 1], [0]), ([], []), ([[0, 1]], [[0, 1]])])
def test_bad_shapes(labels, clusters):
    with pytest.raises(ValueError, match="two vectors of one length"):
        clustering_accuracy(labels, clusters)


def test_cluster_size_entropy():
    assert cluster_size_entropy(np.repeat(np.arange(4), 3), 4) == pytest.approx(math.log(4))
    assert cluster_size_entropy(np.zeros(5, int), 4) == 0
    assert cluster_size_entropy(np.array([0, 0, 0, 1]), 3) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


@pytest.mark.parametrize(("n_classes", "n_clusters"), [(4, 4), (3, 7), (5, 2)])
def test_measures_that_map_many_clusters_to_one_class(n_classes, n_clusters, rng):
    labels, q = rng.integers(0, n_classes, 80), rng.dirichlet(np.ones(n_clusters), 80)
    clusters = q.argmax(1)
    majority = sum(max(np.sum((clusters == k) & (labels == c)) for c in range(n_classes)) for k in range(n_clusters))
    assert majority_accuracy(labels, clusters) == pytest.approx(majority / 80)
    assert majority_accuracy(labels, clusters) >= clustering_accuracy(labels, clusters)
    surest = [max(range(80), key=lambda i, k=k: q[i, k]) for k in range(n_clusters)]
    assert exemplar_accuracy(labels, q) == pytest.approx(
        np.mean([labels[surest[k]] == label for k, label in zip(clusters, labels, strict=True)])
    )
    assert exemplar_accuracy(labels, q) <= majority_accuracy(labels, clusters)


def test_all_measures_by_name(rng):
    labels, q = rng.integers(0, 3, 50), rng.dirichlet(np.ones(4), 50)
    clusters = q.argmax(1)
    assert measures(labels, q) == {
        "accuracy": clustering_accuracy(labels, clusters),
        "nmi": normalized_mutual_info_score(labels, clusters),
        "ari": adjusted_rand_score(labels, clusters),
        "majority_accuracy": majority_accuracy(labels, clusters),
        "exemplar_accuracy": exemplar_accuracy(labels, q),
    }


def test_a_clusters_surest_example_may_be_of_another_cluster():
    """As in the papers: the largest q(y|x) for that y, wherever the example itself belongs."""
    q = np.array([[0.4, 0.3, 0.3], [0.45, 0.5, 0.05], [0.1, 0.2, 0.7]])
    assert exemplar_accuracy([0, 1, 1], q) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("labels", "q"), [([0, 1], [[0.5, 0.5]]), ([], np.zeros((0, 2))), ([0, 1], [0, 1])])
def test_bad_shapes_of_probabilities(labels, q):
    with pytest.raises(ValueError, match="a vector and a matrix of one length"):
        exemplar_accuracy(labels, q)
