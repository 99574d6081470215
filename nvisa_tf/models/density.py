"""The importance-weighted bound of given examples, with any number of samples in bounded memory.

The draws are an example's own: they derive from its values and the seed, so the same example has the same score wherever it stands and
whatever is scored beside it.

Shapes: n examples, B of a batch, M samples, K clusters, D standard normals of a draw, in most models the latent dimensions.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from scipy.special import logsumexp

from nvisa_tf.data import Dataset

ROWS_A_CALL = 25_000  # decoder rows at a time; 784 float32 values each, about 80 MB, and more with decoder_filters
BLOCK = 50  # samples that are drawn together, and the least where their number is not given
MOST_SAMPLES = 1_600  # where it is not
TOLERANCE = 0.25  # nats, of the standard error above which an example gets more samples


class Weighted(Protocol):
    """A model whose density can be bounded."""

    config: Any  # with n_clusters
    graph_functions: Any

    @property
    def n_normals(self) -> int:
        """Standard normals that a draw of z takes: the D of its noise."""
        ...

    def raw_log_weights(self, x: tf.Tensor, gumbel: tf.Tensor, normal: tf.Tensor) -> tf.Tensor:
        """The log importance weights, nats, [M, B], of raw examples [B, *input_shape].

        Args:
          x: the examples.
          gumbel, normal: standard Gumbel [M, B, K] and standard normal [M, B, D], for draws of y and z.
        """
        ...


class Scores(NamedTuple):
    """The bound of each example, nats, and its standard error by the delta method, float64 [n] each."""

    bound: np.ndarray
    std: np.ndarray


class LogSums(NamedTuple):
    """Of M log-weights an example: log sum_m w_m and log sum_m w_m^2, float64 [B] each."""

    first: np.ndarray
    second: np.ndarray

    def scores(self, n_samples: int) -> Scores:
        """The log of the mean weight, and the standard error that the spread of the weights gives it."""
        with np.errstate(invalid="ignore"):  # where no weight is finite
            ratio = np.exp(self.second - 2 * self.first)  # one over the effective sample size
            variance = (ratio - 1 / n_samples) * n_samples / max(1, n_samples - 1)
        return Scores(self.first - math.log(n_samples), np.sqrt(np.maximum(variance, 0)))


def score_samples(model: Weighted, x: Any, n_samples: int | None = None, seed: int = 0, rows: int = ROWS_A_CALL) -> Scores:
    """Of each example log 1/M sum_m p(x, y_m, z_m) / q(y_m, z_m|x), a lower bound of log p(x) on average, and its standard error.

    It is low where an example is unlike those that the model was trained on. The densities are at the model's scale and its
    present eps. The draws, and so the result, depend on the example's own values and the seed alone, but for the rounding of matrix
    products. Samples come in chunks that are summed in log space, so memory does not grow with their number.

    Args:
      model: whose density it is.
      x: raw examples [n, *input_shape].
      n_samples: M, at least 1; None: 50, doubled up to 1,600 for those whose standard error is above 0.25 nats.
      seed: of the draws.
      rows: examples times samples in one call.

    Raises:
      ValueError: n_samples < 1, no examples, examples of another shape, or values that are not finite.
    """
    if (n_samples is not None and n_samples < 1) or not len(x):
        raise ValueError(f"n_samples is {n_samples} and there are {len(x)} examples; both must be at least 1.")
    batch = min(len(x), max(1, rows // min(BLOCK, n_samples or BLOCK)))
    parts = [_score_batch(model, part, n_samples, seed, rows) for part in model.graph_functions.batches(x, batch)]
    return Scores(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _score_batch(model: Weighted, x: np.ndarray, n_samples: int | None, seed: int, rows: int) -> Scores:
    """`score_samples` of a batch of raw examples, float32 [B, *input_shape]."""
    keys = [example_key(example, seed) for example in x]
    done = n_samples or BLOCK
    sums = _log_sums(model, x, keys, 0, done, rows)
    found = sums.scores(done)
    while n_samples is None and done < MOST_SAMPLES:
        wide = np.flatnonzero(found.std > TOLERANCE)
        if not len(wide):
            break
        # Those that were precise enough before stay as they are.
        more = _log_sums(model, x[wide], [keys[i] for i in wide], done, 2 * done, rows)
        for total, part in zip(sums, more, strict=True):
            total[wide] = np.logaddexp(total[wide], part)
        done *= 2
        better = LogSums(sums.first[wide], sums.second[wide]).scores(done)
        found.bound[wide], found.std[wide] = better
    return found


def _log_sums(model: Weighted, x: np.ndarray, keys: list[np.ndarray], first: int, last: int, rows: int) -> LogSums:
    """The sums over samples first to last - 1 of each example; first is a multiple of `BLOCK`."""
    log_weights = model.graph_functions.traced(model.raw_log_weights)
    examples = tf.constant(x)
    blocks = max(1, rows // (len(x) * BLOCK))  # drawn at a time
    at_once = max(1, rows // len(x))
    found = LogSums(np.full(len(x), -np.inf), np.full(len(x), -np.inf))
    for start in range(first, last, blocks * BLOCK):
        numbers = range(start // BLOCK, -(-min(last, start + blocks * BLOCK) // BLOCK))
        gumbel, normal = own_noise(keys, numbers, min(BLOCK, last), model.config.n_clusters, model.n_normals)
        for m in range(0, min(last - start, len(gumbel)), at_once):
            end = min(m + at_once, last - start)
            chunk = log_weights(examples, tf.constant(gumbel[m:end]), tf.constant(normal[m:end])).numpy().astype(np.float64)
            with np.errstate(invalid="ignore"):  # of a model whose weights are not finite, scores are not either
                np.logaddexp(found.first, logsumexp(chunk, axis=0), out=found.first)
                np.logaddexp(found.second, logsumexp(2 * chunk, axis=0), out=found.second)
    return found


def example_key(example: np.ndarray, seed: int) -> np.ndarray:
    """What an example's draws derive from: a hash of its float32 values and the seed, uint64 [2]."""
    # + 0.0, as -0.0 is the same value in other bytes.
    digest = hashlib.blake2b((example + np.float32(0)).tobytes(), digest_size=16, key=int(seed).to_bytes(8, "little", signed=True)).digest()
    return np.frombuffer(digest, np.uint64)


