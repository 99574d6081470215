import csv
import dataclasses
import io
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from nvisa_tf.reproduce.ablation import ABLATION, run_config
from nvisa_tf.reproduce.runs import Job, Outcome, outcome, run_all
from nvisa_tf.reproduce.tables import as_csv, as_markdown
from nvisa_tf.run_directory import RunDirectory

SMALL = {"encoder_units": (16,), "posterior_units": 16, "decoder_units": (16,), "n_clusters": 3, "latent_dim": 2, "eval_samples": 5}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 40)
    path = tmp_path_factory.mktemp("data") / "blobs.npz"
    np.savez(path, x=(rng.normal(0, 4, (3, 6))[y] + rng.normal(0, 0.3, (120, 6))).astype(np.float32), y=y)
    return str(path)


def job(folder, name="vimco_annealed", file="digits", **options):
    config = run_config(ABLATION[name], "quick", 0, 2, {"dataset": file, **SMALL})
    return Job(name, 0, config.replace(options), folder / "runs" / f"{name}-seed0")


def test_runs_are_run_once_and_resumed_and_divergence_is_kept(tmp_path, file):
    broken = str(tmp_path / "broken.npz")
    x = np.load(file)["x"]
    np.savez(broken, x=np.where(np.arange(6) == 2, 1e30, x).astype(np.float32))
    jobs = [job(tmp_path, file=file), job(tmp_path, "nvil_annealed", broken, scaling="none", max_skipped=1)]
    told = []
    assert run_all(jobs, 2, told.append) == 0
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
    assert run_all(jobs, 1, told.append) == 0
    assert (told, model.stat().st_mtime_ns) == ([], before)
    # One that was stopped goes on.
    (jobs[0].folder / "report.json").unlink()
    assert outcome(jobs[0]).status == "started"
    assert run_all(jobs, 1, told.append) == 0
    assert outcome(jobs[0]) == found[0]
    assert "Going on with" in (tmp_path / "runs" / "vimco_annealed-seed0.log").read_text()


def test_a_run_that_fails_is_counted_and_said(tmp_path):
    told = []
    assert run_all([job(tmp_path, file=str(tmp_path / "missing.npz"))], 1, told.append) == 1
    assert "exit code 2" in told[-1]


def test_a_folder_with_another_run_is_refused(tmp_path, file):
    one = job(tmp_path, file=file)
    RunDirectory.create(one.folder, one.config, {})
    assert outcome(one).status == "started"
    with pytest.raises(ValueError, match="other options"):
        outcome(dataclasses.replace(one, config=one.config.replace({"latent_dim": 3})))
    with pytest.raises(ValueError, match="other options"):
        outcome(dataclasses.replace(one, config=one.config.replace({"dataset": "mnist"})))


def test_a_folder_left_by_a_kill_before_run_json_does_not_block_its_row(tmp_path, file):
    one = job(tmp_path, file=file)
    for name in ("checkpoints", "tensorboard", "plots"):
        (one.folder / name).mkdir(parents=True)
    (one.folder / "config.toml").write_text("")
    assert run_all([one], 1, lambda text: None) == 0
    assert outcome(one).status == "done"


def test_sigterm_ends_the_runs_and_the_next_call_goes_on(tmp_path, file):
    words = ["reproduce", "ablation", "--dataset", file, "--preset", "quick", "--epochs", "3000", "--rows", "vimco_annealed"]
    process = subprocess.Popen([sys.executable, "-P", "-m", "nvisa_tf", *words, "--out", str(tmp_path)], stderr=subprocess.PIPE)
    checkpoints = tmp_path / "runs" / "vimco_annealed-seed0" / "checkpoints"
    limit = time.monotonic() + 120
    while not list(checkpoints.glob("*.index")):
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.1)
    process.terminate()
    assert b"Traceback" not in process.communicate(timeout=120)[1]
    assert process.returncode == 130
    with RunDirectory.open(checkpoints.parent).locked():  # nobody trains it any more
        assert "a checkpoint is saved" in checkpoints.parent.with_suffix(".log").read_text()


@pytest.fixture
def results(tmp_path):
    def at(seed, *values):
        return dataclasses.replace(job(tmp_path), seed=seed), Outcome(*values)

    return [
        at(0, "done", 2.0, 0.7, 0.6, 0.5, -10.0, 3.0),
        at(1, "done", 2.0, 0.8, 0.6, 0.5, -12.0, 5.0),
        at(2, "diverged", 1.25, None, None, None, None, 1.0),
        at(3, "missing"),
    ]


def test_csv(results):
    rows = list(csv.DictReader(io.StringIO(as_csv(results))))
    assert [row["status"] for row in rows] == ["done", "done", "diverged", "missing"]
    assert (rows[0]["accuracy"], rows[0]["bound"], rows[2]["accuracy"], rows[2]["epoch"]) == ("0.7", "-10", "", "1.25")


def test_markdown_has_mean_sd_best_the_bounds_choice_and_what_diverged(results):
    lines = as_markdown({"vimco_annealed": ABLATION["vimco_annealed"], "vimco": ABLATION["vimco"]}, results).splitlines()
    expected = "| VIMCO | NVISA*, 15 samples | 98.40 | 75.00 +- 7.07; diverged at epoch 1.2 | 80.00 | 70.00 | 2 of 4, 1 not run | 4 |"
    assert lines[2] == expected
    assert lines[3] == "| VIMCO | NVISA | N/A | - | - | - | 0 | - |"
    assert r"Bernoulli p(x\|z) |" in as_markdown({"vimco_bernoulli": ABLATION["vimco_bernoulli"]}, results)


def test_figures_of_finished_runs(tmp_path, file):
    from nvisa_tf.cli import reproduce
    from nvisa_tf.cli.main import _parse

    words = ["reproduce", "ablation", "--dataset", file, "--preset", "quick", "--epochs", "1", "--rows", "vimco,rws_annealed"]
    flags = _parse(["nvisa-tf", *words, "--out", str(tmp_path), "--points", "20", "--jobs", "2"])
    assert reproduce.run(flags) == 0
    assert {"ablation.csv", "ablation.md", "losses.png", "samples.png", "latent.png", "runs"} == set(os.listdir(tmp_path))
    runs = [str(tmp_path / "runs" / name) for name in ("vimco-seed0", "rws_annealed-seed0")]
    assert reproduce.run(_parse(["nvisa-tf", "reproduce", "figures", *runs, "--out", str(tmp_path / "again"), "--points", "20"])) == 0
    assert {"losses.png", "samples.png", "latent.png"} == set(os.listdir(tmp_path / "again"))


@pytest.mark.parametrize(("text", "expected"), [("0-3", (0, 1, 2, 3)), ("4", (4,)), ("0,2-3,2", (0, 2, 3))])
def test_seeds(text, expected):
    from nvisa_tf.cli.reproduce import seeds

    assert seeds(text) == expected


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-1", "0;1"])
def test_bad_seeds(text):
    import argparse

    from nvisa_tf.cli.reproduce import seeds

    with pytest.raises(argparse.ArgumentTypeError, match="not a list of seeds"):
        seeds(text)
