"""Training: the trainer, its batches, checkpoints and TensorBoard."""

from nvisa_tf.training.tensorboard import TensorBoardMonitor
from nvisa_tf.training.together import Result, train_together
from nvisa_tf.training.trainer import Monitor, Progress, Trainer, TrainingDiverged, compile_for_training

__all__ = ["Monitor", "Progress", "Result", "TensorBoardMonitor", "Trainer", "TrainingDiverged", "compile_for_training", "train_together"]
