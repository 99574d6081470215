"""Latent trees against the enumeration of all states, scikit-learn and what expectation-maximization promises."""

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture

from nvisa_tf.clustering.latent_tree import (
    LEAST_VARIANCE,
    LatentTree,
    Pouch,
    beliefs,
    bic,
    fit,
    information,
    log_likelihood,
    log_probs,
    n_parameters,
    padded,
    posteriors,
    sample,
    unpadded,
)

TREES = {
    "one facet": ((-1,), (3,), (0, 0), ((2, 0), (1,))),
    "two facets": ((-1, 0), (3, 2), (0, 0, 1, 1), ((0, 3), (1,), (2,), (4, 5))),
    "a chain": ((-1, 0, 1), (2, 3, 2), (0, 1, 1, 2), ((0,), (1, 2), (3,), (4,))),
    "two below one": ((-1, 0, 0), (2, 2, 4), (2, 0, 1), ((0, 1, 2), (3,), (4,))),
}


@pytest.fixture(params=TREES)
def tree(request, random_tree):
    return random_tree(5, *TREES[request.param])


def enumerated(tree, z):
    """log p(states, z) for all states of all facets, [n, S_0, S_1, ...]."""
    sizes = [tree.n_states(f) for f in range(tree.n_facets)]
    found = np.empty((len(z), *sizes))
    for states in itertools.product(*map(range, sizes)):
        log_p = np.log(tree.tables[0][states[0]])
        log_p += sum(np.log(tree.tables[f][states[tree.parents[f]], states[f]]) for f in range(1, tree.n_facets))
        found[(slice(None), *states)] = log_p + sum(
            stats.multivariate_normal.logpdf(z[:, list(p.dims)], p.means[states[p.facet]], p.covariances[states[p.facet]])
            for p in tree.pouches
        )
    return found


def test_likelihood_and_posteriors_are_those_of_enumeration(tree):
    z = np.concatenate([sample(tree, 30, 0)[1], 30 * sample(tree, 3, 1)[1]])  # some where all states are unlikely
    every = enumerated(tree, z)
    axes = tuple(range(1, every.ndim))
    total = logsumexp(every, axes)
    np.testing.assert_allclose(log_likelihood(tree, z), total, rtol=1e-10)
    joint = np.exp(every - total.reshape(-1, *[1] * tree.n_facets))
    found = beliefs(tree, log_probs(tree, z))
    for f in range(tree.n_facets):
        expected = joint.sum(tuple(axis for axis in axes if axis != f + 1))
        np.testing.assert_allclose(found.single[f], expected, atol=1e-10)
        np.testing.assert_allclose(posteriors(tree, z)[f], expected, atol=1e-10)
        if f:
            others = tuple(axis for axis in axes if axis not in (f + 1, tree.parents[f] + 1))
            np.testing.assert_allclose(found.pairs[f - 1], joint.sum(others), atol=1e-10)  # a parent comes before, so the axes are in order


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("part", ["all", "some"])
@pytest.mark.parametrize("shape", TREES)
def test_em_never_lowers_the_likelihood(shape, part, seed, random_tree):
    z = sample(random_tree(seed, *TREES[shape]), 200, seed)[1]
    tree = random_tree(seed + 10, *TREES[shape])
    free = {} if part == "all" else {"pouches": [len(tree.pouches) - 1], "facets": [tree.n_facets - 1]}
    totals = [log_likelihood(tree, z).sum()]
    for _ in range(25):
        found = fit(tree, z, 1, **free)
        np.testing.assert_allclose(found.log_likelihood, log_likelihood(found.tree, z).sum(), rtol=1e-12)
        if part == "some":
            assert all(a is b for a, b in zip(tree.pouches[:-1], found.tree.pouches[:-1], strict=True))
        tree = found.tree
        totals.append(found.log_likelihood)
    assert np.diff(totals).min() > -1e-6
    assert totals[-1] > totals[0] + 1


