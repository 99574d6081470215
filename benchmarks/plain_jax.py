"""The same model trained by VIMCO as its paper writes it, in JAX, the whole step compiled: what a user would write.

    python benchmarks/plain_jax.py

compares it with ours: bound and gradient of the same weights by the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

SIZES = {"units": 500, "latent_dim": 10, "n_clusters": 10}
TOLERANCE = 1e-4


def initial(input_dim: int, units: int, latent_dim: int, n_clusters: int) -> dict[str, Any]:
    """Glorot weights, by layer: (kernel, bias); the prior's means and raw scales [K, D]."""
    rng = np.random.default_rng(0)

    def dense(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
        limit = math.sqrt(6 / (inputs + outputs))
        return rng.uniform(-limit, limit, (inputs, outputs)).astype(np.float32), np.zeros(outputs, np.float32)

    return {
        "trunk": [dense(input_dim, units), dense(units, units)],
        "to_y": dense(units, n_clusters),
        "joint": dense(units + n_clusters, units),
        "to_z": dense(units, 2 * latent_dim),
        "decoder": [dense(latent_dim, units), dense(units, units)],
        "to_x": dense(units, 2 * input_dim),
        "prior_loc": rng.normal(size=(n_clusters, latent_dim)).astype(np.float32),
        "prior_raw": np.full((n_clusters, latent_dim), math.log(math.expm1(1.0)), np.float32),
    }


def loss(weights: dict[str, Any], images: Any, gumbel: Any, normal: Any) -> tuple[Any, Any]:
    """Minus VIMCO's surrogate, and the bound, nats, means over the batch; sigma from the network, eps 1.

    Args:
      weights: from `initial`.
      images: bytes [B, d].
      gumbel, normal: standard draws [M, B, K] and [M, B, D], that y and z are made of.
    """
    import jax
    import jax.numpy as jnp
    from jax.nn import leaky_relu, logsumexp, one_hot, softplus

    n_samples, _, n_clusters = gumbel.shape
    fixed = jax.lax.stop_gradient

    def mlp(layers: list[Any], x: Any) -> Any:
        for kernel, bias in layers:
            x = leaky_relu(x @ kernel + bias, 0.2)
        return x

    def normal_log_prob(x: Any, loc: Any, scale: Any) -> Any:
        return (-0.5 * ((x - loc) / scale) ** 2 - jnp.log(scale) - 0.5 * math.log(2 * math.pi)).sum(-1)

    def linear(layer: Any, x: Any) -> Any:
        return x @ layer[0] + layer[1]

    x = images.astype(jnp.float32) / 255
    h = mlp(weights["trunk"], x)
    log_q_y = jax.nn.log_softmax(linear(weights["to_y"], h))
    y = (fixed(log_q_y) + gumbel).argmax(-1)
    chosen = one_hot(y, n_clusters)
    joined = jnp.concatenate([jnp.broadcast_to(h, (n_samples, *h.shape)), chosen], -1)
    loc, raw = jnp.split(linear(weights["to_z"], mlp([weights["joint"]], joined)), 2, -1)
    scale = softplus(raw) + 1.0
    z = fixed(loc + scale * normal)
    mean, raw_x = jnp.split(linear(weights["to_x"], mlp(weights["decoder"], z)), 2, -1)
    log_p = normal_log_prob(x, mean, softplus(raw_x) + 1.0) - math.log(n_clusters)
    log_p += normal_log_prob(z, weights["prior_loc"][y], softplus(weights["prior_raw"])[y])
    log_q = (chosen * log_q_y).sum(-1) + normal_log_prob(z, loc, scale)
    log_w = log_p - log_q
    bound = logsumexp(log_w, 0) - math.log(n_samples)
    # Row m: the log-weights with the geometric mean of the others in the place of the m-th.
    held = fixed(log_w)
    mean_of_others = (held.sum(0) - held) / (n_samples - 1)
    without = jnp.where(jnp.eye(n_samples, dtype=bool)[..., None], mean_of_others[:, None], held[None])
    signal = fixed(bound) - (logsumexp(without, 1) - math.log(n_samples))
    return -((signal * log_q).sum(0) + bound).mean(), bound.mean()


def step(batch: int, n_samples: int, input_dim: int) -> Callable[[], float]:
    """One Adam step on a fixed batch of bytes; it gives the bound."""
    import jax
    import jax.numpy as jnp

    def train(state: tuple[Any, Any, Any, Any], images: Any) -> tuple[Any, Any]:
        weights, means, squares, count = state
        key_y, key_z = jax.random.split(jax.random.fold_in(jax.random.key(0), count))
        gumbel = jax.random.gumbel(key_y, (n_samples, batch, SIZES["n_clusters"]))
        normal = jax.random.normal(key_z, (n_samples, batch, SIZES["latent_dim"]))
        (_, bound), gradient = jax.value_and_grad(loss, has_aux=True)(weights, images, gumbel, normal)
        count += 1
        means = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, means, gradient)
        squares = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, squares, gradient)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-8), weights, means, squares)
        return (weights, means, squares, count), bound

    compiled = jax.jit(train, donate_argnums=0)
    weights = jax.tree.map(jnp.asarray, initial(input_dim, **SIZES))
    state = weights, jax.tree.map(jnp.zeros_like, weights), jax.tree.map(jnp.zeros_like, weights), jnp.zeros((), jnp.int32)
    data = jnp.asarray(np.random.default_rng(0).integers(0, 256, (batch, input_dim), np.uint8))

    def one() -> float:
        nonlocal state
        state, bound = compiled(state, data)
        return float(bound)

    return one


