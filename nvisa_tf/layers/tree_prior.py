"""A prior p(z) that is a tree of discrete latent nodes with Gaussian leaves: a latent tree model, or with one node a Gaussian mixture.

Li, Chen, Poon & Zhang, ICLR 2019 (arXiv 1803.05206), section 3. A latent node is called a facet here, its values states: each is a
partition of the data. A leaf, or pouch, is a group of dimensions of z that are jointly Gaussian given their facet.

The tree is held in weights of fixed shapes, padded and masked, so that another structure is another value: no graph is traced anew, and a
checkpoint or a file holds the structure as it holds the rest.

Shapes: F facets at most, S states at most, D latent dimensions; z [..., D].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nvisa_tf.layers import distributions as dist
from nvisa_tf.layers.networks import DTYPE
from nvisa_tf.layers.random import categories, gumbel_noise, pick

tfd = tfp.distributions
ABSENT = -1e9  # log p of a state that there is not; finite, as -Inf would be NaN in differences
DIGITS = 1000.0  # the digits of noise behind those of this step pick the states of other facets, see `from_noise`
LOG_2_PI = math.log(2 * math.pi)


class TreePrior(keras.layers.Layer):
    """p(Y_0) prod_f p(Y_f | Y_parent(f)) prod_pouches N(z_pouch; given their facet's state); facet 0 is the root, and y of `Prior`.

    Facets beside the root come after their parents. A facet that there is not has one state and no dimensions. The weights are set and not
    trained by gradient; it starts as one facet whose states are S standard normals.

    Weights: states [F, S], 1 where there is such a state; parent [F, F], row f 1 at the parent of f; member [F, D], 1 where a dimension
    is of a facet; together [D, D], 1 where two are of one pouch; log_tables [F, S, S], log p(Y_f = t | Y_parent = s), all rows log p(Y_0)
    for f = 0; loc [F, S, D], the means; root and whitening [F, S, D, D], the symmetric square roots of covariances and their inverses; and
    log_norm [F, S], the logarithm of the densities' factor. Means, roots and whitening are 0 outside of a facet's dimensions.

    Args:
      most_facets: F.
      n_states: S.
      latent_dim: D.
      dtype: of the weights.
    """

    NAMES: ClassVar[tuple[str, ...]] = (
        "states", "parent", "member", "together", "log_tables", "loc", "root", "whitening", "log_norm",
    )  # fmt: skip
    states: Any
    parent: Any
    member: Any
    together: Any
    log_tables: Any
    loc: Any
    root: Any
    whitening: Any
    log_norm: Any

    def __init__(self, most_facets: int, n_states: int, latent_dim: int, dtype: str = DTYPE) -> None:
        super().__init__(name="prior", dtype=dtype)
        self.most_facets, self.n_states, self.latent_dim = most_facets, n_states, latent_dim

    def build(self, input_shape: Any = None) -> None:
        """Make the weights."""
        facets, states, dim = self.most_facets, self.n_states, self.latent_dim
        absent = np.full((facets, states, states), ABSENT)
        absent[1:, :, 0] = 0.0
        absent[0] = -math.log(states)
        parent = np.zeros((facets, facets))
        parent[1:, 0] = 1
        first = (np.arange(facets) == 0).astype(float)
        unit = np.broadcast_to(first[:, None, None, None] * np.eye(dim), (facets, states, dim, dim))
        values = {
            "states": np.where(first[:, None] + (np.arange(states) == 0) > 0, 1.0, 0.0),
            "parent": parent,
            "member": np.broadcast_to(first[:, None], (facets, dim)),
            "together": np.eye(dim),
            "log_tables": absent,
            "loc": np.zeros((facets, states, dim)),
            "root": unit,
            "whitening": unit,
            "log_norm": np.broadcast_to(-0.5 * dim * LOG_2_PI * first[:, None], (facets, states)),
        }
        for name in self.NAMES:
            setattr(self, name, self.add_weight(shape=values[name].shape, initializer="zeros", trainable=False, name=name))
        self.set_parameters(values)
        self.built = True

    def set_parameters(self, values: Mapping[str, Any]) -> None:
        """Take the weights by name, of the shapes above; those that are not named stay."""
        for name, value in values.items():
            getattr(self, name).assign(value)

    def parameters(self) -> dict[str, tf.Tensor]:
        """All weights by name."""
        return {name: tf.convert_to_tensor(getattr(self, name)) for name in self.NAMES}

    def n_facets(self) -> int:
        """How many facets there are."""
        return int(np.sum(np.sum(np.asarray(self.member), 1) > 0))

    def states_of(self, facet: int) -> int:
        """How many states a facet has."""
        return int(np.sum(np.asarray(self.states)[facet]))

    def emissions(self, z: tf.Tensor) -> tf.Tensor:
        """log p(z of the facet's dimensions | Y_f = s), nats, [..., F, S]."""
        facets, states, dim = self.most_facets, self.n_states, self.latent_dim
        whitening, loc = tf.convert_to_tensor(self.whitening), tf.convert_to_tensor(self.loc)
        # One product for all facets and states: [n, D] @ [D, F S D].
        flat = tf.reshape(tf.transpose(whitening, [3, 0, 1, 2]), [dim, facets * states * dim])
        rows = tf.reshape(z, [-1, dim]) @ flat - tf.reshape(tf.linalg.matvec(whitening, loc), [-1])
        squares = tf.reduce_sum(tf.square(tf.reshape(rows, [-1, facets * states, dim])), -1)
        each = tf.reshape(tf.convert_to_tensor(self.log_norm), [-1]) - 0.5 * squares
        return tf.reshape(each, tf.concat([tf.shape(z)[:-1], [facets, states]], 0))

    def upward(self, z: tf.Tensor) -> list[tf.Tensor]:
        """Of each facet log p(z of its dimensions and of those of facets below it | Y_f), nats, F times [..., S]."""
        tables, parent = tf.convert_to_tensor(self.log_tables), tf.convert_to_tensor(self.parent)
        found = tf.unstack(self.emissions(z), self.most_facets, -2)
        for f in range(self.most_facets - 1, 0, -1):
            message = tf.reduce_logsumexp(tables[f] + found[f][..., None, :], -1)
            found[:f] = [below + parent[f, g] * message for g, below in enumerate(found[:f])]
        return found

    def joint_log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log p(Y_0) + log p(z|Y_0) for every state of the root, nats, [..., S]."""
        return tf.convert_to_tensor(self.log_tables)[0, 0] + self.upward(z)[0]

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log p(z), nats, [...]."""
        return tf.reduce_logsumexp(self.joint_log_prob(z), -1)

    def posteriors(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """p(Y_f|z) of every facet, [..., F, S], and p(Y_parent = s, Y_f = t | z), [..., F, S, S]; of the root p(Y_0|z) / S in each row."""
        tables, parent = tf.convert_to_tensor(self.log_tables), tf.convert_to_tensor(self.parent)
        below = self.upward(z)
        single = [tf.nn.softmax(tables[0, 0] + below[0])]
        pairs = [tf.repeat(single[0][..., None, :], self.n_states, -2) / self.n_states]
        for f in range(1, self.most_facets):
            above = tf.add_n([parent[f, g] * single[g] for g in range(f)])
            pairs.append(above[..., None] * tf.nn.softmax(tables[f] + below[f][..., None, :]))
            single.append(tf.reduce_sum(pairs[f], -2))
        return tf.stack(single, -2), tf.stack(pairs, -3)

    def p_y(self) -> dist.Distribution:
        """p(Y_0)."""
        return dist.prior_y(tf.convert_to_tensor(self.log_tables)[0, 0])

    def p_z_given_y(self, y: tf.Tensor | None = None) -> dist.Distribution:
        """p(z|Y_0): a mixture over the states of the other facets, S^(F - 1) of them; batch shape as of `Prior`."""
        others = np.array(list(itertools.product(range(self.n_states), repeat=self.most_facets - 1)), np.int32)
        first = tf.range(self.n_states) if y is None else y
        shape = tf.concat([tf.shape(first), [len(others)]], 0)
        all_states = [tf.broadcast_to(first[..., None], shape), *(tf.broadcast_to(column, shape) for column in others.T)]
        tables = tf.convert_to_tensor(self.log_tables)
        above = [self._parent_of(f, all_states) for f in range(1, self.most_facets)]
        logits = [tf.gather_nd(tables[f], tf.stack([above[f - 1], all_states[f]], -1)) for f in range(1, self.most_facets)]
        mixing = tfd.Categorical(logits=tf.add_n(logits) if logits else tf.zeros(shape, tables.dtype))
        loc, root = self._moments(all_states)
        return tfd.MixtureSameFamily(mixing, dist.full_normal(loc, tf.linalg.cholesky(root @ root)), name="p_z_given_y")

    def sample(self, n: int, seed: tf.Tensor, cluster: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """n draws of the root's state and of z."""
        seeds = tf.random.split(seed, 3)
        tables = tf.convert_to_tensor(self.log_tables)
        y = categories(tables[0, 0], n, seeds[0]) if cluster is None else tf.fill([n], cluster)
        all_states = [y]
        for f in range(1, self.most_facets):
            noise = gumbel_noise([n, self.n_states], tf.random.fold_in(seeds[2], f), tables.dtype)
            all_states.append(pick(tf.gather(tables[f], self._parent_of(f, all_states)), noise))
        return y, self._located(all_states, tf.random.stateless_normal([n, self.latent_dim], seeds[1], dtype=tables.dtype))

    def from_noise(self, y: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """z ~ p(z|Y_0 = y) from standard normal noise [..., D].

        The states of other facets take no noise of their own: they are picked by the digits of it after the third decimal, which are
        uniform and independent of those before to about a thousandth.
        """
        tables = tf.exp(tf.convert_to_tensor(self.log_tables))
        summing = tf.constant(np.triu(np.ones((self.n_states, self.n_states))), tables.dtype)
        all_states = [y]
        for f in range(1, self.most_facets):
            digits = DIGITS * noise[..., (f - 1) % self.latent_dim]
            uniform = digits - tf.floor(digits)
            cumulative = tf.gather(tables[f] @ summing, self._parent_of(f, all_states))
            passed = tf.cast(cumulative[..., :-1] <= uniform[..., None], tf.int32)
            # A sum of probabilities that is just under 1 must not lead to a state that there is not.
            all_states.append(tf.minimum(tf.reduce_sum(passed, -1), tf.cast(tf.reduce_sum(self.states[f]), tf.int32) - 1))
        return self._located(all_states, noise)

    def _parent_of(self, facet: int, all_states: list[tf.Tensor]) -> tf.Tensor:
        """The state of a facet's parent, integers [...], among those of the facets before."""
        parent = tf.cast(tf.convert_to_tensor(self.parent), tf.int32)
        return tf.add_n([parent[facet, g] * tf.cast(all_states[g], tf.int32) for g in range(facet)])

    def _moments(self, all_states: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean [..., D] and root of the covariance [..., D, D] of z given the states of all facets, F times integers [...]."""
        loc, root = tf.convert_to_tensor(self.loc), tf.convert_to_tensor(self.root)
        means = [tf.gather(loc[f], state) for f, state in enumerate(all_states)]
        return tf.add_n(means), tf.add_n([tf.gather(root[f], state) for f, state in enumerate(all_states)])

    def _located(self, all_states: list[tf.Tensor], noise: tf.Tensor) -> tf.Tensor:
        loc, root = self._moments(all_states)
        return loc + tf.reduce_sum(root * noise[..., None, :], -1)
