"""Embeddings in two dimensions, to look at; the same each time."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

TSNE_EXAMPLES = 5_000  # the most for t-SNE, which takes about ten seconds on one core for so many
TSNE_STEPS = 500
PERPLEXITY = 30.0
READ_TSNE = "Neighbours are alike; distances between groups mean little."
READ_PCA = "Examples far apart are unlike; those close together may differ in the other dimensions."
FEWEST = 10  # examples that t-SNE needs to make sense
FAR, ROOM = 0.5, 0.5  # percent of examples at each side, which are put on the edge if they lie farther out by half the width of the others


def project(z: np.ndarray, seed: int = 0) -> tuple[np.ndarray, str]:
    """Places in the unit square, float64 [n, 2], and for a person by what, and how to read it.

    Args:
      z: embeddings, [n, D].
      seed: of t-SNE.
    """
    z = np.asarray(z, np.float64)
    if z.shape[1] <= 2:
        flat = np.pad(z, ((0, 0), (0, 2 - z.shape[1])))
        return _in_square(flat), f"the model's latent space of dimension {z.shape[1]}. Neighbours are alike."
    some_spread = bool(np.ptp(z, axis=0).any())
    if FEWEST <= len(z) <= TSNE_EXAMPLES and some_spread:
        from sklearn.manifold import TSNE

        perplexity = min(PERPLEXITY, (len(z) - 1) / 3)
        with threadpool_limits(1):  # more threads add up in other orders, and wait for each other where the machine is busy
            found = TSNE(2, perplexity=perplexity, max_iter=TSNE_STEPS, init="pca", random_state=seed).fit_transform(z)
        return _in_square(found), f"t-SNE of the {z.shape[1]}-dimensional embeddings. {READ_TSNE}"
    from sklearn.decomposition import PCA

    found = PCA(2, svd_solver="full").fit_transform(z) if some_spread else np.zeros((len(z), 2))
    return _in_square(found), f"the first two principal components (PCA) of the {z.shape[1]}-dimensional embeddings. {READ_PCA}"


def _in_square(flat: np.ndarray) -> np.ndarray:
    """Both coordinates by one scale, a narrow one by twice that at most; what lies far out is put on the edge."""
    low, high = np.percentile(flat, [FAR, 100 - FAR], axis=0)
    room = ROOM * (high - low)
    low, high = np.maximum(flat.min(0), low - room), np.minimum(flat.max(0), high + room)
    width = np.maximum(high - low, max((high - low).max() / 2, 1e-12))
    return np.clip((flat - (low + high) / 2) / width + 0.5, 0, 1)
