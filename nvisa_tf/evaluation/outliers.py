"""Vectors that lie so far out that they decide the scale of all others, or that have no direction: sentences for a person."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nvisa_tf.data import Dataset

FAR = 100.0  # times the distance of half of the examples from the middle; heavy tails of real tables come to some twenty
LOOKED_AT = 10_000  # examples at most that the middle and that distance are taken from


def far_out(data: Dataset, scaled: Callable[[np.ndarray], np.ndarray]) -> str:
    """The sentence that names the vectors beyond `FAR`; "" where there are none.

    Args:
      data: vectors [n, d].
      scaled: to the scale of the model, as `ClusteringModel.scaled`.
    """
    some = scaled(np.asarray(data.spread(LOOKED_AT).x))
    middle = np.median(some, axis=0)
    limit = FAR * float(np.median(np.linalg.norm(some - middle, axis=1)))
    if limit == 0:  # more than half of them are one vector
        return ""
    distances = np.concatenate([np.linalg.norm(scaled(part) - middle, axis=1) for _, part in data.chunks()])
    far = np.flatnonzero(distances > limit)
    if not far.size:
        return ""
    is_or_are, them, it = ("is", "it", "it decides") if far.size == 1 else ("are", "them", "they decide")
    return (
        f"{far.size:,} of {len(data):,} examples {is_or_are} more than {FAR:.0f} times as far from the middle of the data as half of all "
        f"(the first is {data.names[far[0]]}); {it} the scale of the others, so look at {them}, or leave {them} out."
    )


def without_direction(data: Dataset) -> str:
    """The sentence that counts the vectors [n, d] of nothing but zeros, which `unit_length` cannot divide; "" where there are none."""
    zero = np.concatenate([~part.any(axis=1) for _, part in data.chunks()])
    count = int(zero.sum())
    if not count:
        return ""
    return (
        f"{count:,} of {len(data):,} vectors {'has' if count == 1 else 'have'} zeros alone "
        f"(the first is {data.names[int(zero.argmax())]}), so no direction; what cluster they get means nothing."
    )
