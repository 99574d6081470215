"""The search for a latent tree's structure by BIC: it expands, adjusts and simplifies in turn until nothing improves. NumPy in, NumPy out.

The operators and their order are those of Poon et al. (ICML 2010) and Li et al. (ICLR 2019, arXiv 1803.05206, section 4). Facet 0 keeps
its states and is never deleted; each facet keeps a pouch.

Shapes: n examples, D dimensions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from nvisa_tf.clustering.latent_tree import (
    Beliefs,
    Fit,
    LatentTree,
    Pouch,
    beliefs,
    bic,
    fit,
    maximized_pouch,
    maximized_table,
    n_parameters,
)

SCREENING, LOCAL, COMPLETE = 5, 15, 60  # iterations of EM at most: of a candidate's new parts, the same of a chosen one, of all its parts
STARTS = 4  # of a chosen candidate that has random parts
MOST_STEPS = 100  # of a search
LEAST_GAIN = 1e-3  # nats an example that a step must bring, so that rounding is no improvement


class Limits(NamedTuple):
    """How many facets a tree may have, how many states a facet, and whether pouches may be joined."""

    facets: int
    states: int
    pouching: bool = True


class Candidate(NamedTuple):
    """A change of a tree.

    Attributes:
      name: of the operator and of what it changes, for a person.
      operator, args: which give the changed tree, its new parts at their start; parts that stay are the same objects.
      seed: of the first of its random starts, the operator's last argument; None: it has nothing random.
    """

    name: str
    operator: Callable[..., LatentTree]
    args: tuple[Any, ...]
    seed: int | None = None

    def make(self, start: int = 0) -> LatentTree:
        """The changed tree."""
        return self.operator(*self.args) if self.seed is None else self.operator(*self.args, self.seed + start)


class Found(NamedTuple):
    """What a search found: the tree, its BIC (nats, all examples together), that of the first tree once fitted, and the steps' names."""

    tree: LatentTree
    bic: float
    first_bic: float
    steps: tuple[str, ...]


class View(NamedTuple):
    """A fitted tree, the examples z [n, D] that it is fitted to, and what it says of them."""

    tree: LatentTree
    z: np.ndarray
    of: Beliefs


def first_search(tree: LatentTree, z: np.ndarray, limits: Limits, seed: int) -> Found:
    """The better of two searches, the second of which joins no pouches until nothing else improves the tree.

    Pouches of many dimensions, which come soon as they gain much, can hide that there are facets. Arguments as of `search`.
    """
    found = search(tree, z, limits, seed)
    apart = search(tree, z, limits._replace(pouching=False), seed)
    if not apart.steps:  # then the second search is the first
        return found
    after = search(apart.tree, z, limits, seed)
    return (
        found if found.bic + LEAST_GAIN * len(z) > after.bic else after._replace(first_bic=found.first_bic, steps=apart.steps + after.steps)
    )


@threadpool_limits.wrap(limits=1)  # sums would depend on the number of threads
def search(tree: LatentTree, z: np.ndarray, limits: Limits, seed: int) -> Found:
    """From a tree to one that no operator improves, by BIC on z [n, D]; the seed is of random starts."""
    z = np.asarray(z, np.float64)
    now = fit(tree, z, COMPLETE)
    first = best = bic(now.tree, now.log_likelihood, len(z))
    steps: list[str] = []
    improved = True
    while improved and len(steps) < MOST_STEPS:
        improved = False
        for operators, by_parameter in ((expansions, True), (adjustments, False), (simplifications, False)):
            while len(steps) < MOST_STEPS:
                view = View(now.tree, z, beliefs(now.tree, now.each))
                chosen = choose(list(operators(view, limits, seed)), now, z, best, by_parameter)
                after = None if chosen is None else completed(chosen, now, z)
                score = -np.inf if after is None else bic(after.tree, after.log_likelihood, len(z))
                if chosen is None or after is None or score < best + LEAST_GAIN * len(z):
                    break
                now, best, improved = after, score, True
                steps.append(chosen.name)
    return Found(now.tree, best, first, tuple(steps))


def choose(candidates: Sequence[Candidate], now: Fit, z: np.ndarray, best: float, by_parameter: bool) -> Candidate | None:
    """The one that improves BIC the most after a few iterations on its new parts, or the most for each new parameter; None: none does."""
    gains = []
    for candidate in candidates:
        screened = local_fit(candidate.make(), now, z, SCREENING)
        gain = bic(screened.tree, screened.log_likelihood, len(z)) - best
        more = n_parameters(screened.tree) - n_parameters(now.tree)
        gains.append(gain / max(1, more) if by_parameter else gain)
    if not gains or max(gains) <= 0:
        return None
    return candidates[int(np.argmax(gains))]


def completed(candidate: Candidate, now: Fit, z: np.ndarray) -> Fit:
    """A chosen candidate's tree with all parameters fitted, the likeliest of its starts."""
    starts = [local_fit(candidate.make(i), now, z, LOCAL) for i in range(1 if candidate.seed is None else STARTS)]
    best = max(starts, key=lambda start: start.log_likelihood)
    return fit(best.tree, z, COMPLETE, each=best.each)


