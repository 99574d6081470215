"""Latent tree models with Gaussian leaves in float64: likelihood, posteriors, expectation-maximization, BIC. NumPy in, NumPy out.

Poon, Zhang, Chen & Wang, ICML 2010 ("Variable selection in model-based clustering: to do or to facilitate") call them pouch latent tree
models; Li, Chen, Poon & Zhang, ICLR 2019 (arXiv 1803.05206), make them the prior of an autoencoder. A latent node is called a facet here.

Shapes: n examples, D dimensions, S states of a facet, d dimensions of a pouch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

LEAST_VARIANCE = 1e-3  # of a pouch given a state, in any direction; where z has a standard deviation of about 1
LEAST_COUNT = 1e-9  # of examples in a state
LOG_2_PI = float(np.log(2 * np.pi))


class Pouch(NamedTuple):
    """Dimensions of z that are jointly Gaussian given a facet's state: their numbers, means [S, d] and covariances [S, d, d]."""

    facet: int
    dims: tuple[int, ...]
    means: np.ndarray
    covariances: np.ndarray


class LatentTree(NamedTuple):
    """p(Y_0) prod_f p(Y_f | Y_parent(f)) prod_pouches N(z_pouch | Y_facet).

    Attributes:
      parents: of each facet, which comes before it; -1 for facet 0, the root.
      tables: p(Y_0), [S_0], and p(Y_f | Y_parent), [S_parent, S_f].
      pouches: whose dimensions are those of z, each once.
    """

    parents: tuple[int, ...]
    tables: tuple[np.ndarray, ...]
    pouches: tuple[Pouch, ...]

    @property
    def n_facets(self) -> int:
        """Of the tree."""
        return len(self.parents)

    def n_states(self, facet: int) -> int:
        """Of a facet."""
        return self.tables[facet].shape[-1]


class Beliefs(NamedTuple):
    """What a tree says of examples: log p(z), nats, [n]; p(Y_f|z), F times [n, S_f]; p(Y_parent, Y_f|z) of facets but the root."""

    log_prob: np.ndarray
    single: list[np.ndarray]
    pairs: list[np.ndarray]


def pouch_log_prob(pouch: Pouch, z: np.ndarray) -> np.ndarray:
    """log N(z_pouch | Y = s), nats, [n, S], of z [n, D]."""
    lower = np.linalg.cholesky(pouch.covariances)
    log_det = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(1)
    inverse = np.linalg.inv(lower)
    rows = z[:, list(pouch.dims)] @ inverse.reshape(-1, len(pouch.dims)).T - np.einsum("sde,se->sd", inverse, pouch.means).reshape(-1)
    squares = np.square(rows).reshape(len(z), *pouch.means.shape).sum(-1)
    return -0.5 * squares - log_det - 0.5 * len(pouch.dims) * LOG_2_PI


def log_probs(tree: LatentTree, z: np.ndarray) -> list[np.ndarray]:
    """`pouch_log_prob` of each pouch."""
    return [pouch_log_prob(pouch, z) for pouch in tree.pouches]


def beliefs(tree: LatentTree, each: Sequence[np.ndarray]) -> Beliefs:
    """By sum-product; each: what `log_probs` gives."""
    below = [np.zeros((len(each[0]), tree.n_states(f))) for f in range(tree.n_facets)]
    for pouch, log_prob in zip(tree.pouches, each, strict=True):
        below[pouch.facet] += log_prob
    down = []  # p(Y_f | Y_parent, z below)
    for f in range(tree.n_facets - 1, 0, -1):
        # A factor for each example apart, as exp of what is below may be 0 in all states.
        largest = below[f].max(1, keepdims=True)
        likelihood = np.exp(below[f] - largest)
        message = likelihood @ tree.tables[f].T
        down.append(tree.tables[f] * likelihood[:, None] / message[..., None])
        below[tree.parents[f]] += np.log(message) + largest
    with np.errstate(divide="ignore"):  # of a state without examples
        joint = np.log(tree.tables[0]) + below[0]
    log_prob = logsumexp(joint, axis=1)
    single, pairs = [np.exp(joint - log_prob[:, None])], []
    for f in range(1, tree.n_facets):
        pairs.append(single[tree.parents[f]][..., None] * down[-f])
        single.append(pairs[-1].sum(1))
    return Beliefs(log_prob, single, pairs)


def log_likelihood(tree: LatentTree, z: np.ndarray) -> np.ndarray:
    """log p(z), nats, [n], of z [n, D]."""
    return beliefs(tree, log_probs(tree, z)).log_prob


