"""Runs with too many skipped steps fail, whenever it is that they are skipped, and runs with a handful do not."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from nvisa_tf import NVISA, Dataset, Monitor, RunConfig, StopReason, Trainer, TrainingDiverged
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.training import train_in_lockstep
from nvisa_tf.training.divergence import SkippedSteps

# 6 steps an epoch, 60 in all.
CONFIG = RunConfig().replace(
    {
        "input_shape": (6,), "encoder_units": (16,), "posterior_units": 16, "decoder_units": (16,), "n_clusters": 3, "latent_dim": 2,
        "n_samples": 3, "epochs": 10, "batch_size": 50, "eval_epochs": 2.0, "steps_per_call": 1, "eval_samples": 5,
        "checkpoint_minutes": 0.0,
    }
)  # fmt: skip


class BreakFrom(Monitor):
    """Makes the steps from `first` on, up to `last`, not finite."""

    def __init__(self, first, last):
        self.first, self.last, self.kept, self.trainer = first, last, None, None

    def on_progress(self, progress):
        bias = self.trainer.model.decoder.loc.bias
        if progress.step == self.first:
            self.kept = bias.numpy()
            bias.assign(np.full(6, np.nan))
        elif progress.step == self.last:
            bias.assign(self.kept)


@pytest.fixture(scope="module")
def data(make_blobs):
    return Dataset("blobs", *make_blobs(100))


def trainer_of(data, run=None, broken=None, **options):
    config = CONFIG.replace(options)
    trainer = Trainer(NVISA(config.model, seed=config.train.seed), config, data, run=run, monitors=[broken] if broken else [])
    if broken:
        broken.trainer = trainer
    return trainer


def test_a_handful_of_skipped_steps_is_no_failure(data):
    trainer = trainer_of(data, broken=BreakFrom(20, 23))
    assert trainer.train() is StopReason.FINISHED
    assert trainer.stage.nonfinite_steps() == (3, 0)


def test_a_burst_fails_at_the_next_evaluation_and_keeps_the_last_good_checkpoint(data, tmp_path):
    run = RunDirectory.create(tmp_path / "run", CONFIG, {})
    trainer = trainer_of(data, run, BreakFrom(26, 33))
    expected = (
        r"7 of the last 12 steps was not finite, at epoch 6\.0 of stage nvisa, eps 1, .* checkpoint is kept; try a smaller learning_rate"
    )
    with pytest.raises(TrainingDiverged, match=expected):
        trainer.train()
    assert [row["step"] for row in run.metrics()] == ["12", "24"]
    again = trainer_of(data, run)
    assert again.resume() == 35  # the steps after the burst were good again
    assert all(np.isfinite(weight.numpy()).all() for weight in again.model.trainable_weights)


def test_no_checkpoint_is_made_while_steps_are_skipped(data, tmp_path):
    run = RunDirectory.create(tmp_path / "run", CONFIG, {})
    with pytest.raises(TrainingDiverged):
        trainer_of(data, run, BreakFrom(26, 100)).train()
    assert trainer_of(data, run).resume() == 26


def test_a_run_too_short_for_a_row_of_skipped_steps_fails_in_every_stage(data):
    huge = dataclasses.replace(data, x=data.x * np.float32(1e30))
    for options, stage in (({"epochs": 1}, "nvisa"), ({"init": "ae_kmeans", "init_epochs": 1, "epochs": 1}, "autoencoder")):
        with pytest.raises(TrainingDiverged, match=rf"stage {stage}, .* training has failed; try another scaling, such as auto"):
            trainer_of(huge, max_nonfinite_steps=1000, **options).train()


def test_training_that_time_ends_fails_too(data):
    huge = dataclasses.replace(data, x=data.x * np.float32(1e30))
    with pytest.raises(TrainingDiverged, match="1 of all 1 steps was not finite"):
        trainer_of(huge, max_minutes=1e-9).train()


def test_in_one_program_the_broken_one_alone_fails(data):
    together = [trainer_of(data, broken=broken, seed=seed) for seed, broken in ((0, BreakFrom(20, 31)), (1, None))]
    first, second = train_in_lockstep(together)
    assert isinstance(first, TrainingDiverged)
    assert second is StopReason.FINISHED


@pytest.mark.parametrize(
    ("step", "skipped", "ends", "fails"),
    [
        (1000, 50, True, False), (1000, 51, True, True), (1000, 51, False, True), (40, 5, True, False), (40, 6, False, True),
        (4, 2, True, False), (4, 3, True, True), (4, 3, False, False),
    ],
)  # fmt: skip
def test_how_many_are_too_many(step, skipped, ends, fails):
    stage = SimpleNamespace(
        step=np.int64(0),
        nonfinite_steps=lambda: (0, 0),
        x=np.zeros(8),
        batch_size=4,
        name="s",
        progress=dict,
        values=dict,
        total_steps=step,
    )
    stage.step = SimpleNamespace(numpy=lambda: 0)
    watch = SkippedSteps(stage)
    stage.step, stage.nonfinite_steps = SimpleNamespace(numpy=lambda: step), lambda: (skipped, 0)
    if fails:
        with pytest.raises(TrainingDiverged):
            watch.check(stage, ends, False)
    else:
        watch.check(stage, ends, False)
    again = SkippedSteps(stage)  # as after a resume: what was before counts at the end alone
    again.check(stage, False, False)
