"""What is measured in training: the rows of metrics.csv and stages.csv."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvisa_tf.clustering.metrics import cluster_size_entropy, clustering_scores
from nvisa_tf.data import Dataset
from nvisa_tf.models.base import ClusteringModel, TrainingStage
from nvisa_tf.models.stage import steps_per_epoch


def stage_row(stage: TrainingStage, minutes: float) -> dict[str, Any]:
    """How a stage before the last goes: its name, epoch, step, the minutes of training, its running metrics and present values."""
    return _rounded({"stage": stage.name, **_place(stage, minutes), **_measured(stage)})


def evaluation_row(model: ClusteringModel, stage: TrainingStage, test: Dataset, held_out: np.ndarray, minutes: float) -> dict[str, Any]:
    """How the last stage goes, with what the model makes of test data; their labels, where there are any, score it.

    Args:
      model: that is trained.
      stage: the last.
      test: what is clustered.
      held_out: raw examples [n, *input_shape] that the stage scores without labels.
      minutes: of training.
    """
    clusters = model.predict_proba(test.x).argmax(1)
    n_clusters = model.config.n_clusters
    row = {**_place(stage, minutes), **_measured(stage), **stage.held_out(held_out)}
    row.update(used_clusters=len(np.unique(clusters)), cluster_size_entropy=cluster_size_entropy(clusters, n_clusters))
    if test.y is not None:
        row.update(clustering_scores(test.y, clusters)._asdict())
    return _rounded(row)


def reset(stage: TrainingStage) -> None:
    """Let the stage's running metrics begin anew."""
    for metric in stage.metrics().values():
        metric.reset_state()


def _place(stage: TrainingStage, minutes: float) -> dict[str, Any]:
    step = int(stage.step.numpy())
    return {"epoch": step / steps_per_epoch(len(stage.x), stage.batch_size), "step": step, "minutes": minutes}


def _measured(stage: TrainingStage) -> dict[str, float | int]:
    return {**{name: float(metric.result()) for name, metric in stage.metrics().items()}, **stage.values()}


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, (int, str)) else float(f"{value:.6g}") for name, value in row.items()}
