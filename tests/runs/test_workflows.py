"""What resuming and loading refuse, on runs of AE+GMM, whose stages are quick."""

import csv
import json
import shutil

import numpy as np
import pytest

from nvisa_tf import Dataset, Monitor, RunConfig, RunDirectory, TrainingDiverged, load_run
from nvisa_tf.cli.train import print_report
from nvisa_tf.data import Splits
from nvisa_tf.estimator import NVISAClustering
from nvisa_tf.evaluation.assignments import Reference
from nvisa_tf.runs import restarts, workflows
from nvisa_tf.runs.workflows import build_model, finish_run, resume_run, start_run

CONFIG = RunConfig.of(
    "ae_gmm", {"n_clusters": 3, "latent_dim": 2, "encoder_units": (8,), "decoder_units": (8,), "epochs": 4, "batch_size": 50}
)


class StopAt(Monitor):
    def __init__(self, epoch):
        self.epoch, self.trainer = epoch, None

    def on_progress(self, progress):
        if progress.epoch >= self.epoch:
            self.trainer.request_stop()


@pytest.fixture
def splits(blobs):
    data = Dataset("blobs", *blobs)
    return Splits(data, data, "blobs")


@pytest.fixture
def stopped(splits, tmp_path):
    """A run that was stopped in its autoencoder, at epoch 3 of 4."""
    monitor = StopAt(3)
    config = CONFIG.replace({"steps_per_call": 6})
    monitor.trainer = start_run(config, splits, str(tmp_path / "run"), monitors=[monitor])
    monitor.trainer.train()
    return RunDirectory.open(tmp_path / "run")


def test_a_run_without_its_last_stage_has_no_model(stopped):
    with pytest.raises(ValueError, match="stopped before its last stage, so it has no model yet; go on with it by --resume"):
        load_run(stopped.path)


def test_epochs_cannot_go_below_what_is_done(stopped, splits):
    with pytest.raises(ValueError, match="has trained 3 epochs, and epochs is 2; give at least as many"):
        resume_run(stopped, stopped.config().replace({"epochs": 2}), splits)
    assert stopped.config().train.epochs == 4


def test_a_run_that_lost_its_checkpoints_does_not_begin_anew(stopped, splits):
    rows = stopped.stages()
    shutil.rmtree(stopped.checkpoints / "autoencoder")
    with pytest.raises(ValueError, match="no checkpoint to go on from"):
        resume_run(stopped, stopped.config(), splits)
    assert stopped.stages() == rows != []


def test_a_stage_that_learns_nothing_ends_training(splits):
    huge = Dataset("huge", (splits.train.x * 1e30).astype(np.float32))
    with pytest.raises(TrainingDiverged, match=r"4 of all 4 steps was not finite, at epoch .* of stage autoencoder.*; try another scaling"):
        NVISAClustering(3, method="ae_gmm", options={"epochs": 2, "encoder_units": (8,), "scaling": "none"}).fit(huge.x)


def test_the_estimator_does_not_answer_before_there_is_a_model(splits):
    model = NVISAClustering(3, method="ae_gmm", options={"epochs": 10_000, "encoder_units": (8,), "max_minutes": 1e-9})
    with pytest.raises(ValueError, match="max_minutes ended training in its stage autoencoder"):
        model.fit(splits.train.x)


def test_nothing_is_chosen_by_what_no_restart_has(tmp_path):
    none = [restarts.Restart(seed, tmp_path, {"held_out_iw_bound": float("nan"), "silhouette": 0.1 * seed}, None) for seed in (0, 1)]
    with pytest.raises(ValueError, match="No restart has a held_out_iw_bound"):
        restarts.choose(none, "held_out_iw_bound")
    assert restarts.default_criterion(none) == "silhouette"
    assert restarts.choose(none, "silhouette").seed == 1


def test_a_stage_with_other_metrics_gets_columns_of_its_own(stopped):
    before = stopped.stages()
    stopped.append_stage({"stage": "next", "epoch": 1.0, "step": 5, "minutes": 0.5, "distance": 2.5})
    rows = stopped.stages()
    assert [row["stage"] for row in rows] == [*(row["stage"] for row in before), "next"]
    assert rows[-1]["distance"] == "2.5"
    assert rows[-1]["loss"] == ""
    assert rows[0]["loss"] == before[0]["loss"]
    assert rows[0]["distance"] == ""


def test_a_finished_run_answers_for_all_its_examples(splits, tmp_path, blobs):
    data = splits.train
    parts = Splits(data.take(slice(0, 250)), data.take(slice(250, 300)), "blobs")
    trainer = start_run(CONFIG, parts, str(tmp_path / "run"))
    trainer.train()
    report = finish_run(trainer, CONFIG, parts)
    model, _, run = load_run(tmp_path / "run")
    with open(run.clusters_file, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["cluster"]) for row in rows] == model.predict_clusters(blobs[0]).tolist()
    assert [row["split"] for row in rows] == ["train"] * 250 + ["test"] * 50
    assert [int(row["label"]) for row in rows] == blobs[1].tolist()
    assert Reference.load(run.reference_file).counts.sum() == 250
    assert (report["held_out"], report["warnings"]) == (True, run.report()["warnings"])
    assert run.page_file.read_text().startswith("<!doctype html>")
    run.remove_answers()
    assert not {"clusters.csv", "report.html", "reference.npz", "report.json", "model.keras"} & {path.name for path in run.path.iterdir()}


def test_resuming_takes_the_answers_away_until_the_new_ones(stopped, splits):
    answers = [stopped.clusters_file, stopped.page_file, stopped.reference_file, stopped.report_file]
    for file in answers:
        file.write_text("of before")
    resume_run(stopped, stopped.config(), splits)
    assert not any(file.exists() for file in answers)


def test_a_bound_that_is_no_number_is_no_score(splits, monkeypatch, capsys):
    model = build_model(RunConfig().replace({"n_clusters": 3, "encoder_units": (8,), "decoder_units": (8,)}), splits)
    monkeypatch.setattr(workflows, "evaluate_bound", lambda *_: float("nan"))
    report = workflows.score(model, splits, RunConfig(), 5)
    assert "held_out_iw_bound" not in report
    json.dumps(report, allow_nan=False)
    print_report(report)
    out = capsys.readouterr().out
    assert "nan" not in out.lower()
    assert "There is no bound: the density of an example is not finite" in out


@pytest.mark.parametrize(("held_out", "expected"), [(True, "Held-out bound -3.000 nats"), (False, "Bound of the training data")])
def test_a_bound_is_called_held_out_only_where_something_is(splits, monkeypatch, capsys, held_out, expected):
    model = build_model(RunConfig().replace({"n_clusters": 3, "encoder_units": (8,), "decoder_units": (8,)}), splits)
    monkeypatch.setattr(workflows, "evaluate_bound", lambda *_: -3.0)
    data = splits.train
    parts = Splits(data.take(slice(0, 250)), data.take(slice(250, 300)), "blobs") if held_out else splits
    print_report(workflows.score(model, parts, RunConfig(), 5))
    out = capsys.readouterr().out
    assert expected in out
    assert ("eld-out" in out) == held_out
