"""Training: the trainer, its batches and checkpoints, and many models in one program."""

from nvisa_tf.training.lockstep import Result, train_in_lockstep
from nvisa_tf.training.monitors import Monitor, Progress, StopReason, TrainingDiverged
from nvisa_tf.training.trainer import Trainer

__all__ = ["Monitor", "Progress", "Result", "StopReason", "Trainer", "TrainingDiverged", "train_in_lockstep"]
