"""A run of several stages, stopped in any of them and resumed, against one that was never stopped."""

import numpy as np
import pytest

from nvisa_tf import NVISA, Dataset, RunConfig
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.models.nvisa import initialization
from nvisa_tf.training import Monitor, StopReason, Trainer

# 6 steps an epoch: 30 steps of the autoencoder, 60 of distillation, 12 of NVISA.
CONFIG = RunConfig().replace(
    {
        "input_shape": (6,), "encoder_units": (16,), "posterior_units": 16, "decoder_units": (16,), "n_clusters": 3, "latent_dim": 2,
        "n_samples": 3, "init": "ae_gmm", "init_epochs": 5, "epochs": 2, "batch_size": 50, "eval_epochs": 1.0, "eps_start": 0.25,
        "steps_per_call": 5, "checkpoint_minutes": 60.0, "eval_examples": 100, "eval_samples": 5,
    }
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _short_stages():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initialization, "LEAST_STEPS", 1)
        yield


@pytest.fixture(scope="module")
def data(make_blobs):
    return Dataset("blobs", *make_blobs(100))


class StopAt(Monitor):
    def __init__(self, stage, step):
        self.where, self.trainer = (stage, step), None

    def on_progress(self, progress):
        if (progress.stage, progress.step) == self.where:
            self.trainer.request_stop()


def trainer_of(data, run, *monitors):
    return Trainer(NVISA(CONFIG.model), CONFIG, data, run=run, monitors=monitors)


def without_minutes(rows):
    return [{name: value for name, value in row.items() if name != "minutes"} for row in rows]


def folders(run):
    return [path.name for path in run.checkpoints.iterdir() if path.is_dir()]


@pytest.fixture(scope="module")
def straight(data, tmp_path_factory):
    trainer = trainer_of(data, RunDirectory.create(tmp_path_factory.mktemp("straight") / "run", CONFIG, {}))
    assert trainer.train() is StopReason.FINISHED
    return trainer


def test_every_stage_leaves_its_rows_and_only_the_last_its_checkpoints(straight):
    rows = straight.run.stages()
    assert [row["step"] for row in rows if row["stage"] == "autoencoder"] == ["6", "12", "18", "24", "30"]
    assert [row["step"] for row in rows if row["stage"] == "distillation"] == ["12", "24", "36", "48", "60"]
    assert [row["stage"] for row in rows] == ["autoencoder"] * 5 + ["distillation"] * 5
    assert [row["step"] for row in straight.run.metrics()] == ["6", "12"]
    assert straight.run.init()["method"] == "ae_gmm"
    assert 0 < straight.run.init()["distilled_accuracy"] <= 1
    assert folders(straight.run) == []


@pytest.mark.parametrize(("stage", "step"), [("autoencoder", 11), pytest.param("distillation", 17, marks=pytest.mark.slow)])
def test_stopped_in_a_stage_and_resumed_it_ends_as_if_it_had_never_stopped(data, straight, tmp_path, stage, step):
    run = RunDirectory.create(tmp_path / "run", CONFIG, {})
    stop = StopAt(stage, step)
    stop.trainer = stopped = trainer_of(data, run, stop)
    assert stopped.train() is StopReason.REQUESTED
    assert (stopped.stage.name, stopped.step, stopped.initialized) == (stage, step, False)
    assert folders(run) == [stage]

    resumed = trainer_of(data, run)
    assert resumed.resume() == step
    assert resumed.stage.name == stage
    assert resumed.train() is StopReason.FINISHED
    assert folders(run) == []
    for a, b in zip(straight.model.weights, resumed.model.weights, strict=True):
        np.testing.assert_array_equal(b.numpy(), a.numpy(), err_msg=a.path)
    for a, b in zip(straight.model.optimizer.variables, resumed.model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(b.numpy(), a.numpy(), err_msg=a.path)
    assert without_minutes(run.metrics()) == without_minutes(straight.run.metrics())
    assert without_minutes(run.stages()) == without_minutes(straight.run.stages())
    assert without_minutes([run.init()]) == without_minutes([straight.run.init()])
