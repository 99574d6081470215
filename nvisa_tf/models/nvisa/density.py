"""The importance-weighted bound of NVISA on given examples, with any number of samples in bounded memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from scipy.special import logsumexp

if TYPE_CHECKING:
    from nvisa_tf.models.nvisa.model import NVISA

ROWS_A_CALL = 25_000  # decoder rows at a time; 784 float32 values each, about 80 MB, and more with decoder_filters


def score_samples(model: NVISA, x: Any, n_samples: int = 50, seed: int = 0, rows: int = ROWS_A_CALL) -> np.ndarray:
    """Of each example log 1/M sum_m p(x, y_m, z_m) / q(y_m, z_m|x), a lower bound of log p(x) on average, nats, float64 [n].

    It is low where an example is unlike those that the model was trained on. The densities are at the model's scale and its
    present eps. Samples come in chunks that are summed in log space, so memory does not grow with n_samples; the draws, and so
    the result, depend on the seed, on `rows` and on where an example stands.

    Args:
      model: whose density it is.
      x: raw examples [n, *input_shape].
      n_samples: M, at least 1.
      seed: of the draws.
      rows: examples times samples in one call.

    Raises:
      ValueError: n_samples < 1, no examples, examples of another shape, or values that are not finite.
    """
    if n_samples < 1 or not len(x):
        raise ValueError(f"n_samples is {n_samples} and there are {len(x)} examples; both must be at least 1.")
    batch = min(len(x), max(1, rows // min(n_samples, 100)))
    samples = min(n_samples, max(1, rows // batch))

    log_weights = model.graph_functions.traced(model.raw_log_weights)
    found = []
    for i, part in enumerate(model.graph_functions.batches(x, batch)):
        examples = tf.constant(part)
        log_sums = []
        for j, first in enumerate(range(0, n_samples, samples)):
            # Not a seed that training uses: those are (seed, step) with both at least 0.
            draw = tf.random.fold_in(tf.constant([-1 - seed, i], tf.int32), j)
            chunk = log_weights(examples, min(samples, n_samples - first), draw)
            log_sums.append(logsumexp(chunk.numpy().astype(np.float64), axis=0))
        found.append(np.logaddexp.reduce(log_sums, axis=0) - math.log(n_samples))
    return np.concatenate(found)
