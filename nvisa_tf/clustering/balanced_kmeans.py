"""Clusters of about equal size among unit vectors: spherical k-means whose assignments are an entropic optimal transport.

Where kinds are about equally frequent, as the model's uniform p(y) says, a cluster that holds two of them and two that share one are
both the wrong size, which plain k-means cannot know. The assignments are Cuturi's (NeurIPS 2013); Asano et al. (ICLR 2020) label images by
such ones. NumPy in, NumPy out.

Shapes: n examples, K clusters, P dimensions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import entr, softmax
from sklearn.cluster import KMeans

TEMPERATURE = 0.1  # of the cosine similarities
SIZE_TOLERANCE, MOST_SCALINGS = 1e-3, 1000  # of a cluster's size, relative
CENTRE_TOLERANCE, MOST_MOVES = 1e-4, 100
STARTERS = 10_000  # vectors that k-means finds the first centres among, or K


class BalancedClusters(NamedTuple):
    """Centres [K, P] of length 1; biases [K], which make sizes equal; responsibilities [n, K]; the objective, to compare fits by."""

    centres: np.ndarray
    biases: np.ndarray
    responsibilities: np.ndarray
    objective: float

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """The clusters of unit vectors [m, P], integers [m]."""
        return (vectors @ self.centres.T / TEMPERATURE + self.biases).argmax(1)


def balanced_kmeans(vectors: np.ndarray, n_clusters: int, seed: int) -> BalancedClusters:
    """One fit from k-means' centres of some of the vectors.

    It maximizes, over centres and over responsibilities whose columns have the same sum, the mean over examples of
    sum_k r_k cos(v, c_k) + `TEMPERATURE` times the entropy of r.

    Args:
      vectors: of length 1, float [n, P].
      n_clusters: K, at most n.
      seed: of the start.
    """
    rows = np.random.default_rng(seed).permutation(len(vectors))[: max(STARTERS, n_clusters)]
    next_centres = _unit(KMeans(n_clusters, n_init=1, random_state=seed).fit(vectors[rows]).cluster_centers_)
    biases = np.zeros(n_clusters)
    for _ in range(MOST_MOVES):
        centres = next_centres
        similarities = vectors @ centres.T
        responsibilities, biases = equal_shares(similarities / TEMPERATURE, biases)
        next_centres = _unit(responsibilities.T @ vectors)
        if np.abs(next_centres - centres).max() < CENTRE_TOLERANCE:
            break
    objective = (responsibilities * similarities + TEMPERATURE * entr(responsibilities)).sum(1).mean()
    return BalancedClusters(centres, biases, responsibilities, float(objective))


def equal_shares(logits: np.ndarray, biases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """softmax(logits + biases) [n, K] with biases [K] such that every column has the same sum, and these biases, from a first guess.

    This is Sinkhorn's iteration: rows are scaled to 1 by the softmax, columns by the biases.
    """
    shares = softmax(logits + biases, 1)
    for _ in range(MOST_SCALINGS):
        sizes = shares.mean(0) * logits.shape[1]  # 1 each, if equal
        if np.abs(sizes - 1).max() < SIZE_TOLERANCE:
            break
        biases = biases - np.log(np.maximum(sizes, 1e-12))
        shares = softmax(logits + biases, 1)
    return shares, biases


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
