import argparse
import os
import subprocess
import sys
import time

import pytest

from nvisa_tf.cli.reproduce import seeds
from nvisa_tf.io.run_directory import RunDirectory


def test_sigterm_ends_the_runs_and_the_next_call_goes_on(tmp_path, blobs_file):
    words = ["reproduce", "ablation", "--dataset", blobs_file, "--preset", "random_small", "--epochs", "3000", "--rows", "vimco_annealed"]
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


def test_figures_of_finished_runs(forked_runs, tmp_path, blobs_file):
    from nvisa_tf.cli import reproduce
    from nvisa_tf.cli.main import _parse

    words = ["reproduce", "ablation", "--dataset", blobs_file, "--preset", "random_small", "--epochs", "1", "--rows", "vimco"]
    flags = _parse(["nvisa-tf", *words, "--out", str(tmp_path), "--points", "20"])
    assert reproduce.run(flags) == 0
    assert {"ablation.csv", "ablation.md", "losses.png", "samples.png", "latent.png", "runs"} == set(os.listdir(tmp_path))
    run = str(tmp_path / "runs" / "vimco-seed0")
    assert reproduce.run(_parse(["nvisa-tf", "reproduce", "figures", run, "--out", str(tmp_path / "again"), "--points", "20"])) == 0
    assert {"losses.png", "samples.png", "latent.png"} == set(os.listdir(tmp_path / "again"))


@pytest.mark.parametrize(("text", "expected"), [("0-3", (0, 1, 2, 3)), ("4", (4,)), ("0,2-3,2", (0, 2, 3))])
def test_seeds(text, expected):
    assert seeds(text) == expected


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-1", "0;1"])
def test_bad_seeds(text):
    with pytest.raises(argparse.ArgumentTypeError, match="not a list of seeds"):
        seeds(text)