def test_em_of_one_facet_is_that_of_a_mixture():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 2)) + np.array([[-2, 0], [2, 0], [0, 3]])[rng.integers(3, size=400)]
    start = np.array([[-1.0, 0.3], [0.5, 1.0], [0.2, -1.0]])
    tree = LatentTree((-1,), (np.full(3, 1 / 3),), (Pouch(0, (0, 1), start, np.broadcast_to(np.eye(2), (3, 2, 2))),))
    found = fit(tree, z, 30, tolerance=0)
    first = {"weights_init": np.full(3, 1 / 3), "means_init": start, "precisions_init": tree.pouches[0].covariances}
    with pytest.warns(UserWarning, match="did not converge"):
        expected = GaussianMixture(3, reg_covar=0, max_iter=30, tol=0, **first).fit(z)
    np.testing.assert_allclose(found.tree.tables[0], expected.weights_, atol=1e-8)
    np.testing.assert_allclose(found.tree.pouches[0].means, expected.means_, atol=1e-7)
    np.testing.assert_allclose(found.tree.pouches[0].covariances, expected.covariances_, atol=1e-7)
    assert found.log_likelihood == pytest.approx(expected.score(z) * 400)
    assert n_parameters(tree) == expected._n_parameters()
    assert bic(found.tree, found.log_likelihood, 400) == pytest.approx(-expected.bic(z) / 2)


def test_no_variance_is_too_small():
    z = np.zeros((50, 2))
    z[:, 1] = np.arange(50)
    tree = LatentTree((-1,), (np.ones(1),), (Pouch(0, (0, 1), np.zeros((1, 2)), np.eye(2)[None]),))
    values = np.linalg.eigvalsh(fit(tree, z, 1).tree.pouches[0].covariances[0])
    np.testing.assert_allclose(values, [LEAST_VARIANCE, z[:, 1].var()])


def test_samples_have_the_trees_moments(tree):
    states, z = sample(tree, 40_000, 3)
    for f in range(tree.n_facets):
        shares = tree.tables[0] if f == 0 else None
        if f and tree.parents[f] == 0:
            shares = tree.tables[0] @ tree.tables[f]
        if shares is not None:
            np.testing.assert_allclose(np.bincount(states[:, f]) / len(z), shares, atol=0.01)
    for pouch in tree.pouches:
        for s in range(tree.n_states(pouch.facet)):
            own = z[states[:, pouch.facet] == s][:, list(pouch.dims)]
            np.testing.assert_allclose(own.mean(0), pouch.means[s], atol=0.1)
            np.testing.assert_allclose(np.cov(own.T).reshape(pouch.covariances[s].shape), pouch.covariances[s], atol=0.15)


def test_information_is_that_of_quadrature():
    """Of two equal states at -1 and 1 with variance 1, in one dimension."""
    tree = LatentTree((-1,), (np.full(2, 0.5),), (Pouch(0, (0,), np.array([[-1.0], [1.0]]), np.ones((2, 1, 1))),))
    grid = np.linspace(-9, 9, 20001)
    density = 0.5 * (stats.norm.pdf(grid, -1) + stats.norm.pdf(grid, 1))
    expected = -np.sum(density * np.log(density)) * (grid[1] - grid[0]) - 0.5 * np.log(2 * np.pi * np.e)
    assert information(tree, sample(tree, 60_000, 0)[1])[0] == pytest.approx(expected, abs=5e-3)


def test_padded_and_back(tree):
    again = unpadded(padded(tree, 4, 5))
    z = sample(tree, 50, 0)[1]
    assert again.parents == tree.parents
    assert sorted((p.facet, tuple(sorted(p.dims))) for p in again.pouches) == sorted((p.facet, tuple(sorted(p.dims))) for p in tree.pouches)
    np.testing.assert_allclose(log_likelihood(again, z), log_likelihood(tree, z), rtol=1e-9)
    with pytest.raises(ValueError, match="beyond 4 facets of 2 states"):
        padded(tree, 4, 2 if max(map(tree.n_states, range(tree.n_facets))) > 2 else 1)