def posteriors(tree: LatentTree, z: np.ndarray) -> list[np.ndarray]:
    """p(Y_f|z) of each facet, [n, S_f]."""
    return beliefs(tree, log_probs(tree, z)).single


def maximized_pouch(pouch: Pouch, z: np.ndarray, responsibilities: np.ndarray) -> Pouch:
    """The pouch whose parameters are the likeliest of z [n, D] weighted by responsibilities [n, S], no variance under `LEAST_VARIANCE`."""
    x = z[:, list(pouch.dims)]
    counts = responsibilities.sum(0) + LEAST_COUNT
    means = responsibilities.T @ x / counts[:, None]
    covariances = np.empty((len(counts), x.shape[1], x.shape[1]))
    for s, mean in enumerate(means):
        centred = x - mean
        covariances[s] = (responsibilities[:, s, None] * centred).T @ centred / counts[s]
    values, vectors = np.linalg.eigh(covariances)
    values = np.maximum(values, LEAST_VARIANCE)  # which is the maximum under that constraint
    return pouch._replace(means=means, covariances=(vectors * values[:, None]) @ vectors.swapaxes(1, 2))


def maximized_table(pair: np.ndarray) -> np.ndarray:
    """p(Y_f | Y_parent) [S_parent, S_f] from their joint posterior [n, S_parent, S_f]."""
    counts = pair.sum(0) + LEAST_COUNT
    return counts / counts.sum(1, keepdims=True)


class Fit(NamedTuple):
    """A tree, log p(z) of all examples together, nats, and what `log_probs` gives."""

    tree: LatentTree
    log_likelihood: float
    each: list[np.ndarray]


def fit(
    tree: LatentTree,
    z: np.ndarray,
    iterations: int,
    tolerance: float = 1e-4,
    pouches: Collection[int] | None = None,
    facets: Collection[int] | None = None,
    each: Sequence[np.ndarray | None] | None = None,
) -> Fit:
    """Expectation-maximization, of the whole tree or of a part of it.

    Args:
      tree: where it begins.
      z: [n, D].
      iterations: at most.
      tolerance: nats an example; an iteration that brings less is the last.
      pouches, facets: whose parameters are maximized, None: of all; those of the others stay.
      each: `pouch_log_prob` of the pouches where they are known, else None.
    """
    pouches = range(len(tree.pouches)) if pouches is None else pouches
    facets = range(tree.n_facets) if facets is None else facets
    known: Sequence[np.ndarray | None] = each or [None] * len(tree.pouches)
    logs = [pouch_log_prob(pouch, z) if log is None else log for pouch, log in zip(tree.pouches, known, strict=True)]
    found = beliefs(tree, logs)
    total = float(found.log_prob.sum())
    for _ in range(iterations):
        tables, parts = list(tree.tables), list(tree.pouches)
        for f in facets:
            tables[f] = found.single[0].mean(0) if f == 0 else maximized_table(found.pairs[f - 1])
        for i in pouches:
            parts[i] = maximized_pouch(parts[i], z, found.single[parts[i].facet])
            logs[i] = pouch_log_prob(parts[i], z)
        tree = tree._replace(tables=tuple(tables), pouches=tuple(parts))
        found, before = beliefs(tree, logs), total
        total = float(found.log_prob.sum())
        if total - before < tolerance * len(z):
            break
    return Fit(tree, total, logs)


