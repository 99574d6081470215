"""Trainers that go together against the same trainers alone."""

import shutil

import numpy as np
import pytest

from nvisa_tf import NVISA, Dataset, RunConfig
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.training import Monitor, StopReason, Trainer, TrainingDiverged, train_in_lockstep
from nvisa_tf.training.checkpoints import numbered_checkpoints

SEEDS = (3, 4)
SMALL = {
    "encoder_units": (16,), "posterior_units": 16, "decoder_units": (16,), "n_clusters": 3, "latent_dim": 2, "n_samples": 5,
    "epochs": 6, "batch_size": 50, "eval_epochs": 2.0, "eps_halving_epochs": 2.0, "learning_rate": 1e-2, "steps_per_call": 4,
    "decoder_gradient": "resampled", "checkpoint_minutes": 0.0, "keep_checkpoints": 20, "eval_examples": 100,
}  # fmt: skip
CONFIG = RunConfig().replace({**SMALL, "input_shape": (6,)})


@pytest.fixture(scope="module")
def data(make_blobs):
    return Dataset("blobs", *make_blobs(100))


def trainer(data, seed, run=None, monitors=(), **options):
    config = CONFIG.replace({"seed": seed, **options})
    return Trainer(NVISA(config.model, seed=seed), config, data, run=run, monitors=monitors)


@pytest.fixture(scope="module")
def straight(data, tmp_path_factory):
    """A trainer of each seed that went its way alone, with all its checkpoints, one after each call of 4 steps."""
    folder = tmp_path_factory.mktemp("straight")
    found = [trainer(data, seed, RunDirectory.create(folder / str(seed), CONFIG.replace({"seed": seed}), {})) for seed in SEEDS]
    for one in found:
        assert one.train() is StopReason.FINISHED
    return found


def assert_same(one, other):
    for a, b in zip(one.model.variables, other.model.variables, strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-3, atol=1e-4, err_msg=a.path)


def test_a_resumed_one_catches_up_and_all_end_where_each_ends_alone_with_the_same_evaluations(data, straight, tmp_path):
    again = []
    for one, seed, step in zip(straight, SEEDS, (8, 24), strict=True):
        run = RunDirectory(shutil.copytree(one.run.path, tmp_path / str(seed)))
        for prefix in numbered_checkpoints(run.checkpoints):
            for path in run.checkpoints.glob(f"{prefix.name}.*") if int(prefix.name.removeprefix("step-")) > step else ():
                path.unlink()
        again.append(trainer(data, seed, run))
        assert again[-1].resume() == step
    assert train_in_lockstep(again) == [StopReason.FINISHED, StopReason.FINISHED]
    for one, other in zip(straight, again, strict=True):
        assert other.step == other.total_steps == 36
        assert_same(one, other)
        assert [row["step"] for row in other.run.metrics()] == ["12", "24", "36"]
        for row, resumed in zip(one.run.metrics(), other.run.metrics(), strict=True):
            for name in ("bound", "held_out_iw_bound", "eps_x", "accuracy"):
                assert float(resumed[name]) == pytest.approx(float(row[name]), rel=1e-3), name


def test_one_that_diverges_leaves_the_other_alone(data, straight):
    together = [trainer(data, seed, max_nonfinite_steps=6) for seed in SEEDS]
    together[0].model.decoder.loc.bias.assign(np.full(6, np.nan))
    first, second = train_in_lockstep(together)
    assert isinstance(first, TrainingDiverged)
    assert second is StopReason.FINISHED
    assert [one.step for one in together] == [8, 36]
    assert_same(straight[1], together[1])


def test_a_stop_ends_all_with_a_checkpoint(data, tmp_path):
    class Stop(Monitor):
        def on_progress(self, progress):
            if progress.step >= 8:
                for one in together:
                    one.request_stop()

    runs = [RunDirectory.create(tmp_path / str(seed), CONFIG.replace({"seed": seed}), {}) for seed in SEEDS]
    together = [trainer(data, seed, run, [Stop()], checkpoint_minutes=60.0) for seed, run in zip(SEEDS, runs, strict=True)]
    assert train_in_lockstep(together) == [StopReason.REQUESTED, StopReason.REQUESTED]
    assert [trainer(data, seed, run).resume() for seed, run in zip(SEEDS, runs, strict=True)] == [8, 8]


def test_a_stop_before_the_first_steps_makes_no_program(data, monkeypatch):
    together = [trainer(data, seed) for seed in SEEDS]

    def stopped_meanwhile():
        for one in together:
            one.request_stop()
        yield from Trainer.steps_wanted(together[1])

    together[1].steps_wanted = stopped_meanwhile
    monkeypatch.setattr("nvisa_tf.training.lockstep._runner", None)
    assert train_in_lockstep(together) == [StopReason.REQUESTED, StopReason.REQUESTED]
    assert [one.step for one in together] == [0, 0]


def test_one_that_fails_leaves_the_others_alone_and_is_told_of(data, tmp_path):
    runs = [RunDirectory.create(tmp_path / str(seed), CONFIG.replace({"seed": seed}), {}) for seed in SEEDS]
    together = [trainer(data, seed, run) for seed, run in zip(SEEDS, runs, strict=True)]
    for one in together:
        one.stage.most_steps = 0
    ended = []
    with runs[0].locked():
        first, second = train_in_lockstep(together, lambda one, result: ended.append((one, result)))
    assert "Another process is training" in str(first)
    assert second is StopReason.FINISHED
    assert ended == list(zip(together, (first, second), strict=True))


def test_what_cannot_go_together_is_refused(data):
    with pytest.raises(ValueError, match="one configuration"):
        train_in_lockstep([trainer(data, 3), trainer(data, 4, learning_rate=1e-3)])
    with pytest.raises(ValueError, match="one training data set"):
        train_in_lockstep([trainer(data, 3), trainer(Dataset("fewer", data.x[:200]), 4)])
    with pytest.raises(ValueError, match="pipeline to memory"):
        train_in_lockstep([trainer(data, seed, pipeline="stream") for seed in (3, 4)])
    assert train_in_lockstep([]) == []


@pytest.mark.parametrize("filters", [{"encoder_filters": (4,)}, {"decoder_filters": (4,)}], ids=str)
def test_convolutions_are_refused(filters):
    images = Dataset("images", np.random.default_rng(0).random((20, 4, 4), np.float32))
    alike = [trainer(images, seed, input_shape=(4, 4), **filters) for seed in SEEDS]
    with pytest.raises(ValueError, match="with encoder_filters or decoder_filters are trained one after another, not in one program"):
        train_in_lockstep(alike)