def local_fit(tree: LatentTree, now: Fit, z: np.ndarray, iterations: int) -> Fit:
    """EM of the parts that are not parts of the present tree alone."""
    known = {id(pouch): log for pouch, log in zip(now.tree.pouches, now.each, strict=True)}
    old = {id(table) for table in now.tree.tables}
    each = [known.get(id(pouch)) for pouch in tree.pouches]
    pouches = [i for i, log in enumerate(each) if log is None]
    return fit(tree, z, iterations, pouches=pouches, facets=[f for f, t in enumerate(tree.tables) if id(t) not in old], each=each)


def expansions(view: View, limits: Limits, seed: int) -> Iterator[Candidate]:
    """One more state, one more facet above two pouches of another, or two pouches as one."""
    tree = view.tree
    for f in range(1, tree.n_facets):
        if tree.n_states(f) < limits.states:
            for s in range(tree.n_states(f)):
                yield Candidate(f"add a state to facet {f}", add_state, (view, f, s), seed)
    for f in range(tree.n_facets):
        own = pouches_of(tree, f)
        for a, b in itertools.combinations(own, 2):
            which = f"dimensions {list(tree.pouches[a].dims)} and {list(tree.pouches[b].dims)} of facet {f}"
            if limits.pouching:
                yield Candidate(f"pouch {which}", join, (view, a, b))
            if tree.n_facets < limits.facets and len(own) > 2 and limits.states > 1:
                for size in sorted({2, limits.states}):
                    yield Candidate(f"add a facet of {size} states above {which}", add_facet, (view, a, b, size), seed)


def adjustments(view: View, limits: Limits, seed: int) -> Iterator[Candidate]:
    """A pouch below another facet, or a facet's states begun again, which is ours."""
    tree = view.tree
    for f in range(tree.n_facets if tree.n_facets > 1 else 0):
        yield Candidate(f"begin the states of facet {f} again", restart, (view, f), seed)
    for i, pouch in enumerate(tree.pouches):
        if len(pouches_of(tree, pouch.facet)) > 1:
            for f in range(tree.n_facets):
                if f != pouch.facet:
                    yield Candidate(f"move dimensions {list(pouch.dims)} to facet {f}", move, (view, i, f))


def simplifications(view: View, limits: Limits, seed: int) -> Iterator[Candidate]:
    """A dimension less in a pouch, a facet less, or a state less."""
    tree = view.tree
    for i, pouch in enumerate(tree.pouches):
        if len(pouch.dims) > 1:
            for d in pouch.dims:
                yield Candidate(f"unpouch dimension {d} of facet {pouch.facet}", split, (tree, i, d))
    for f in range(1, tree.n_facets):
        yield Candidate(f"delete facet {f}", delete_facet, (view, f))
        if tree.n_states(f) > 2:
            for s in range(tree.n_states(f)):
                yield Candidate(f"delete a state of facet {f}", delete_state, (tree, f, s))


def pouches_of(tree: LatentTree, facet: int) -> list[int]:
    """The numbers of a facet's pouches."""
    return [i for i, pouch in enumerate(tree.pouches) if pouch.facet == facet]


def _replaced(tree: LatentTree, changed: dict[int, Pouch | None], added: Sequence[Pouch] = ()) -> LatentTree:
    """With some pouches changed, None: left out, and some added."""
    kept = [changed.get(i, pouch) for i, pouch in enumerate(tree.pouches)]
    return tree._replace(pouches=(*(pouch for pouch in kept if pouch is not None), *added))


def _fresh(facet: int, dims: Sequence[int], z: np.ndarray, responsibilities: np.ndarray) -> Pouch:
    """The likeliest pouch of responsibilities [n, S]."""
    return maximized_pouch(Pouch(facet, tuple(dims), np.empty(0), np.empty(0)), z, responsibilities)


def join(view: View, a: int, b: int) -> LatentTree:
    """Two pouches of a facet as one."""
    first, second = view.tree.pouches[a], view.tree.pouches[b]
    joined = _fresh(first.facet, sorted((*first.dims, *second.dims)), view.z, view.of.single[first.facet])
    return _replaced(view.tree, {a: joined, b: None})


def split(tree: LatentTree, index: int, dim: int) -> LatentTree:
    """A dimension out of a pouch, as one of its own."""
    pouch = tree.pouches[index]

    def part(places: list[int]) -> Pouch:
        dims = tuple(pouch.dims[place] for place in places)
        return Pouch(pouch.facet, dims, pouch.means[:, places], pouch.covariances[:, places][:, :, places])

    place = pouch.dims.index(dim)
    return _replaced(tree, {index: part([i for i in range(len(pouch.dims)) if i != place])}, [part([place])])