def own_noise(keys: list[np.ndarray], blocks: range, size: int, n_clusters: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws of `size` samples a block, which derive from the example's key and the block's number alone.

    Returns:
      Standard Gumbel [M, B, K] and standard normal [M, B, D], float32, M = size times the number of blocks.
    """
    exponential = np.empty((len(keys), len(blocks), size, n_clusters), np.float32)
    normal = np.empty((len(keys), len(blocks), size, dim), np.float32)
    for i, key in enumerate(keys):
        for j, number in enumerate(blocks):
            # The last word of the counter, which no stream of draws reaches from the one before.
            rng = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, number]))
            rng.standard_exponential(dtype=np.float32, out=exponential[i, j])
            rng.standard_normal(dtype=np.float32, out=normal[i, j])
    with np.errstate(divide="ignore"):  # a draw of 0 makes its cluster the chosen one
        gumbel = -np.log(exponential)

    def by_sample(draws: np.ndarray) -> np.ndarray:
        return draws.reshape(len(keys), len(blocks) * size, -1).swapaxes(0, 1)

    return by_sample(gumbel), by_sample(normal)


def check_unit_interval(model: Any, data: Dataset, what: str = "A Bernoulli likelihood") -> None:
    """Raise ValueError where the model's scaling does not bring all values into [0, 1], which `what`, the begin of a sentence, needs."""
    for _, part in data.chunks():
        values = model.scaled(part)
        if values.min() < -1e-6 or values.max() > 1 + 1e-6:
            raise ValueError(
                f"{what} needs values in [0, 1], not {values.min():.3g} to {values.max():.3g}; use --scaling minmax, "
                "or with --init-from the units of that run's data."
            )
