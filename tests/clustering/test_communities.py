import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from nvisa_tf.clustering.communities import Partition, best_partition, clusters_of_any_size, communities, neighbor_graph


def test_modularity_is_that_of_the_formula():
    # Newman and Girvan's sum over communities, of the graph's edges counted by hand.
    x = make_blobs(120, centers=3, random_state=0)[0].astype(np.float32)
    graph = neighbor_graph(x)
    partition = communities(graph, 1.0, np.random.default_rng(0))
    a = graph.toarray()
    assert (a == a.T).all()
    assert set(np.unique(a)) == {0.0, 1.0}
    assert (np.diag(a) == 0).all()
    degree, total = a.sum(1), a.sum()
    expected = 0.0
    for k in range(partition.n_clusters):
        inside = partition.clusters == k
        expected += a[np.ix_(inside, inside)].sum() / total - (degree[inside].sum() / total) ** 2
    assert partition.modularity == pytest.approx(expected)


def test_neighbours_are_joined_both_ways():
    x = np.array([[0.0], [1], [2.5], [10], [11], [12.2], [13.7], [15.4]])  # two neighbours each
    found = neighbor_graph(x).toarray()
    assert found[0].tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
    assert found[3].tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert found[5].tolist() == [0, 0, 0, 1, 1, 0, 1, 1]  # 12.2 is among the nearest of 15.4, though not the other way round


def test_the_best_partition_is_one_that_fits():
    graph = neighbor_graph(make_blobs(200, centers=4, random_state=0)[0])
    rng = np.random.default_rng(0)
    two, three, five = (Partition(np.arange(200) % n, modularity) for n, modularity in ((2, 0.9), (3, 0.2), (5, 0.5)))
    assert best_partition(graph, [two, three, five], 2, 5, rng) is two
    assert best_partition(graph, [two, three, five], 3, 4, rng) is three
    assert best_partition(graph, [two, three, five], 3, 9, rng) is five
    assert best_partition(graph, [two, three, five], 4, 4, rng) is five  # to be merged
    assert best_partition(graph, [two, three, five], 30, 40, rng).n_clusters >= 30


@pytest.mark.parametrize("n_clusters", [2, 4, 7])
def test_there_are_as_many_clusters_as_are_asked_for(n_clusters):
    x = make_blobs(200, centers=4, random_state=0, n_features=3)[0]
    assert set(clusters_of_any_size(x, n_clusters, 0)) == set(range(n_clusters))


def test_clusters_of_unequal_size_are_found_where_k_means_cuts_the_largest():
    from sklearn.cluster import KMeans

    x, y = make_blobs([600, 60, 60], centers=[[0, 0], [7, 0], [0, 7]], cluster_std=[2.0, 0.5, 0.5], random_state=0)
    assert adjusted_rand_score(y, clusters_of_any_size(x, 3, 0)) > 0.85
    assert adjusted_rand_score(y, KMeans(3, n_init=10, random_state=0).fit_predict(x)) < 0.85


def test_it_repeats():
    x = make_blobs(150, centers=3, random_state=2, cluster_std=3.0)[0]
    np.testing.assert_array_equal(clusters_of_any_size(x, 5, 1), clusters_of_any_size(x, 5, 1))
