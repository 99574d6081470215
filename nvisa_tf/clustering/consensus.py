"""One clustering from several, which may number their clusters differently and be right about different examples.

Each is taken for a noisy observer of the cluster that an example really is in (Dawid & Skene, Applied Statistics 28:1, 1979): the cluster
has a probability of its own, and each observer a confusion matrix, both found by expectation maximization. So an observer's numbering does
not matter, one that is often wrong counts little, and what most take for one cluster is one.

Shapes: n examples, K clusters, S observers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

STEPS = 50  # of expectation maximization, at most
SETTLED = 1e-4  # mean change of a probability, under which it ends
PRIOR = 1.0  # examples that every observer's every answer is taken to have had in every cluster


class Consensus(NamedTuple):
    """What was found of the clusters and the observers.

    log_weights: log-probability of each cluster, float64 [K].
    log_confusions: log-probability of each answer of an observer (rows), given the cluster (columns); S of [K, K].
    """

    log_weights: np.ndarray
    log_confusions: list[np.ndarray]

    def probabilities(self, answers: Sequence[np.ndarray]) -> np.ndarray:
        """Of each cluster, float64 [n, K], given the observers' answers, S of int [n]."""
        return softmax(self.log_weights + sum(log_q[seen] for seen, log_q in zip(answers, self.log_confusions, strict=True)), 1)


def consensus(answers: Sequence[np.ndarray], n_clusters: int) -> Consensus:
    """Find the clusters that the observers agree on.

    Args:
      answers: the cluster that each takes each example to be in, S of int [n]; the first is where the search begins, and the clusters keep
        its numbers.
      n_clusters: K.
    """
    given = np.eye(n_clusters)[answers[0]]
    for _ in range(STEPS):
        found = _fit(answers, given)
        before, given = given, found.probabilities(answers)
        if np.mean(np.abs(given - before)) < SETTLED:
            break
    return found


def _fit(answers: Sequence[np.ndarray], given: np.ndarray) -> Consensus:
    """The likeliest weights and confusions, with the prior, where the clusters have the probabilities `given`, [n, K]."""
    counts = []
    for seen in answers:
        count = np.full([given.shape[1]] * 2, PRIOR)
        np.add.at(count, seen, given)
        counts.append(count)
    weights = given.sum(0) + PRIOR
    return Consensus(np.log(weights / weights.sum()), [np.log(count / count.sum(0)) for count in counts])
