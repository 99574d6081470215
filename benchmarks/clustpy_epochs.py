"""ClustPy's seconds an epoch: `python benchmarks/clustpy_epochs.py METHOD DATA.npz BATCH EPOCHS` prints them as JSON.

METHOD is DEC, IDEC or VaDE; DATA.npz has `train` [n, d], float32 in [0, 1], and `n_clusters`. Needs ClustPy alone, so that it may run in an
environment of its own. The time is the process's CPU time within the two `fit` functions that train: of the autoencoder, and of the method.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

LAYERS = (500, 500, 2000, 10)  # those of the papers, and of our presets


def timed(fit: Callable[..., Any], seconds: dict[str, float], name: str) -> Callable[..., Any]:
    """The same function, whose CPU seconds are noted."""

    def run(*args: Any, **options: Any) -> Any:
        began = time.process_time()
        found = fit(*args, **options)
        seconds[name] = time.process_time() - began
        return found

    return run


def main() -> None:
    """Train for a few epochs and say how long one took."""
    import torch
    from clustpy.deep import DEC, IDEC, VaDE, dec, vade
    from clustpy.deep.neural_networks import FeedforwardAutoencoder
    from clustpy.deep.neural_networks._abstract_neural_network import _AbstractNeuralNetwork

    method, data, batch, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    with np.load(data) as arrays:
        x, n_clusters = arrays["train"], int(arrays["n_clusters"])
    seconds: dict[str, float] = {}
    for cls, name in ((_AbstractNeuralNetwork, "autoencoder"), (dec._DEC_Module, "clustering"), (vade._VaDE_Module, "clustering")):
        cls.fit = timed(cls.fit, seconds, name)
    network = vade._VaDE_VAE if method == "VaDE" else FeedforwardAutoencoder
    layers = {"layers": [x.shape[1], *LAYERS]}
    cluster = {"DEC": DEC, "IDEC": IDEC, "VaDE": VaDE}[method]
    lengths = {"pretrain_epochs": epochs, "clustering_epochs": epochs}
    cluster(n_clusters, batch_size=batch, embedding_size=LAYERS[-1], neural_network=(network, layers), random_state=0, **lengths).fit(x)
    print(json.dumps({name: value / epochs for name, value in seconds.items()}))


if __name__ == "__main__":
    main()
