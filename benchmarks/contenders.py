"""Ways to cluster images that are not ours, each in a process of its own: `python benchmarks/contenders.py NAME DATA.npz SEED OUT.npy`.

DATA.npz has `train` [n, d] and `test` [m, d], float32 in [0, 1], and `n_clusters`. OUT.npy gets the clusters of `test`, integers [m]. Needs
what the contender needs and NumPy, nothing of this repository, so that it may run in an environment of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

N2D_EPOCHS = 50  # McConville et al. train their autoencoder for 1,000, which takes hours on two cores
FEWER_EPOCHS = {"pretrain_epochs": 20, "clustering_epochs": 30}  # a fifth of ClustPy's defaults, 100 and 150, which take an hour and more


def kmeans(train: np.ndarray, test: np.ndarray, k: int, seed: int) -> np.ndarray:
    """scikit-learn's k-means of the pixels, the best of ten."""
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=10, random_state=seed).fit(train).predict(test)


def umap_mixture(train: np.ndarray, test: np.ndarray, k: int, seed: int) -> np.ndarray:
    """UMAP of the pixels, with what its documentation recommends for clustering, and a Gaussian mixture in the map."""
    from sklearn.mixture import GaussianMixture

    mapper = _mapped(train, seed, n_neighbors=30, n_components=2)
    mixture = GaussianMixture(k, n_init=10, random_state=seed).fit(mapper.embedding_)
    return mixture.predict(mapper.transform(test))


def n2d(train: np.ndarray, test: np.ndarray, k: int, seed: int) -> np.ndarray:
    """N2D's recipe (McConville et al., ICPR 2020): an autoencoder, UMAP of its codes, a Gaussian mixture; `N2D_EPOCHS` epochs."""
    import keras
    from sklearn.mixture import GaussianMixture

    keras.utils.set_random_seed(seed)
    widths = (500, 500, 2000)
    encoder = keras.Sequential([keras.Input((train.shape[1],)), *(keras.layers.Dense(n, "relu") for n in widths), keras.layers.Dense(k)])
    decoder = keras.Sequential(
        [keras.Input((k,)), *(keras.layers.Dense(n, "relu") for n in widths[::-1]), keras.layers.Dense(train.shape[1])]
    )
    autoencoder = keras.Sequential([encoder, decoder])
    autoencoder.compile("adam", "mse")
    autoencoder.fit(train, train, batch_size=256, epochs=N2D_EPOCHS, verbose=0)
    mapper = _mapped(encoder.predict(train, verbose=0), seed, n_neighbors=20, n_components=k)
    mixture = GaussianMixture(k, random_state=seed).fit(mapper.embedding_)
    return mixture.predict(mapper.transform(encoder.predict(test, verbose=0)))


def _mapped(x: np.ndarray, seed: int, **options: int) -> Any:
    """A UMAP map fitted to x, [n, d]. With a seed UMAP uses one core of all, so it gets one only where it has no more than that."""
    import umap

    return umap.UMAP(**options, min_dist=0.0, random_state=seed if os.environ.get("NUMBA_NUM_THREADS") == "1" else None).fit(x)


def _clustpy(name: str, **options: int) -> Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]:
    def fit(train: np.ndarray, test: np.ndarray, k: int, seed: int) -> np.ndarray:
        import clustpy.deep

        found: Any = getattr(clustpy.deep, name)(k, random_state=seed, **options).fit(train)
        return np.asarray(found.predict(test))

    return fit


CONTENDERS: dict[str, Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]] = {
    "k-means": kmeans,
    "UMAP + mixture": umap_mixture,
    "N2D, 50 epochs": n2d,
    "ClustPy DEC, 20 + 30 epochs": _clustpy("DEC", **FEWER_EPOCHS),
    "ClustPy VaDE, 20 + 30 epochs": _clustpy("VaDE", **FEWER_EPOCHS),
    "ClustPy DEC": _clustpy("DEC"),
    "ClustPy VaDE": _clustpy("VaDE"),
}


def main() -> None:
    """Run one."""
    name, data, seed, output = sys.argv[1:]
    with np.load(data) as arrays:
        clusters = CONTENDERS[name](arrays["train"], arrays["test"], int(arrays["n_clusters"]), int(seed))
    np.save(output, clusters)


if __name__ == "__main__":
    main()
