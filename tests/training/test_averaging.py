"""Moving averages of the weights, through a whole run."""

import numpy as np
import pytest

from nvisa_tf import Dataset, RunConfig, clustering_accuracy, load_run
from nvisa_tf.data import Splits
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.runs.workflows import finish_run, resume_run, start_run
from nvisa_tf.training import Monitor, StopReason

CONFIG = RunConfig().replace(
    {
        "encoder_units": (16,), "posterior_units": 16, "decoder_units": (16,), "n_clusters": 3, "latent_dim": 2, "n_samples": 5,
        "epochs": 4, "batch_size": 50, "eval_epochs": 2.0, "eps_halving_epochs": 1.0, "learning_rate": 1e-2, "steps_per_call": 1,
        "ema_momentum": 0.8, "checkpoint_minutes": 60.0, "eval_examples": 100,
    }
)  # fmt: skip


class Watch(Monitor):
    """Keeps the average by NumPy, and what an evaluation is given."""

    def __init__(self, stop_at=None):
        self.trainer, self.average, self.seen, self.stop_at = None, None, {}, stop_at

    def on_progress(self, progress):
        now = [v.numpy().astype(np.float64) for v in self.trainer.model.trainable_variables]
        kept = min(0.8, progress.step / (9 + progress.step))  # as (1 + steps before this one) / (10 + steps before this one)
        self.average = now if self.average is None else [kept * a + (1 - kept) * b for a, b in zip(self.average, now, strict=True)]
        if progress.step == self.stop_at:
            self.trainer.request_stop()

    def on_evaluation(self, row, model, stage):
        self.seen[row["step"]] = [v.numpy() for v in model.trainable_variables]


def assert_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def numpy_weights(model):
    return [v.numpy() for v in model.trainable_variables]


def test_scores_and_files_have_the_average_and_training_goes_on_from_the_weights(blobs, tmp_path):
    data = Dataset("blobs", *blobs)
    splits = Splits(data, data, "all")
    watch = Watch()
    watch.trainer = trainer = start_run(CONFIG, splits, str(tmp_path / "run"), monitors=[watch])
    assert trainer.train() is StopReason.FINISHED
    weights = numpy_weights(trainer.model)
    assert_close(watch.seen[24], watch.average)
    assert max(np.abs(a - b).max() for a, b in zip(weights, watch.average, strict=True)) > 0.01
    report = finish_run(trainer, CONFIG, splits)
    assert_close(numpy_weights(trainer.model), weights)
    model, _, run = load_run(tmp_path / "run")
    assert_close(numpy_weights(model), watch.average)
    assert report["accuracy"] == pytest.approx(clustering_accuracy(data.y, model.predict_clusters(data.x)))
    assert float(run.metrics()[-1]["accuracy"]) == pytest.approx(report["accuracy"], rel=1e-5)
    # From a checkpoint alone it is the average too.
    run.model_file.unlink()
    assert_close(numpy_weights(load_run(tmp_path / "run")[0]), watch.average)

    # Stopped and resumed it is the same.
    first = Watch(stop_at=7)
    first.trainer = start_run(CONFIG, splits, str(tmp_path / "again"), monitors=[first])
    assert first.trainer.train() is StopReason.REQUESTED
    again = resume_run(RunDirectory.open(tmp_path / "again"), CONFIG, splits)
    assert again.train() is StopReason.FINISHED
    assert_close(numpy_weights(again.model), weights)
    finish_run(again, CONFIG, splits)
    assert_close(numpy_weights(load_run(tmp_path / "again")[0]), watch.average)
