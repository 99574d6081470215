"""Straight through, interrupted, or killed at any point: the same weights, bit for bit, in real processes."""

import os
import signal
import time

import numpy as np
import pytest

EPOCHS, EVAL_EPOCHS = 6, 3
FLAGS = [
    "--preset", "random_small", "--epochs", str(EPOCHS), "--eval-epochs", str(EVAL_EPOCHS), "--eval-samples", "5", "--eval-examples", "50",
    "--steps-per-call", "5", "--checkpoint-minutes", "0", "--encoder-units", "1000,500",
    "--posterior-units", "64", "--decoder-units", "64", "--n-samples", "3",
]  # fmt: skip
# What a full disk does, for one process alone: writes past 2 MB fail.
NO_LARGE_FILES = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
"""


class Started:
    """A command, and the file with what it says."""

    def __init__(self, command, output):
        self.command, self.output = command, output

    def said(self):
        return self.output.read_text() if self.output.exists() else ""


@pytest.fixture(scope="module")
def start(start_command, tmp_path_factory):
    def started(*words, first=""):
        output = tmp_path_factory.mktemp("output") / "output.txt"
        return Started(start_command(words, output, first=first), output)

    return started


def finish(started, expected=0):
    code = started.command.wait(timeout=300)
    assert code == expected, started.said()
    return started.said()


def checkpoint_names(run):
    return {path.name for path in (run / "checkpoints").glob("step-*.index")}


def wait_for(condition, started, seconds=120, pause=0.0):
    """Poll as fast as it goes; a process that ends first has outrun the test."""
    limit = time.monotonic() + seconds
    while not condition():
        assert started.command.poll() is None, started.said()
        assert time.monotonic() < limit
        time.sleep(pause)


def kill(started):
    started.command.send_signal(signal.SIGKILL)
    return finish(started, expected=-signal.SIGKILL)


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
def straight(start, tmp_path_factory):
    run = tmp_path_factory.mktemp("straight") / "run"
    finish(start("train", "--out", run, *FLAGS))
    return final_state(run)


def assert_same(run, straight):
    weights, rows = final_state(run)
    assert rows == straight[1]
    assert len(rows) == 1 + EPOCHS // EVAL_EPOCHS
    for a, b in zip(weights, straight[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_killed_before_the_first_checkpoint_between_two_and_during_one(start, tmp_path, straight):
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
    time.sleep(2)
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


def test_a_second_process_is_refused_and_an_interrupted_one_goes_on(start, tmp_path, straight):
    run = tmp_path / "run"
    process = start("train", "--out", run, *FLAGS)
    wait_for(lambda: (run / "checkpoints").is_dir() and checkpoint_names(run), process, pause=0.002)
    process.command.send_signal(signal.SIGSTOP)
    out = finish(start("train", "--resume", run), expected=2)
    assert out.startswith(f"nvisa-tf: Another process is training {run}; ")
    process.command.send_signal(signal.SIGCONT)
    process.command.send_signal(signal.SIGINT)
    out = finish(process, expected=130)
    assert "Traceback" not in out
    assert "stopping; a checkpoint is saved once the work in hand is done" in out
    assert "a checkpoint is saved" in out
    assert f"Go on with: nvisa-tf train --resume {run}" in out
    finish(start("train", "--resume", run))
    assert_same(run, straight)


def test_streamed_killed_and_resumed_on_a_full_disk_it_keeps_the_last_good_checkpoint(start, tmp_path, straight):
    run = tmp_path / "run"
    process = start("train", "--out", run, "--pipeline", "stream", *FLAGS)
    wait_for(lambda: (run / "checkpoints").is_dir() and len(checkpoint_names(run)) >= 2, process, pause=0.002)
    kill(process)
    before = checkpoint_names(run)
    out = finish(start("train", "--resume", run, first=NO_LARGE_FILES), expected=1)
    assert "cannot be written" in out
    assert "Traceback" not in out
    assert before <= checkpoint_names(run)
    finish(start("train", "--resume", run))
    assert_same(run, straight)
