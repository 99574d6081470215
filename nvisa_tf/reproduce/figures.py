"""The paper's figures from run directories: loss curves, samples, the latent space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nvisa_tf.evaluation.plots import sample_grid
from nvisa_tf.io.files import replacing
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.models.base import ClusteringModel


def save_losses(path: Path, runs: Mapping[str, RunDirectory]) -> None:
    """Figure 1: the training loss against the epoch, without annealing on the left, with it on the right.

    Skipped evaluations (no finite step) leave a gap; a cross marks where a run diverged.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for label, run in runs.items():
        rows, report = run.metrics(), run.report()
        panel = axes[0 if run.config().options().get("anneal") == "none" else 1]
        epochs, losses = ([float(row[name]) for row in rows] for name in ("epoch", "loss"))
        (line,) = panel.plot(epochs, losses, label=label, linewidth=1)
        if "diverged_at_epoch" in report:
            finite = [loss for loss in losses if np.isfinite(loss)]
            panel.plot(report["diverged_at_epoch"], finite[-1] if finite else 0.0, "x", color=line.get_color(), markersize=9)
    for panel, title in zip(axes, ("without std annealing", "with std annealing"), strict=True):
        panel.set(xlabel="epoch", title=title)
        panel.set_yscale("symlog", linthresh=1000)
        if panel.lines:
            panel.legend(fontsize=7)
    axes[0].set_ylabel("training loss, nats")
    _save(figure, path)


def save_samples(path: Path, models: Mapping[str, ClusteringModel], columns: int = 10) -> None:
    """Figure 2: generated samples, one cluster in each row, one model in each panel."""
    from matplotlib.figure import Figure

    across = min(4, len(models))
    down = -(-len(models) // across)
    figure = Figure(figsize=(3.2 * across, 3.6 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, (label, model) in zip(panels, models.items(), strict=False):
        panel.imshow(sample_grid(model, columns).squeeze(), cmap="gray", vmin=0, vmax=255)
        panel.set_title(label, fontsize=8)
    _save(figure, path)


def save_latent_space(path: Path, model: ClusteringModel, x: np.ndarray, seed: int = 0) -> None:
    """Figure 3: t-SNE of encoded examples and of as many samples of p(z), embedded together, coloured by cluster.

    Args:
      path: of the picture.
      model: one that can embed and generate.
      x: raw examples [n, *input_shape].
      seed: of the samples and of t-SNE.
    """
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE

    clusters, encoded = model.predict_clusters(x), model.embed(x)
    prior_clusters, prior = model.sample_prior(len(x), seed=seed)
    both = np.concatenate([encoded, prior])
    start = "pca" if both.shape[1] > 1 else "random"
    perplexity = min(30.0, (len(both) - 1) / 3)
    flat = TSNE(perplexity=perplexity, init=start, random_state=seed, n_jobs=-1).fit_transform(both)
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    n_clusters = model.config.n_clusters
    colouring = {"cmap": "tab10" if n_clusters == 10 else "turbo", "vmin": -0.5, "vmax": n_clusters - 0.5}
    parts = (("encoded examples", flat[: len(x)], clusters), ("samples of p(z)", flat[len(x) :], prior_clusters))
    for panel, (title, points, colours) in zip(figure.subplots(1, 2, sharex=True, sharey=True), parts, strict=True):
        drawn = panel.scatter(*points.T, c=colours, s=2, linewidths=0, **colouring)
        panel.set(title=f"{title} ({len(points):,})", xticks=[], yticks=[])
    figure.colorbar(drawn, ax=panel, label="cluster")
    _save(figure, path)


def labels_of(runs: Sequence[RunDirectory]) -> dict[str, RunDirectory]:
    """A run's folder name as its label, with a number where two are the same."""
    labelled: dict[str, RunDirectory] = {}
    for run in runs:
        name = run.path.resolve().name
        labelled[name if name not in labelled else f"{name} ({len(labelled) + 1})"] = run
    return labelled


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
