"""What tells outliers of a run: kept when training ends, or made from the run's data."""

from __future__ import annotations

from nvisa_tf.config.run import RunConfig
from nvisa_tf.evaluation.detector import OutlierDetector
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.models.base import ClusteringModel
from nvisa_tf.runs.workflows import load_run_splits


def load_outlier_detector(run: RunDirectory, model: ClusteringModel, config: RunConfig) -> OutlierDetector:
    """A run's detector; of a run of before there were any it is made, and kept.

    Raises:
      ValueError: its file is damaged, or the run's data have changed.
      FileNotFoundError: the run's data are no longer where they were.
    """
    if run.outliers_file.is_file():
        return OutlierDetector.load(run.outliers_file)
    splits = load_run_splits(run, config)
    run.check_data(splits.train.fingerprint())
    made = OutlierDetector.of(model, splits.train, splits.test)
    made.save(run.outliers_file)
    return made