def move(view: View, index: int, facet: int) -> LatentTree:
    """A pouch below another facet."""
    return _replaced(view.tree, {index: _fresh(facet, view.tree.pouches[index].dims, view.z, view.of.single[facet])})


def add_facet(view: View, a: int, b: int, size: int, seed: int) -> LatentTree:
    """A new facet below that of two pouches, which it takes; k-means of these pouches' z is where it starts."""
    tree, first, second = view.tree, view.tree.pouches[a], view.tree.pouches[b]
    dims = [*first.dims, *second.dims]
    labels = KMeans(size, n_init=1, random_state=seed % 2**32).fit_predict(view.z[:, dims])
    hard = 0.9 * np.eye(size)[labels] + 0.1 / size  # softened, so that all can still change
    table = maximized_table(view.of.single[first.facet][..., None] * hard[:, None])
    new = tree.n_facets
    taken = {i: _fresh(new, tree.pouches[i].dims, view.z, hard) for i in (a, b)}
    return _replaced(tree._replace(parents=(*tree.parents, first.facet), tables=(*tree.tables, table)), dict(taken))


def add_state(view: View, facet: int, state: int, seed: int) -> LatentTree:
    """A state split in two, its examples parted by k-means of the facet's z."""
    tree, p = view.tree, view.of.single[facet]
    dims = [d for i in pouches_of(tree, facet) for d in tree.pouches[i].dims]
    labels = KMeans(2, n_init=1, random_state=seed % 2**32).fit(view.z[:, dims], sample_weight=p[:, state] + 1e-9).labels_
    half = p[:, state] * (0.9 * (labels == 1) + 0.05)
    responsibilities = np.column_stack([p, half])
    responsibilities[:, state] -= half
    tree = _with_states(view, facet, responsibilities)
    tables = list(tree.tables)
    for child in range(facet + 1, tree.n_facets):
        if tree.parents[child] == facet:
            tables[child] = np.concatenate([tables[child], tables[child][state][None]])
    return tree._replace(tables=tuple(tables))


def restart(view: View, facet: int, seed: int) -> LatentTree:
    """A facet's states begun again, by k-means of its z: they may be from when it had other dimensions."""
    tree = view.tree
    dims = [d for i in pouches_of(tree, facet) for d in tree.pouches[i].dims]
    size = tree.n_states(facet)
    labels = KMeans(size, n_init=1, random_state=seed % 2**32).fit_predict(view.z[:, dims])
    changed = _with_states(view, facet, np.eye(size)[labels])
    tables = list(changed.tables)
    for child in range(facet + 1, tree.n_facets):
        if tree.parents[child] == facet:
            tables[child] = maximized_table(np.eye(size)[labels][..., None] * view.of.single[child][:, None])
    return changed._replace(tables=tuple(tables))


def _with_states(view: View, facet: int, responsibilities: np.ndarray) -> LatentTree:
    """A facet's pouches and its own table as they are likeliest of responsibilities [n, S]."""
    tree = view.tree
    changed: dict[int, Pouch | None] = {i: _fresh(facet, tree.pouches[i].dims, view.z, responsibilities) for i in pouches_of(tree, facet)}
    tables = list(tree.tables)
    if facet:
        tables[facet] = maximized_table(view.of.single[tree.parents[facet]][..., None] * responsibilities[:, None])
    else:
        tables[facet] = responsibilities.mean(0)
    return _replaced(tree._replace(tables=tuple(tables)), changed)


def delete_state(tree: LatentTree, facet: int, state: int) -> LatentTree:
    """A state less, its share over the others."""
    tables = list(tree.tables)
    rest = np.delete(tables[facet], state, -1) + 1e-12
    tables[facet] = rest / rest.sum(-1, keepdims=True)
    for child in range(facet + 1, tree.n_facets):
        if tree.parents[child] == facet:
            tables[child] = np.delete(tables[child], state, 0)
    changed = {}
    for i in pouches_of(tree, facet):
        pouch = tree.pouches[i]
        changed[i] = pouch._replace(means=np.delete(pouch.means, state, 0), covariances=np.delete(pouch.covariances, state, 0))
    return _replaced(tree._replace(tables=tuple(tables)), dict(changed))


def delete_facet(view: View, facet: int) -> LatentTree:
    """A facet less: its parent takes its pouches and the facets below it."""
    tree, above = view.tree, view.tree.parents[facet]
    parents, tables = list(tree.parents), list(tree.tables)
    for child in range(facet + 1, tree.n_facets):
        if parents[child] == facet:
            parents[child], tables[child] = above, tables[facet] @ tables[child]
    del parents[facet], tables[facet]
    changed: dict[int, Pouch | None] = {}
    for i, pouch in enumerate(tree.pouches):
        if pouch.facet == facet:
            changed[i] = _fresh(above, pouch.dims, view.z, view.of.single[above])
        elif pouch.facet > facet:
            changed[i] = pouch._replace(facet=pouch.facet - 1)
    return _replaced(LatentTree(tuple(p - (p > facet) for p in parents), tuple(tables), tree.pouches), changed)
