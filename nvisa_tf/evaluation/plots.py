"""Plots: grids of examples as arrays and PNG files, training curves, the confusion matrix."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from nvisa_tf.io.files import replacing
from nvisa_tf.models.base import ClusteringModel

LEFT_CURVES = {"bound": "training bound", "held_out_iw_bound": "held-out bound"}
SMALLEST = 28  # pixels to which the side of a smaller image is blown up, in whole steps


def sample_grid(model: ClusteringModel, columns: int = 10, seed: int = 0, clusters: Sequence[int] | None = None) -> np.ndarray:
    """Samples of the model, one cluster in each row, uint8 [height, width, 1 or 3].

    Args:
      model: one that can generate.
      columns: samples in a row.
      seed: of the draws.
      clusters: which; None: all.
    """
    chosen = range(model.config.n_clusters) if clusters is None else clusters
    rows = [model.generate(columns, cluster=k, seed=seed + k) for k in chosen]
    return _grid(model.scaled(np.concatenate(rows)), columns)


def reconstruction_grid(model: ClusteringModel, x: np.ndarray) -> np.ndarray:
    """Examples above their reconstructions, uint8 [height, width, 1 or 3]; x: raw [n, *input_shape]."""
    both = np.concatenate([np.asarray(x, np.float32), model.reconstruct(x)])
    return _grid(model.scaled(both), len(x))


def _grid(x: np.ndarray, columns: int) -> np.ndarray:
    """Examples [n, *shape] as tiles; values in about [0, 1] are clipped to it, others stretched to it."""
    low, high = np.percentile(x, [1, 99])
    if low < -0.5 or high > 1.5:
        x = (x - low) / ((high - low) or 1.0)
    if x.ndim == 2:  # a vector becomes a strip
        x = np.repeat(x[:, None, : 8 * SMALLEST], min(SMALLEST, max(1, x.shape[1] // 8)), axis=1)  # the first 224 values of a long one
    if x.ndim == 3:
        x = x[..., None]
    if x.shape[-1] not in (1, 3):
        x = x[..., :1] if x.shape[-1] < 3 else x[..., :3]
    factor = math.ceil(SMALLEST / max(x.shape[1:3]))
    x = x.repeat(factor, 1).repeat(factor, 2)
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=0.25)
    n, h, w, c = x.shape
    tiles = x.reshape(n // columns, columns, h, w, c).transpose(0, 2, 1, 3, 4).reshape(n // columns * h, columns * w, c)
    return (np.clip(tiles, 0, 1) * 255 + 0.5).astype(np.uint8)


def save_png(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write uint8 [h, w, 1 or 3] as PNG, replacing the file only once it is whole."""
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(temporary, format="PNG")


def save_curves(path: str | os.PathLike[str], rows: Sequence[dict[str, Any]]) -> None:
    """Draw the bounds, the scores (where labels exist) and eps, as far as there are such, against the epoch; rows of metrics.csv."""
    from matplotlib.figure import Figure

    def column(name: str) -> list[float]:
        return [float(row[name]) for row in rows]

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = column("epoch")
    bounds = {name: label for name, label in LEFT_CURVES.items() if name in rows[0]}
    for name, label in (bounds or {"loss": "training loss"}).items():
        left.plot(epochs, column(name), label=label)
    left.set(xlabel="epoch", ylabel="nats" if bounds else "loss")
    for name in ("accuracy", "nmi", "ari"):
        if name in rows[0]:
            right.plot(epochs, column(name), label=name)
    if "eps_x" in rows[0]:
        right.plot(epochs, column("eps_x"), ":", color="grey", label="eps_x")
    right.set(xlabel="epoch", ylim=(0, 1.02))
    for panel in (left, right):
        if panel.lines:
            panel.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary)


def save_confusion(path: str | os.PathLike[str], counts: np.ndarray) -> None:
    """Draw a confusion matrix, classes down and clusters across, the clusters in best-matching order."""
    from matplotlib.figure import Figure
    from scipy.optimize import linear_sum_assignment

    matched = linear_sum_assignment(counts, maximize=True)[1].tolist()
    order = matched + [k for k in range(counts.shape[1]) if k not in matched]
    shares = counts[:, order] / counts.sum(1, keepdims=True)
    figure = Figure(figsize=(1.5 + 0.45 * len(order), 1.2 + 0.4 * len(counts)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), share in np.ndenumerate(shares):
        if share >= 0.005:
            axes.text(j, i, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color="white" if share > 0.5 else "black")
    axes.set(xlabel="cluster, best matching first", ylabel="class", title="% of the class")
    axes.set_xticks(range(len(order)), order)
    axes.set_yticks(range(len(counts)))
    with replacing(path) as temporary:
        figure.savefig(temporary)