def n_parameters(tree: LatentTree) -> int:
    """Free parameters: of tables, means and covariances."""
    tables = sum((1 if table.ndim == 1 else len(table)) * (table.shape[-1] - 1) for table in tree.tables)
    return tables + sum(len(pouch.means) * (len(pouch.dims) * (len(pouch.dims) + 3)) // 2 for pouch in tree.pouches)


def bic(tree: LatentTree, log_likelihood: float, n_examples: int) -> float:
    """log p(z) of all examples less half the logarithm of their number for each parameter (Schwarz), nats; higher is better."""
    return log_likelihood - 0.5 * n_parameters(tree) * float(np.log(n_examples))


def information(tree: LatentTree, z: np.ndarray) -> np.ndarray:
    """The mutual information of each facet and z, nats, estimated on z [n, D]: its entropy less the mean entropy of p(Y_f|z); [F]."""

    def entropy(p: np.ndarray) -> np.ndarray:
        return -(p * np.log(np.maximum(p, 1e-300))).sum(-1)

    return np.array([float(entropy(p.mean(0)) - entropy(p).mean()) for p in posteriors(tree, z)])


def sample(tree: LatentTree, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """n draws: the facets' states, integers [n, F], and z, float64 [n, D]."""
    rng = np.random.default_rng(seed)
    states = np.zeros((n, tree.n_facets), np.int64)
    for f, table in enumerate(tree.tables):
        rows = np.broadcast_to(table, (n, len(table))) if f == 0 else table[states[:, tree.parents[f]]]
        states[:, f] = (rng.random((n, 1)) > np.cumsum(rows, 1)[:, :-1]).sum(1)
    z = np.empty((n, sum(len(pouch.dims) for pouch in tree.pouches)))
    for pouch in tree.pouches:
        lower = np.linalg.cholesky(pouch.covariances)
        own, noise = states[:, pouch.facet], rng.normal(size=(n, len(pouch.dims)))
        z[:, list(pouch.dims)] = pouch.means[own] + np.einsum("nde,ne->nd", lower[own], noise)
    return states, z


def padded(tree: LatentTree, most_facets: int, n_states: int) -> dict[str, np.ndarray]:
    """The tree in arrays of fixed shapes, the weights of `nvisa_tf.layers.tree_prior.TreePrior` by name.

    Raises:
      ValueError: it has more facets, or a facet more states.
    """
    if tree.n_facets > most_facets or max(table.shape[-1] for table in tree.tables) > n_states:
        raise ValueError(f"The tree has {tree.n_facets} facets, or states, beyond {most_facets} facets of {n_states} states.")
    dim = sum(len(pouch.dims) for pouch in tree.pouches)
    states, parent, member = np.zeros((most_facets, n_states)), np.zeros((most_facets, most_facets)), np.zeros((most_facets, dim))
    states[:, 0], parent[1:, 0] = 1, 1
    log_tables = np.full((most_facets, n_states, n_states), -1e9)
    log_tables[:, :, 0] = 0
    for f, table in enumerate(tree.tables):
        size = table.shape[-1]
        rows = np.broadcast_to(table, (n_states, size)) if f == 0 else table
        states[f, :size] = 1
        log_tables[f, : len(rows), :size] = np.log(np.maximum(rows, 1e-30))
        if f:
            parent[f] = np.arange(most_facets) == tree.parents[f]
    loc, log_norm = np.zeros((most_facets, n_states, dim)), np.zeros((most_facets, n_states))
    together = np.zeros((dim, dim))
    root, whitening = np.zeros((2, most_facets, n_states, dim, dim))
    for pouch in tree.pouches:
        f, size, dims = pouch.facet, len(pouch.means), list(pouch.dims)
        values, vectors = np.linalg.eigh(pouch.covariances)
        root[f][:, dims, dims] = whitening[f][:, dims, dims] = 1  # of states that there are not
        block = np.ix_([f], range(size), dims, dims)
        root[block] = (vectors * np.sqrt(values)[:, None]) @ vectors.swapaxes(1, 2)
        whitening[block] = (vectors / np.sqrt(values)[:, None]) @ vectors.swapaxes(1, 2)
        loc[np.ix_([f], range(size), dims)] = pouch.means
        log_norm[f] -= 0.5 * len(dims) * LOG_2_PI
        log_norm[f, :size] -= 0.5 * np.log(values).sum(1)
        together[np.ix_(dims, dims)], member[f, dims] = 1, 1
    return {
        "states": states, "parent": parent, "member": member, "together": together, "log_tables": log_tables,
        "loc": loc, "root": root, "whitening": whitening, "log_norm": log_norm,
    }  # fmt: skip


def unpadded(values: dict[str, np.ndarray]) -> LatentTree:
    """The tree that `padded` gives these arrays of, or that a `TreePrior` has come to."""
    values = {name: np.asarray(value, np.float64) for name, value in values.items()}
    n_facets = max(1, int((values["member"].sum(1) > 0).sum()))
    sizes = values["states"].sum(1).astype(int)
    parents = (-1, *(int(values["parent"][f].argmax()) for f in range(1, n_facets)))
    tables = [np.exp(values["log_tables"][f, : sizes[parents[f]] if f else 1, : sizes[f]]) for f in range(n_facets)]
    tables = [table / table.sum(-1, keepdims=True) for table in tables]
    pouches, left = [], list(range(values["member"].shape[1]))
    while left:
        dims = [d for d in left if values["together"][left[0], d] > 0]
        f = int(values["member"][:, dims[0]].argmax())
        root = values["root"][f][: sizes[f]][:, dims][:, :, dims]
        pouches.append(Pouch(f, tuple(dims), values["loc"][f][: sizes[f]][:, dims], root @ root))
        left = [d for d in left if d not in dims]
    return LatentTree(parents, (tables[0][0], *tables[1:]), tuple(pouches))
