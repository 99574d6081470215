"""The search for a tree's structure: it finds what data were drawn from, and each operator gives a tree."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from nvisa_tf.clustering import tree_search
from nvisa_tf.clustering.latent_tree import LatentTree, Pouch, beliefs, bic, fit, log_probs, posteriors, sample
from nvisa_tf.clustering.tree_search import Limits, View, first_search, search

GROUPS = ((0, 2, 5), (1, 3, 4))  # the dimensions of the two planted facets


def planted(n, correlated=False):
    """Two facets of three states each, dependent on each other, and n draws of their states and of z."""
    pouches = []
    for f, dims in enumerate(GROUPS):
        means = np.array([[-2.0, 1.5, 0.0], [2.0, 1.0, -1.5], [0.0, -2.0, 2.0]])[:, [[0, 1, 2], [2, 0, 1]][f]]
        covariance = 0.09 * (np.eye(3) + 0.8 * (1 - np.eye(3)) * correlated)
        if correlated:
            pouches.append(Pouch(f, dims, means, np.broadcast_to(covariance, (3, 3, 3))))
        else:
            pouches += [Pouch(f, (d,), means[:, [i]], np.full((3, 1, 1), 0.09)) for i, d in enumerate(dims)]
    tables = (np.array([0.4, 0.35, 0.25]), np.array([[0.5, 0.3, 0.2], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]]))
    tree = LatentTree((-1, 0), tables, tuple(pouches))
    return tree, *sample(tree, n, 4)


def mixture(z, n_states, seed=0):
    """One facet, and each dimension a pouch."""
    found = GaussianMixture(n_states, covariance_type="diag", n_init=3, random_state=seed).fit(z)
    pouches = tuple(Pouch(0, (d,), found.means_[:, [d]], found.covariances_[:, d, None, None]) for d in range(z.shape[1]))
    return LatentTree((-1,), (found.weights_,), pouches)


def dims_of(tree, facet):
    return tuple(sorted(d for pouch in tree.pouches if pouch.facet == facet for d in pouch.dims))


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_two_planted_facets_are_found(correlated, seed):
    truth, states, z = planted(600, correlated)
    found = search(mixture(z, 3, seed), z, Limits(2, 3), seed)
    tree = found.tree
    assert {dims_of(tree, f) for f in range(tree.n_facets)} == set(GROUPS)
    for f, p in enumerate(posteriors(tree, z)):
        assert tree.n_states(f) == 3
        assert adjusted_rand_score(states[:, GROUPS.index(dims_of(tree, f))], p.argmax(1)) > 0.95
    best = fit(truth, z, 100)
    assert found.bic > bic(best.tree, best.log_likelihood, len(z)) - 3
    assert all((len(pouch.dims) > 1) == correlated for pouch in tree.pouches)
    assert found.bic > found.first_bic
    again = search(mixture(z, 3, seed), z, Limits(2, 3), seed)
    assert (again.steps, again.bic) == (found.steps, found.bic)


def test_a_mixture_stays_one():
    rng = np.random.default_rng(0)
    z = 3 * rng.normal(size=(3, 4))[rng.integers(3, size=500)] + 0.3 * rng.normal(size=(500, 4))
    found = search(mixture(z, 3), z, Limits(2, 3), 0)
    assert found.tree.n_facets == 1
    assert all(len(pouch.dims) == 1 for pouch in found.tree.pouches)
    assert found.bic == found.first_bic
    assert found.steps == ()


def test_the_first_search_is_the_better_of_two_orders():
    _, _, z = planted(300)
    start, limits = mixture(z, 3), Limits(2, 3)
    found = first_search(start, z, limits, 0)
    plain = search(start, z, limits, 0)
    apart = search(search(start, z, Limits(2, 3, pouching=False), 0).tree, z, limits, 0)
    assert found.bic == max(plain.bic, apart.bic) or found.bic == pytest.approx(plain.bic, abs=0.001 * len(z))
    assert all("pouch dimensions" not in step for step in search(start, z, Limits(2, 3, pouching=False), 0).steps)
    assert found.first_bic == plain.first_bic
    assert found.tree.n_facets == 2


def test_limits_are_kept():
    _, _, z = planted(400)
    assert search(mixture(z, 3), z, Limits(1, 3), 0).tree.n_facets == 1
    tree = search(mixture(z, 2), z, Limits(3, 2), 0).tree
    assert tree.n_facets <= 3
    assert {tree.n_states(f) for f in range(tree.n_facets)} == {2}


def test_a_tree_with_too_much_is_simplified():
    """One Gaussian, begun as two facets of three states."""
    z = np.random.default_rng(0).normal(size=(400, 3)) * [1, 2, 3]
    rng = np.random.default_rng(1)
    pouches = (Pouch(0, (0,), np.zeros((1, 1)), np.ones((1, 1, 1))), Pouch(1, (1, 2), rng.normal(size=(3, 2)), np.stack([np.eye(2)] * 3)))
    tree = LatentTree((-1, 0), (np.ones(1), np.full((1, 3), 1 / 3)), pouches)
    found = search(tree, z, Limits(2, 3), 0)
    assert found.tree.n_facets == 1
    assert {pouch.dims for pouch in found.tree.pouches} == {(0,), (1,), (2,)}


@pytest.fixture(scope="module")
def view(random_tree):
    tree = random_tree(5, (-1, 0, 1), (2, 3, 2), (0, 0, 1, 1, 2), ((0,), (5,), (1, 2), (3,), (4,)))
    z = sample(tree, 300, 0)[1]
    return View(tree, z, beliefs(tree, log_probs(tree, z)))


@pytest.mark.parametrize("operators", ["expansions", "adjustments", "simplifications"])
def test_each_candidate_is_a_tree(operators, view):
    candidates = list(getattr(tree_search, operators)(view, Limits(4, 4), 0))
    assert len({candidate.name.split()[0] for candidate in candidates}) > 1
    now = fit(view.tree, view.z, 0)
    for candidate in candidates:
        tree = candidate.make()
        assert sorted(d for pouch in tree.pouches for d in pouch.dims) == list(range(6))
        assert tree.parents[0] == -1
        assert tree.n_states(0) == 2
        for f, table in enumerate(tree.tables):
            np.testing.assert_allclose(table.sum(-1), 1, rtol=1e-6)
            assert any(pouch.facet == f for pouch in tree.pouches)
            if f:
                assert 0 <= tree.parents[f] < f
                assert len(table) == tree.n_states(tree.parents[f])
        for pouch in tree.pouches:
            assert pouch.means.shape == (tree.n_states(pouch.facet), len(pouch.dims))
            assert np.linalg.eigvalsh(pouch.covariances).min() > 0
        # EM of the new parts alone is of the tree as a whole, and what stays is not touched.
        before = fit(tree, view.z, 0).log_likelihood
        after = tree_search.local_fit(tree, now, view.z, 5)
        assert after.log_likelihood > before - 1e-6, candidate.name
        assert fit(after.tree, view.z, 0).log_likelihood == pytest.approx(after.log_likelihood, rel=1e-9)
        same = {id(pouch) for pouch in view.tree.pouches}
        assert {id(p) for p in tree.pouches} & same == {id(p) for p in after.tree.pouches} & same


def test_a_split_pouch_has_its_marginals(view):
    tree = tree_search.split(view.tree, 2, 1)
    new, old = tree.pouches[-1], view.tree.pouches[2]
    assert (tree.pouches[2].dims, new.dims) == ((2,), (1,))
    np.testing.assert_array_equal(new.means, old.means[:, :1])
    np.testing.assert_array_equal(tree.pouches[2].covariances, old.covariances[:, 1:, 1:])


def test_a_facet_less_keeps_what_is_below_it(view):
    """Its children are of its parent then, by the law of total probability."""
    tree = tree_search.delete_facet(view, 1)
    assert tree.parents == (-1, 0)
    np.testing.assert_allclose(tree.tables[1], view.tree.tables[1] @ view.tree.tables[2])
    assert sorted((pouch.facet, pouch.dims) for pouch in tree.pouches) == [(0, (0,)), (0, (1, 2)), (0, (3,)), (0, (5,)), (1, (4,))]
