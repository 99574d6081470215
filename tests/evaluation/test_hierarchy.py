import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.stats import multivariate_normal

from nvisa_tf.evaluation.hierarchy import COMPONENTS, Hierarchy, bhattacharyya


def test_the_distance_is_the_integral_of_the_root_of_the_product():
    a = (np.array([0.0, 0.5]), np.array([[1.0, 0.3], [0.3, 0.5]]))
    b = (np.array([1.0, -0.5]), np.array([[0.7, -0.2], [-0.2, 1.5]]))
    p, q = (multivariate_normal(*gaussian).pdf for gaussian in (a, b))
    integral = dblquad(lambda y, x: np.sqrt(p([x, y]) * q([x, y])), -8, 8, -8, 8, epsabs=1e-7)[0]
    assert bhattacharyya(*a, *b) == pytest.approx(-np.log(integral), abs=1e-6)
    assert bhattacharyya(*a, *a) == pytest.approx(0, abs=1e-12)


def three(d=2):
    """Clusters 0 and 3 near each other, 1 far away, and 2 without examples."""
    rng = np.random.default_rng(0)
    clusters = np.repeat([0, 1, 3], 100)
    places = {0: 0.0, 3: 3.0, 1: 30.0}
    return rng.normal(size=(300, d)) + np.array([places[k] for k in clusters])[:, None], clusters


@pytest.mark.parametrize("d", [2, COMPONENTS + 5])
def test_near_clusters_join_first(d):
    found = Hierarchy.of(*three(d))
    assert found.clusters == [0, 1, 3]
    assert set(found.joins[0, :2]) == {0, 2}  # by their place, 0 with 3
    assert found.joins[0, 2] < found.joins[1, 2]
    assert found.groups(2, 4) == [[0, 2, 3], [1]]  # the cluster without examples goes to the largest
    assert found.groups(3, 4) == [[0, 2], [1], [3]]
    assert found.groups(1, 4) == [[0, 1, 2, 3]]


def test_the_distance_of_two_clusters_is_that_of_their_gaussians():
    z, clusters = three()
    found = Hierarchy.of(z, clusters)
    expected = bhattacharyya(np.zeros(2), np.eye(2), np.full(2, 3.0), np.eye(2))
    assert found.joins[0, 2] == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("count", [0, 4])
def test_a_count_that_cannot_be(count):
    with pytest.raises(ValueError, match="The 3 clusters that have examples cannot be"):
        Hierarchy.of(*three()).groups(count, 4)


def test_there_are_as_many_groups_as_are_asked_for_where_distances_are_equal():
    corners = np.repeat([[0.0, 0], [0, 9], [9, 0], [9, 9]], 5, 0)
    for z in (corners, np.zeros((20, 2))):
        found = Hierarchy.of(z, np.repeat(np.arange(4), 5))
        assert [len(found.groups(count, 4)) for count in (1, 2, 3, 4)] == [1, 2, 3, 4]
        assert all(sorted(k for group in found.groups(count, 4) for k in group) == [0, 1, 2, 3] for count in (1, 2, 3, 4))


def test_clusters_of_single_examples_and_of_equal_ones_have_a_distance():
    z = np.array([[0.0, 0], [0, 0], [5, 5], [9, 9]])
    found = Hierarchy.of(z, np.array([0, 0, 1, 2]))
    assert np.isfinite(found.joins).all()
    assert len(Hierarchy.of(z, np.zeros(4, int)).joins) == 0
