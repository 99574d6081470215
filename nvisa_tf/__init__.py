"""nvisa-tf: unsupervised clustering with a Gaussian-mixture VAE (NVISA, Li et al., IJCNN 2020).

Names are loaded on first use, so `import nvisa_tf` does not load TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nvisa_tf.annealing import AnnealedLearningRate, StdAnnealing
    from nvisa_tf.augmentation import Augmentation
    from nvisa_tf.config import DataConfig, ModelConfig, RunConfig, TrainConfig
    from nvisa_tf.data import Dataset, Splits, input_scaling, load_dataset, read_array_file
    from nvisa_tf.estimator import NVISAClustering
    from nvisa_tf.evaluation import (
        ClusteringScores,
        clustering_accuracy,
        clustering_scores,
        confusion_matrix,
        evaluate_bound,
        score_samples,
    )
    from nvisa_tf.methods import METHODS, Method
    from nvisa_tf.model import NVISA
    from nvisa_tf.objectives import VimcoTerms, importance_weighted_bound, vimco
    from nvisa_tf.run_directory import RunDirectory
    from nvisa_tf.training import Monitor, Progress, Trainer, TrainingDiverged
    from nvisa_tf.workflows import load_run

_HOME = {
    "annealing": ("AnnealedLearningRate", "StdAnnealing"),
    "augmentation": ("Augmentation",),
    "config": ("DataConfig", "ModelConfig", "RunConfig", "TrainConfig"),
    "presets": ("preset",),
    "data": ("Dataset", "Splits", "input_scaling", "load_dataset", "read_array_file"),
    "evaluation": ("ClusteringScores", "clustering_accuracy", "clustering_scores", "confusion_matrix", "evaluate_bound", "score_samples"),
    "estimator": ("NVISAClustering",),
    "methods": ("METHODS", "Method"),
    "model": ("NVISA",),
    "objectives": ("VimcoTerms", "importance_weighted_bound", "vimco"),
    "run_directory": ("RunDirectory",),
    "training": ("Monitor", "Progress", "Trainer", "TrainingDiverged"),
    "workflows": ("load_run",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "METHODS",
    "NVISA",
    "AnnealedLearningRate",
    "Augmentation",
    "ClusteringScores",
    "DataConfig",
    "Dataset",
    "Method",
    "ModelConfig",
    "Monitor",
    "NVISAClustering",
    "Progress",
    "RunConfig",
    "RunDirectory",
    "Splits",
    "StdAnnealing",
    "TrainConfig",
    "Trainer",
    "TrainingDiverged",
    "VimcoTerms",
    "clustering_accuracy",
    "clustering_scores",
    "confusion_matrix",
    "evaluate_bound",
    "importance_weighted_bound",
    "input_scaling",
    "load_dataset",
    "load_run",
    "preset",
    "read_array_file",
    "score_samples",
    "vimco",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'nvisa_tf' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nvisa_tf.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
