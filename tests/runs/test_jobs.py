import dataclasses

import numpy as np
import pytest

from nvisa_tf.cli.process import train_command
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.reproduce.ablation import ABLATION, run_config
from nvisa_tf.runs.jobs import Job, outcome, run_all

SMALL = {"encoder_units": (16,), "posterior_units": 16, "decoder_units": (16,), "n_clusters": 3, "latent_dim": 2, "eval_samples": 5}


def job(folder, name="vimco_annealed", file="digits", **options):
    config = run_config(ABLATION[name], "random_small", 0, 2, {"dataset": file, **SMALL})
    return Job(name, 0, config.replace(options), folder / "runs" / f"{name}-seed0")


def test_runs_are_run_once_and_resumed_and_divergence_is_kept(forked_runs, tmp_path, blobs_file):
    broken = str(tmp_path / "broken.npz")
    x = np.load(blobs_file)["x"]
    np.savez(broken, x=np.where(np.arange(6) == 2, 1e30, x).astype(np.float32))
    jobs = [job(tmp_path, file=blobs_file), job(tmp_path, "nvil_annealed", broken, scaling="none", max_nonfinite_steps=1)]
    told = []
    assert run_all(jobs, 2, told.append, train_command) == 0
    found = [outcome(j) for j in jobs]
    assert [o.status for o in found] == ["done", "diverged"]
    assert found[0].epoch == 2
    assert 0 < found[0].accuracy <= 1
    assert found[1].epoch <= 2
    assert any("diverged at epoch" in text for text in told)
    # Done ones are left alone.
    model = jobs[0].folder / "model.keras"
    before = model.stat().st_mtime_ns
    told.clear()
    assert run_all(jobs, 1, told.append, train_command) == 0
    assert (told, model.stat().st_mtime_ns) == ([], before)
    # One that was stopped goes on.
    (jobs[0].folder / "report.json").unlink()
    assert outcome(jobs[0]).status == "started"
    assert run_all(jobs, 1, told.append, train_command) == 0
    assert outcome(jobs[0]) == found[0]
    assert "Going on with" in (tmp_path / "runs" / "vimco_annealed-seed0.log").read_text()


def test_a_run_that_fails_is_counted_and_said(tmp_path):
    told = []
    assert run_all([job(tmp_path, file=str(tmp_path / "missing.npz"))], 1, told.append, train_command) == 1
    assert "exit code 2" in told[-1]


def test_a_folder_with_another_run_is_refused(tmp_path, blobs_file):
    one = job(tmp_path, file=blobs_file)
    RunDirectory.create(one.folder, one.config, {})
    assert outcome(one).status == "started"
    with pytest.raises(ValueError, match="other options"):
        outcome(dataclasses.replace(one, config=one.config.replace({"latent_dim": 3})))
    with pytest.raises(ValueError, match="other options"):
        outcome(dataclasses.replace(one, config=one.config.replace({"dataset": "mnist"})))
    for option in ({"test_fraction": 0.2}, {"split": "all"}, {"scaling": "minmax"}):
        with pytest.raises(ValueError, match="other options"):
            outcome(dataclasses.replace(one, config=one.config.replace(option)))
    same = one.config.replace({"checkpoint_minutes": 9.0, "data_dir": "elsewhere"})
    assert outcome(dataclasses.replace(one, config=same)).status == "started"
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="never overwrites"):
        outcome(dataclasses.replace(one, folder=tmp_path / "notes"))


def test_a_folder_left_by_a_kill_before_run_json_does_not_block_its_row(tmp_path, blobs_file):
    one = job(tmp_path, file=blobs_file)
    for name in ("checkpoints", "tensorboard", "plots"):
        (one.folder / name).mkdir(parents=True)
    (one.folder / "config.toml").write_text("")
    assert outcome(one).status == "missing"
    assert RunDirectory.create(one.folder, one.config, {}).config() == one.config


def test_a_start_alone_is_not_done_before_it_is(tmp_path, blobs_file):
    one = job(tmp_path, file=blobs_file, init="ae_kmeans", epochs=0)
    RunDirectory.create(one.folder, one.config, {})
    assert outcome(one).status == "started"


def test_a_run_that_another_started_from_is_the_same_by_any_path(tmp_path, blobs_file, monkeypatch):
    (tmp_path / "source").mkdir()
    monkeypatch.chdir(tmp_path)
    one = job(tmp_path, file=blobs_file, init_from="source")
    RunDirectory.create(one.folder, one.config.replace({"init_from": str(tmp_path / "source")}), {})
    assert outcome(one).status == "started"
    with pytest.raises(ValueError, match="other options"):
        outcome(dataclasses.replace(one, config=one.config.replace({"init_from": "elsewhere"})))
