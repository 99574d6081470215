"""Training: the trainer, its batches, checkpoints, TensorBoard, and the run directory."""

from nvisa_tf.training.run_directory import RunDirectory
from nvisa_tf.training.trainer import Monitor, Progress, Trainer, TrainingDiverged, compile_for_training

__all__ = ["Monitor", "Progress", "RunDirectory", "Trainer", "TrainingDiverged", "compile_for_training"]
