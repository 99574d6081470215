"""Samples of (y, z): what is drawn, their log-probabilities, and how many of them are computed at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nvisa_tf.models.nvisa.objectives import LogProbs


class Noise(NamedTuple):
    """What a proposal is made from: random numbers that depend on nothing but the seed.

    gumbel: standard Gumbel [M, B, K], of y; None where y is enumerated. normal: standard normal [M, B, D], of z; [K, S, B, D]
    where y is enumerated.
    """

    gumbel: tf.Tensor | None
    normal: tf.Tensor


class StepNoise(NamedTuple):
    """All random numbers of a training step.

    proposal: of (y, z). resampling: standard Gumbel [B, M], of the sample that the decoder's gradient is taken from; None: from all.
    changes: uniform [7, B], of how the consistency term changes the images; None: without it.
    """

    proposal: Noise
    resampling: tf.Tensor | None = None
    changes: tf.Tensor | None = None


class Proposal(NamedTuple):
    """What was drawn, without any gradient.

    y: int32 [M, B]; noise: standard normal [M, B, D]. Where y is enumerated: y [K, 1, B], noise [K, S, B, D].
    """

    y: tf.Tensor
    noise: tf.Tensor


class Particles(NamedTuple):
    """Samples of (y, z) and their log-probabilities in nats, each [M, B] (or [K, S, B], [K, 1, B] where only y matters).

    y: int32 as proposed; z: [..., B, D].
    """

    y: tf.Tensor
    z: tf.Tensor
    log_p_y: tf.Tensor
    log_p_z: tf.Tensor
    log_q_y: tf.Tensor
    log_q_z: tf.Tensor


class Evaluated(NamedTuple):
    """A proposal's log-probabilities, and the z that they are of, [..., B, D]."""

    log_probs: LogProbs
    z: tf.Tensor


UNKNOWN_BATCH = 256  # examples assumed where their number is not static, as in the last batch of `fit`


def row_chunks(proposal: Proposal, batch_size: int | None, max_rows: int) -> Chunks | None:
    """How to cut a proposal along its first axis so that at most `max_rows` rows are computed at once; None: not at all."""
    rows_each = (batch_size or UNKNOWN_BATCH) * (proposal.noise.shape[1] if proposal.noise.shape.rank == 4 else 1)
    size = max(1, max_rows // rows_each)
    return Chunks(proposal, size) if size < proposal.y.shape[0] else None


class Chunks:
    """A proposal in pieces along its first axis: equal ones in a loop, so that one at a time is in memory, then the rest."""

    def __init__(self, proposal: Proposal, size: int) -> None:
        self._proposal, self._size = proposal, size
        self._n_equal, self._rest = divmod(proposal.y.shape[0], size)

    def concat(self, function: Callable[[Proposal], Evaluated]) -> Evaluated:
        """`function` of every piece, put together along the first axis."""

        def joined(array: tf.Tensor) -> tf.Tensor:  # [n, size, ...] -> [n size, ...]
            return tf.reshape(array, tf.concat([[self._n_equal * self._size], tf.shape(array)[2:]], 0))

        dtype = self._proposal.noise.dtype
        signature = Evaluated(LogProbs(*[dtype] * len(LogProbs._fields)), dtype)
        looped = tf.map_fn(
            lambda i: function(self._piece(i)), tf.range(self._n_equal), parallel_iterations=1, fn_output_signature=signature
        )
        parts = [tf.nest.map_structure(joined, looped)]
        if self._rest:
            parts.append(function(self._piece(self._n_equal)))
        return tf.nest.map_structure(lambda *arrays: tf.concat(arrays, 0), *parts)

    def total(
        self,
        function: Callable[[Proposal, list[tf.Tensor]], list[tf.Tensor]],
        arrays: Sequence[tf.Tensor],
        first: Sequence[tf.Tensor],
    ) -> list[tf.Tensor]:
        """`first` plus the sum over pieces of `function` of the piece and the same piece of `arrays`."""

        def add(i: Any, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            terms = function(self._piece(i), [self._cut(array, i) for array in arrays])
            return (i + 1, *(a + b for a, b in zip(sums, terms, strict=True)))

        sums = tf.while_loop(lambda i, *_: i < self._n_equal, add, (tf.constant(0), *first), parallel_iterations=1)[1:]
        return list(add(self._n_equal, *sums)[1:] if self._rest else sums)

    def _piece(self, i: Any) -> Proposal:
        return Proposal(*(self._cut(array, i) for array in self._proposal))

    def _cut(self, array: tf.Tensor, i: Any) -> tf.Tensor:
        size = self._rest if isinstance(i, int) else self._size  # only the rest has a static number
        # tf.slice, as XLA needs the size to be static and the start not.
        begin = tf.concat([[i * self._size], tf.zeros([array.shape.rank - 1], tf.int32)], 0)
        rows = tf.slice(array, begin, tf.concat([[size], tf.shape(array)[1:]], 0))
        return tf.ensure_shape(rows, [size, *array.shape[1:]])
