"""nvisa-tf: deep clustering with TensorFlow: NVISA (Li et al., IJCNN 2020), a Gaussian-mixture VAE, and other methods.

Names are loaded on first use, so `import nvisa_tf` does not load TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nvisa_tf import keras_classes

if TYPE_CHECKING:
    from nvisa_tf.clustering.metrics import ClusteringScores, clustering_accuracy, clustering_scores, confusion_matrix
    from nvisa_tf.config.methods import METHODS, Method
    from nvisa_tf.config.nvisa import NVISAConfig, NVISAOptions, StepOptions
    from nvisa_tf.config.objectives import OBJECTIVES, Objective
    from nvisa_tf.config.presets import preset
    from nvisa_tf.config.run import DataConfig, RunConfig, TrainConfig
    from nvisa_tf.data import Dataset, Splits, input_scaling, load_dataset, read_array_file
    from nvisa_tf.estimator import NVISAClustering
    from nvisa_tf.evaluation import evaluate_bound
    from nvisa_tf.io.run_directory import RunDirectory
    from nvisa_tf.layers.augmentation import Augmentation
    from nvisa_tf.layers.schedules import AnnealedLearningRate, StdAnnealing
    from nvisa_tf.models.ae_gmm import AEGMM
    from nvisa_tf.models.base import ClusteringModel, ExportSignature, TrainingStage
    from nvisa_tf.models.dec import DEC, IDEC
    from nvisa_tf.models.gm_gan import GMGAN
    from nvisa_tf.models.gmvae import GMVAE
    from nvisa_tf.models.ltvae.model import LTVAE, LTVAEGMM
    from nvisa_tf.models.nvisa.model import NVISA
    from nvisa_tf.models.nvisa.objectives import VimcoTerms, importance_weighted_bound, vimco
    from nvisa_tf.models.vade import VaDE
    from nvisa_tf.models.vae_gmm import VAEGMM
    from nvisa_tf.runs.workflows import load_run
    from nvisa_tf.training import Monitor, Progress, StopReason, Trainer, TrainingDiverged

_HOME = {
    "clustering.metrics": ("ClusteringScores", "clustering_accuracy", "clustering_scores", "confusion_matrix"),
    "config.methods": ("METHODS", "Method"),
    "config.nvisa": ("NVISAConfig", "NVISAOptions", "StepOptions"),
    "config.objectives": ("OBJECTIVES", "Objective"),
    "config.presets": ("preset",),
    "config.run": ("DataConfig", "RunConfig", "TrainConfig"),
    "data": ("Dataset", "Splits", "input_scaling", "load_dataset", "read_array_file"),
    "estimator": ("NVISAClustering",),
    "evaluation": ("evaluate_bound",),
    "io.run_directory": ("RunDirectory",),
    "layers.augmentation": ("Augmentation",),
    "layers.schedules": ("AnnealedLearningRate", "StdAnnealing"),
    "models.ae_gmm": ("AEGMM",),
    "models.dec": ("DEC", "IDEC"),
    "models.ltvae.model": ("LTVAE", "LTVAEGMM"),
    "models.gmvae": ("GMVAE",),
    "models.gm_gan": ("GMGAN",),
    "models.vade": ("VaDE",),
    "models.vae_gmm": ("VAEGMM",),
    "models.base": ("ClusteringModel", "ExportSignature", "TrainingStage"),
    "models.nvisa.model": ("NVISA",),
    "models.nvisa.objectives": ("VimcoTerms", "importance_weighted_bound", "vimco"),
    "runs.workflows": ("load_run",),
    "training": ("Monitor", "Progress", "StopReason", "Trainer", "TrainingDiverged"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "AEGMM",
    "DEC",
    "GMGAN",
    "GMVAE",
    "IDEC",
    "LTVAE",
    "LTVAEGMM",
    "METHODS",
    "NVISA",
    "OBJECTIVES",
    "VAEGMM",
    "AnnealedLearningRate",
    "Augmentation",
    "ClusteringModel",
    "ClusteringScores",
    "DataConfig",
    "Dataset",
    "ExportSignature",
    "Method",
    "Monitor",
    "NVISAClustering",
    "NVISAConfig",
    "NVISAOptions",
    "Objective",
    "Progress",
    "RunConfig",
    "RunDirectory",
    "Splits",
    "StdAnnealing",
    "StepOptions",
    "StopReason",
    "TrainConfig",
    "Trainer",
    "TrainingDiverged",
    "TrainingStage",
    "VaDE",
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
    "vimco",
]

keras_classes.register_when_imported()


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'nvisa_tf' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nvisa_tf.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
