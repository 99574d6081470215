"""TensorBoard: scalars at every evaluation, pictures of samples and reconstructions, HParams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from nvisa_tf.config import RunConfig
from nvisa_tf.evaluation.pictures import reconstruction_grid, sample_grid
from nvisa_tf.training.trainer import Monitor

GROUPS = {
    "bound": ("bound", "loss", "log_p_x", "kl_y", "kl_z", "l2", "test_bound"),
    "annealing": ("eps_x", "eps_z", "learning_rate"),
    "gradient": ("grad_norm", "ess", "skipped"),
    "clusters": ("entropy_y", "entropy_usage", "entropy_sizes", "used_clusters"),
    "scores": ("accuracy", "nmi", "ari"),
}


class TensorBoardMonitor(Monitor):
    """Writes event files; the tags are `GROUPS`' "group/name", samples, reconstructions, HParams.

    Args:
      folder: where event files go.
      config: the run's options, for the HParams tab.
      examples: raw examples whose reconstructions are drawn, [n, *input_shape].
    """

    def __init__(self, folder: Path, config: RunConfig, examples: np.ndarray) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))
        self._examples = examples
        options = {name: value for section in config.to_dict().values() for name, value in section.items()}
        plain = {name: value if isinstance(value, (int, float, str, bool)) else str(value) for name, value in options.items()}
        with self._writer.as_default(step=0):
            hparams.hparams(plain, trial_id=folder.parent.name)

    def on_evaluation(self, row: dict[str, Any], model: Any) -> None:
        """Write one evaluation."""
        with self._writer.as_default(step=row["step"]):
            for group, names in GROUPS.items():
                for name in names:
                    if name in row:
                        tf.summary.scalar(f"{group}/{name}", row[name])
            tf.summary.image("samples, a row a cluster", sample_grid(model)[None])
            tf.summary.image("inputs and reconstructions", reconstruction_grid(model, self._examples)[None])
        self._writer.flush()
