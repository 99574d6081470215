import numpy as np
import pytest

from nvisa_tf.clustering import neighbors
from nvisa_tf.clustering.neighbors import nearest_neighbors, principal_components
from nvisa_tf.data.dataset import of_unit_length


def correlated(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 5).astype(np.float32)


@pytest.mark.parametrize("most_exact", [4_096, 1], ids=["exact", "randomized"])
def test_the_codes_are_those_of_a_singular_value_decomposition(monkeypatch, most_exact):
    monkeypatch.setattr(neighbors, "EXACT_VALUES", most_exact)
    x = correlated(200, 6)
    found = principal_components(x, 3, 0)
    centred = x.astype(np.float64) - x.mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:3]
    codes = x @ found.kernel + found.bias
    expected = centred @ directions.T
    expected /= np.sqrt(expected.var(0, ddof=1).mean())
    signs = np.sign((codes * expected).sum(0))
    np.testing.assert_allclose(codes, expected * signs, atol=1e-3)
    assert found.kernel.dtype == found.bias.dtype == np.float32


def test_components_that_there_are_not_are_zero():
    found = principal_components(correlated(4, 6), 8, 0)
    codes = correlated(4, 6) @ found.kernel + found.bias
    assert not found.kernel[:, 4:].any()
    np.testing.assert_allclose(np.mean(codes.var(0, ddof=1)), 1, rtol=1e-3)


def test_examples_that_are_all_the_same_are_refused():
    with pytest.raises(ValueError, match="All examples are the same"):
        principal_components(np.ones((5, 3), np.float32), 2, 0)


def test_neighbours_are_the_nearest_and_of_directions_those_of_the_largest_cosine():
    codes = np.random.default_rng(1).normal(size=(60, 4)) * np.random.default_rng(2).uniform(0.1, 9, size=(60, 1))
    distances = np.linalg.norm(codes[:, None] - codes, axis=2)
    cosines = (codes @ codes.T) / np.outer(np.linalg.norm(codes, axis=1), np.linalg.norm(codes, axis=1))
    np.fill_diagonal(distances, np.inf)
    np.fill_diagonal(cosines, -2)
    np.testing.assert_array_equal(nearest_neighbors(codes, 7), np.argsort(distances, 1)[:, :7])
    np.testing.assert_array_equal(nearest_neighbors(of_unit_length(codes), 7), np.argsort(-cosines, 1)[:, :7])


def test_an_example_is_not_its_own_neighbour_where_others_are_the_same():
    found = nearest_neighbors(np.ones((5, 2)), 4)
    assert [sorted(row) for row in found.tolist()] == [[j for j in range(5) if j != i] for i in range(5)]
    with pytest.raises(ValueError, match="ask for 4 at most"):
        nearest_neighbors(np.ones((5, 2)), 5)
    assert nearest_neighbors(np.ones((1, 2)), 1).tolist() == [[0]]


def test_a_code_of_zero_has_no_length_to_divide_by():
    np.testing.assert_allclose(of_unit_length(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