def differences(batch: int = 16, n_samples: int = 5, input_dim: int = 60, seed: int = 0) -> dict[str, float]:
    """Our bound and gradient against JAX's, of the same weights by the same draws: the largest difference by name, as a share of the
    largest value of its array.
    """
    import jax
    import tensorflow as tf

    from nvisa_tf import NVISA, NVISAConfig

    model = NVISA(NVISAConfig(input_shape=(input_dim,)), seed=seed)
    model.set_preprocessing(1 / 255)
    model.compile(n_samples=n_samples)
    model.eps_x.assign(1.0)
    model.eps_z.assign(1.0)
    images = np.random.default_rng(seed).integers(0, 256, (batch, input_dim), np.uint8)
    noise = model.gradient_step.noise_of_gradient(batch, tf.constant([1, 2]))
    found = model.gradient_step.gradient_given(model.preprocess(tf.constant(images)), noise)

    def as_here(by_path: dict[str, np.ndarray]) -> dict[str, Any]:
        def dense(name: str) -> tuple[np.ndarray, np.ndarray]:
            return by_path[f"{name}/kernel"], by_path[f"{name}/bias"]

        def joined(first: str, second: str) -> tuple[np.ndarray, ...]:
            return tuple(np.concatenate(parts, -1) for parts in zip(dense(first), dense(second), strict=True))

        hidden, bias = dense("latent_head/hidden")
        return {
            "trunk": [dense("encoder/encoder_0"), dense("encoder/encoder_1")],
            "to_y": dense("cluster_head"),
            "joint": (np.concatenate([hidden, by_path["latent_head/cluster/kernel"]]), bias),
            "to_z": joined("latent_head/loc", "latent_head/raw_scale"),
            "decoder": [dense("decoder_trunk/decoder_trunk_0"), dense("decoder_trunk/decoder_trunk_1")],
            "to_x": joined("decoder/loc", "decoder/raw_scale"),
            "prior_loc": by_path["prior/loc"],
            "prior_raw": by_path["prior/raw_scale"],
        }

    variables = model.trainable_variables
    weights = as_here({v.path.removeprefix("nvisa/"): v.numpy() for v in variables})
    ours = as_here({v.path.removeprefix("nvisa/"): g.numpy() for v, g in zip(variables, found.gradients, strict=True)})
    draws = noise.proposal.gumbel.numpy(), noise.proposal.normal.numpy()
    (_, bound), theirs = jax.value_and_grad(loss, has_aux=True)(weights, images, *draws)
    pairs = {"bound": (np.mean(found.estimate.bound), bound)}
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        pairs[jax.tree_util.keystr(path)] = a, b
    return {name: float(np.abs(a - np.asarray(b)).max() / np.abs(np.asarray(b)).max()) for name, (a, b) in pairs.items()}


def main() -> None:
    """Compare and print."""
    found = differences()
    for name, share in found.items():
        print(f"{name}: {share:.1e}")
    if (worst := max(found.values())) > TOLERANCE:
        raise SystemExit(f"JAX's step differs from ours by {worst:.1e} of the largest value, and {TOLERANCE:.0e} is allowed.")


if __name__ == "__main__":
    main()
