"""Straight through, interrupted, or killed at any point: the same weights, bit for bit, in real processes."""

import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

EPOCHS = 10
FLAGS = [
    "--preset", "random_small", "--epochs", str(EPOCHS), "--eval-epochs", "5", "--eval-samples", "5", "--eval-examples", "50",
    "--steps-per-call", "5", "--checkpoint-minutes", "0", "--encoder-units", "1000,500",
    "--posterior-units", "64", "--decoder-units", "64", "--n-samples", "3",
]  # fmt: skip
MAIN = "from nvisa_tf.cli.main import main; main()"


def start(*words, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-P", "-c", MAIN, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs
    )


def finish(process, expected=0):
    out = process.communicate(timeout=300)[0]
    assert process.returncode == expected, out
    return out


def checkpoint_names(run):
    return {path.name for path in (run / "checkpoints").glob("step-*.index")}


def wait_for(condition, process, seconds=120, pause=0.0):
    """Poll as fast as it goes; a process that ends first has outrun the test."""
    limit = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit
        time.sleep(pause)


def kill(process):
    process.send_signal(signal.SIGKILL)
    return process.communicate()[0]


def half_written(folder):
    """Names of a checkpoint that is being written: TensorFlow's temporary folder, or data without their index."""
    names = os.listdir(folder)
    whole = {name.removesuffix(".index") for name in names if name.endswith(".index")}
    return [name for name in names if "_temp" in name or ".tempstate" in name or (".data-" in name and name.split(".")[0] not in whole)]


def final_state(run):
    from nvisa_tf import load_run

    model, _, _ = load_run(run)
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    return [w.numpy() for w in model.weights], [row[:2] + row[3:] for row in rows]  # all columns but the minutes


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    run = tmp_path_factory.mktemp("straight") / "run"
    finish(start("train", "--out", run, *FLAGS))
    return final_state(run)


def assert_same(run, straight):
    weights, rows = final_state(run)
    assert rows == straight[1]
    assert len(rows) == 1 + EPOCHS // 5
    for a, b in zip(weights, straight[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_killed_before_the_first_checkpoint_between_two_and_during_one(tmp_path, straight):
    run = tmp_path / "run"
    process = start("train", "--out", run, *FLAGS)
    wait_for(lambda: (run / "run.json").exists(), process)
    kill(process)
    assert not checkpoint_names(run)
    # Killed between checkpoints, once one is there.
    process = start("train", "--resume", run)
    wait_for(lambda: len(checkpoint_names(run)) >= 2, process, pause=0.002)
    assert "starts from the first step" in kill(process)
    first = checkpoint_names(run)
    assert first
    # Killed before the first step after a resume.
    process = start("train", "--resume", run)
    time.sleep(3)
    kill(process)
    # Killed while a checkpoint is being written: seen half-written afterwards, or tried again.
    for _ in range(5):
        process = start("train", "--resume", run)
        wait_for(lambda known=first: checkpoint_names(run) - known, process, pause=0.002)
        wait_for(lambda: half_written(run / "checkpoints"), process)
        kill(process)
        if half_written(run / "checkpoints"):
            break
        first = checkpoint_names(run)
    else:
        pytest.fail("no kill met a checkpoint's write")
    assert not (run / "model.keras").exists()
    out = finish(start("train", "--resume", run))
    assert "Going on with" in out
    assert_same(run, straight)


def test_a_second_process_is_refused_and_an_interrupted_one_goes_on(tmp_path, straight):
    run = tmp_path / "run"
    process = start("train", "--out", run, *FLAGS)
    wait_for(lambda: (run / "checkpoints").is_dir() and checkpoint_names(run), process, pause=0.002)
    process.send_signal(signal.SIGSTOP)
    out = finish(start("train", "--resume", run), expected=2)
    assert out.startswith(f"nvisa-tf: Another process is training {run}; ")
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGINT)
    out = finish(process, expected=130)
    assert "Traceback" not in out
    assert "stopping; a checkpoint is being saved" in out
    assert "a checkpoint is saved" in out
    assert f"Go on with: nvisa-tf train --resume {run}" in out
    finish(start("train", "--resume", run))
    assert_same(run, straight)


def test_streamed_killed_and_resumed_on_a_full_disk_it_keeps_the_last_good_checkpoint(tmp_path, straight):
    run = tmp_path / "run"
    process = start("train", "--out", run, "--pipeline", "stream", *FLAGS)
    wait_for(lambda: (run / "checkpoints").is_dir() and len(checkpoint_names(run)) >= 2, process, pause=0.002)
    kill(process)

    def no_large_files():  # what a full disk does, for this process alone: writes past 2 MB fail
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    before = checkpoint_names(run)
    out = finish(start("train", "--resume", run, preexec_fn=no_large_files), expected=1)
    assert "cannot be written" in out
    assert "Traceback" not in out
    assert before <= checkpoint_names(run)
    finish(start("train", "--resume", run))
    assert_same(run, straight)
