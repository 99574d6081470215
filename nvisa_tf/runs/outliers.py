"""What tells outliers of a run: kept when training ends, or made from the run's data."""

from __future__ import annotations

from nvisa_tf.config.run import RunConfig
from nvisa_tf.evaluation.detector import OutlierDetector
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.models.base import ClusteringModel
from nvisa_tf.runs.workflows import load_run_splits


def load_outlier_detector(run: RunDirectory, model: ClusteringModel, config: RunConfig, data_dir: str = "") -> OutlierDetector:
    """A run's detector; of a run of before there were any it is made, and kept where training has ended.

    Args:
      run: the run.
      model: its model.
      config: its configuration.
      data_dir: where its data are now, "" for where they were.

    Raises:
      ValueError: its file is damaged or of another run, or the run's data have changed.
      FileNotFoundError: the run's data are no longer where they were.
    """
    if run.outliers_file.is_file():
        found = OutlierDetector.load(run.outliers_file)
        if found.distances.means.shape[1] != model.config.input_dim:
            raise ValueError(f"{run.outliers_file} is of another run; remove it and it is made again from the run's data.")
        return found
    splits = load_run_splits(run, config, data_dir)
    run.check_data(splits.train.fingerprint())
    made = OutlierDetector.of(model, splits.train, splits.test)
    if run.model_file.is_file():
        made.save(run.outliers_file)
    return made
