"""What a run keeps of the stages before its last one, in init.json and beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nvisa_tf.clustering.metrics import cluster_size_entropy
from nvisa_tf.data import Dataset
from nvisa_tf.io.files import replacing
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.models.base import ClusteringModel, TrainingStage


def keep_report(run: RunDirectory | None, stage: TrainingStage, ended_early: Mapping[str, str], minutes: float) -> None:
    """Keep what a stage found, and why those before ended early, by name; minutes: of training."""
    if run and stage.report:
        run.write_init({**stage.report, **({"ended_early": ended_early} if ended_early else {}), "minutes": minutes})


def keep_early_ends(run: RunDirectory | None, ended_early: Mapping[str, str]) -> None:
    """Keep why stages ended early beside what they found."""
    if run:
        run.write_init({**run.init(), "ended_early": ended_early})


def keep_initialization(
    run: RunDirectory | None, model: ClusteringModel, stage: TrainingStage, test: Dataset, held_out: np.ndarray, is_random: bool
) -> None:
    """Keep the model as the last stage begins with it, as a way back, and how it clusters test data and scores examples, to compare by.

    Args:
      run: None: nothing is kept.
      model: that answers.
      stage: the last.
      test: what is clustered.
      held_out: raw examples [n, *input_shape] that the stage scores without labels.
      is_random: whether the weights are; then they are not kept.
    """
    if not run:
        return
    found: dict[str, Any] = {}
    if not is_random:
        with replacing(run.initialization_file) as temporary:
            model.save(temporary)
        found["model"] = run.initialization_file.name
        found["cluster_size_entropy"] = round(cluster_size_entropy(model.predict_clusters(test.x), model.config.n_clusters), 6)
    found |= {name: float(f"{value:.6g}") for name, value in stage.held_out(held_out).items() if math.isfinite(value)}
    if found:
        run.write_init({**run.init(), **found})
