"""Stepwise expectation-maximization of a `TreePrior` (Cappe & Moulines, JRSS B 2009): it follows codes that change as a network is trained.

Each batch's expected sufficient statistics move running ones by a small rate, and the parameters are the maximum of these.

Shapes: B examples, F facets, S states, D dimensions.
"""

from __future__ import annotations

import tensorflow as tf

from nvisa_tf.layers.tree_prior import ABSENT, LOG_2_PI, TreePrior

LEAST_VARIANCE = 1e-3  # of a component, in any direction, where codes have a standard deviation of 1
LEAST_SHARE = 1e-6  # of a state, so that it can come back
COVARIANCES = ("fixed", "diagonal", "pouches")


class StepwiseEM(tf.Module):
    """Running statistics of a prior, from which its parameters follow; its structure stays.

    Variables: pairs [F, S, S], sums [F, S, D] and squares [F, S, D, D]: means over examples of p(Y_parent, Y_f|z), p(Y_f|z) z and
    p(Y_f|z) z z^T.

    Args:
      prior: whose weights are set.
      rate: by which a batch moves the statistics, above 0 and at most 1.
      covariance: "fixed": covariances stay; "diagonal": variances are learned; "pouches": each pouch's covariance is.
    """

    def __init__(self, prior: TreePrior, rate: float, covariance: str) -> None:
        super().__init__(name="stepwise_em")
        facets, states, dim = prior.most_facets, prior.n_states, prior.latent_dim
        self._prior, self._rate, self._covariance = prior, rate, covariance
        dtype = prior.loc.dtype
        self.pairs = tf.Variable(tf.zeros([facets, states, states], dtype), trainable=False)
        self.sums = tf.Variable(tf.zeros([facets, states, dim], dtype), trainable=False)
        self.squares = tf.Variable(tf.zeros([facets, states, dim, dim], dtype), trainable=False)

    def reset(self) -> None:
        """Make the statistics those that the prior itself expects, so that its parameters are their maximum."""
        prior = self._prior.parameters()
        shares = [tf.exp(prior["log_tables"][0, 0])]
        pairs = [tf.repeat(shares[0][None], self._prior.n_states, 0) / self._prior.n_states]
        for f in range(1, self._prior.most_facets):
            above = tf.add_n([prior["parent"][f, g] * shares[g] for g in range(f)])
            pairs.append(above[:, None] * tf.exp(prior["log_tables"][f]))
            shares.append(tf.reduce_sum(pairs[f], 0))
        share, loc, root = tf.stack(shares), prior["loc"], prior["root"]
        self.pairs.assign(tf.stack(pairs))
        self.sums.assign(share[..., None] * loc)
        self.squares.assign(share[..., None, None] * (root @ root + loc[..., :, None] * loc[..., None, :]))

    def learn(self, z: tf.Tensor) -> None:
        """Move the statistics by codes [B, D], and set the prior by them; codes that are not all finite change nothing."""
        finite = tf.reduce_all(tf.math.is_finite(z))
        z = tf.where(finite, z, tf.zeros_like(z))
        rate = tf.where(finite, tf.constant(self._rate, z.dtype), tf.zeros([], z.dtype))
        n = tf.cast(tf.shape(z)[0], z.dtype)
        single, pairs = self._prior.posteriors(z)
        self.pairs.assign(self.pairs + rate * (tf.reduce_mean(pairs, 0) - self.pairs))
        self.sums.assign(self.sums + rate * (tf.einsum("bfs,bd->fsd", single, z) / n - self.sums))
        if self._covariance != "fixed":
            self.squares.assign(self.squares + rate * (tf.einsum("bfs,bd,be->fsde", single, z, z) / n - self.squares))
        self.maximize()

    def maximize(self) -> None:
        """Set the prior's parameters to the maximum of the statistics."""
        prior = self._prior.parameters()
        states, member = prior["states"], prior["member"]
        tables = self.pairs + LEAST_SHARE * states[:, None, :]
        log_tables = tf.math.log(tf.maximum(tables / tf.reduce_sum(tables, -1, keepdims=True), 1e-30))
        share = tf.maximum(tf.reduce_sum(self.pairs, 1), 1e-12)
        loc = self.sums / share[..., None] * member[:, None]
        found = {"log_tables": tf.where(states[:, None, :] > 0, log_tables, ABSENT), "loc": loc}
        if self._covariance != "fixed":
            mask = member[:, :, None] * member[:, None, :] * prior["together"]
            covariance = (self.squares / share[..., None, None] - loc[..., :, None] * loc[..., None, :]) * mask[:, None]
            found |= self._scales(covariance, member)
        self._prior.set_parameters(found)

    def _scales(self, covariance: tf.Tensor, member: tf.Tensor) -> dict[str, tf.Tensor]:
        """root, whitening and log_norm of covariances [F, S, D, D] that are 0 outside of pouches and of a facet's dimensions.

        Eigenvalues under `LEAST_VARIANCE` are raised to it, which is the maximum under that constraint.
        """
        outside = 1 - member[:, None]  # where a variance of 1 adds nothing to the determinant
        if self._covariance == "diagonal":
            variances = tf.maximum(tf.linalg.diag_part(covariance), LEAST_VARIANCE) * member[:, None] + outside
            root, whitening = tf.linalg.diag(tf.sqrt(variances)), tf.linalg.diag(1 / tf.sqrt(variances))
        else:
            # Not by Cholesky's decomposition: it stops the program where rounding has made a variance negative.
            values, vectors = tf.linalg.eigh(covariance + tf.linalg.diag(tf.broadcast_to(outside, tf.shape(covariance)[:-1])))
            variances = tf.maximum(values, LEAST_VARIANCE)
            root = tf.linalg.matmul(vectors * tf.sqrt(variances)[..., None, :], vectors, transpose_b=True)
            whitening = tf.linalg.matmul(vectors / tf.sqrt(variances)[..., None, :], vectors, transpose_b=True)
        inside = (member[:, :, None] * member[:, None, :])[:, None]
        log_norm = -0.5 * tf.reduce_sum(tf.math.log(variances), -1) - 0.5 * LOG_2_PI * tf.reduce_sum(member, -1)[:, None]
        return {"root": root * inside, "whitening": whitening * inside, "log_norm": log_norm}
