"""TensorBoard: scalars at every evaluation, pictures of samples and reconstructions, HParams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from nvisa_tf.config.run import RunConfig
from nvisa_tf.evaluation.plots import reconstruction_grid, sample_grid
from nvisa_tf.models.base import ClusteringModel, TrainingStage
from nvisa_tf.training import Monitor

# What matters, of every method. TensorBoard sorts groups by their names and opens on the first.
RESULTS, RESULT_NAMES = "1 results", ("accuracy", "nmi", "ari", "held_out_iw_bound", "used_clusters", "cluster_size_entropy")


class TensorBoardMonitor(Monitor):
    """Writes event files: scalars "group/name" by the stage's groups, what matters in the first, samples, reconstructions, HParams.

    Scalars of a stage before the last are "stage/name", against that stage's own steps. TensorBoard calls a run by its folder.

    Args:
      folder: where event files go.
      config: the run's options, for the HParams tab.
      examples: raw examples whose reconstructions are drawn, [n, *input_shape].
    """

    def __init__(self, folder: Path, config: RunConfig, examples: np.ndarray) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))
        self._examples = examples
        options = {"method": config.method, **config.options()}
        plain = {name: value if isinstance(value, (int, float, str, bool)) else str(value) for name, value in options.items()}
        with self._writer.as_default(step=0):
            hparams.hparams(plain, trial_id=folder.parent.name)

    def on_stage(self, row: dict[str, Any], stage: TrainingStage) -> None:
        """Write how a stage before the last goes."""
        with self._writer.as_default(step=row["step"]):
            for name in row.keys() - {"stage", "epoch", "step", "minutes"}:
                tf.summary.scalar(f"{stage.name}/{name}", row[name])
        self._writer.flush()

    def on_evaluation(self, row: dict[str, Any], model: ClusteringModel, stage: TrainingStage) -> None:
        """Write one evaluation."""
        with self._writer.as_default(step=row["step"]):
            groups = {RESULTS: RESULT_NAMES, **stage.metric_groups}
            written: set[str] = set()
            for group, names in groups.items():
                for name in names:
                    if name in row and name not in written:
                        tf.summary.scalar(f"{group}/{name}", row[name])
                        written.add(name)
            if "generate" in model.capabilities:
                tf.summary.image("samples, one cluster in each row", sample_grid(model)[None])
            if "reconstruct" in model.capabilities:
                tf.summary.image("inputs and reconstructions", reconstruction_grid(model, self._examples)[None])
        self._writer.flush()
