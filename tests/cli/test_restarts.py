import contextlib
import csv
import io
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from nvisa_tf import clustering_accuracy, evaluate_bound, load_run
from nvisa_tf.cli import main
from nvisa_tf.cli.process import stop_on_signals
from nvisa_tf.evaluation.criteria import mean_pairwise_nmi, silhouette

SMALL = "--preset random_small --epochs 8 --eps-halving-epochs 2 --eval-epochs 2 --n-clusters 3 --latent-dim 2"
SMALL += " --encoder-units 16 --posterior-units 16 --decoder-units 16"


@pytest.fixture(scope="module")
def files(tmp_path_factory, make_blobs):
    """Three overlapping blobs, with and without labels."""
    folder = tmp_path_factory.mktemp("restarts")
    x, y = make_blobs(60, spread=2.0, noise=1.0)
    np.savez(folder / "labelled.npz", x=x, y=y)
    np.save(folder / "bare.npy", x)
    return folder


@pytest.fixture(scope="module")
def three(files, fork_runs, tmp_path_factory):
    """Three restarts that ran: the words to run them again, but for --out, their folder, and what was printed."""
    words = ["train", "--dataset", files / "labelled.npz", "--test-fraction", "0.3", *SMALL.split()]
    words += ["--seed", "5", "--restarts", "3", "--jobs", "2"]
    folder = tmp_path_factory.mktemp("three") / "out"
    with fork_runs(), contextlib.redirect_stdout(io.StringIO()) as said:
        assert main._dispatch(main._parse(["nvisa-tf", *map(str, words), "--out", str(folder)])) == 0
    return words, folder, said.getvalue()


def test_restarts_are_compared_and_one_is_chosen_without_labels(cli, files, three, tmp_path):
    words, folder, out = three
    shutil.copytree(folder, tmp_path / "out")
    words = [*words, "--out", tmp_path / "out"]
    rows = list(csv.DictReader((tmp_path / "out" / "restarts.csv").open()))
    about = json.loads((tmp_path / "out" / "restarts.json").read_text())
    # Against the runs themselves.
    loaded = [load_run(tmp_path / "out" / f"seed{seed}") for seed in (5, 6, 7)]
    data = np.load(files / "labelled.npz")
    assert [row["seed"] for row in rows] == ["5", "6", "7"]
    from nvisa_tf.data import load_splits

    test = load_splits(loaded[0][1].data).test
    assert len(test) < len(data["x"])
    clusters = [model.predict_clusters(test.x) for model, _, _ in loaded]
    assert [float(row["mean_pairwise_nmi"]) for row in rows] == pytest.approx(mean_pairwise_nmi(clusters), rel=1e-5)
    for row, (model, config, run), found in zip(rows, loaded, clusters, strict=True):
        assert float(row["accuracy"]) == pytest.approx(clustering_accuracy(test.y, found), rel=1e-5)
        assert float(row["silhouette"]) == pytest.approx(silhouette(model.embed(test.x), found), rel=1e-5)
        assert float(row["held_out_iw_bound"]) == pytest.approx(
            evaluate_bound(model, test.x, config.model.eval_samples, config.train.seed), rel=1e-4
        )
        curve = run.metrics()  # eps is 1 at epoch 0 and halves every 2; the row of epoch 2 is the first at 0.5
        early = next(r for r in curve if float(r["eps_x"]) <= 0.5)
        assert float(row["early_iw_bound"]) == pytest.approx(float(early["held_out_iw_bound"]), rel=1e-5)
        assert early is not curve[-1]
    best = max(rows, key=lambda row: float(row[about["criterion"]]))
    assert [row["seed"] for row in rows if row["chosen"] == "1"] == [best["seed"]] == [str(about["seed"])]
    assert f"nvisa-tf predict {folder / best['run']}" in out
    assert "of the 3 restarts, the best has" in out
    # Eight epochs from random weights agree less than k-means does on three blobs.
    assert 0.5 < about["kmeans_mean_pairwise_nmi"] <= 1
    assert about["mean_pairwise_nmi"] == pytest.approx(np.mean(mean_pairwise_nmi(clusters)), rel=1e-5)
    assert any("Warning: " + warning in out for warning in about["warnings"] if "k-means" in warning)

    # The same command runs nothing again, and another criterion chooses by itself.
    model = tmp_path / "out" / "seed6" / "model.keras"
    before = model.stat().st_mtime_ns
    code, out, _ = cli(*words, "--choose-by", "cluster_size_entropy")
    assert (code, model.stat().st_mtime_ns) == (0, before)
    assert "started" not in out
    about = json.loads((tmp_path / "out" / "restarts.json").read_text())
    assert about["criterion"] == "cluster_size_entropy"
    assert str(about["seed"]) == max(rows, key=lambda row: (float(row["cluster_size_entropy"]), float(row["held_out_iw_bound"])))["seed"]
    for option in (["--latent-dim", "4"], ["--test-fraction", "0.4"]):
        code, _, err = cli(*words, *option)
        assert code == 2
        assert "other options" in err


def test_batched_restarts_are_runs_like_others_and_go_on_after_a_stop(cli, files, tmp_path, monkeypatch):
    words = ["train", "--dataset", files / "labelled.npz", *SMALL.split(), "--restarts", "2", "--batched", "--out", tmp_path / "out"]
    asked = []

    def interrupt_at_once(trainers):
        came = stop_on_signals(trainers)
        asked.extend(trainers)
        os.kill(os.getpid(), signal.SIGINT)
        return came

    with monkeypatch.context() as patch:
        patch.setattr("nvisa_tf.cli.restarts.stop_on_signals", interrupt_at_once)
        code, out, err = cli(*words)
    assert (code, "the same command goes on" in out, "interrupted" in err) == (130, True, True)
    assert [trainer.step for trainer in asked] == [0, 0]
    code, out, err = cli(*words)
    assert code == 0, err
    assert "seed1: epoch 8: bound" in err
    rows = list(csv.DictReader((tmp_path / "out" / "restarts.csv").open()))
    assert [row["seed"] for row in rows] == ["0", "1"]
    for seed, row in enumerate(rows):
        model, config, run = load_run(tmp_path / "out" / f"seed{seed}")
        assert (config.train.seed, int(model.step), run.report()["epoch"]) == (seed, 8, 8)
        assert float(row["accuracy"]) == pytest.approx(run.report()["accuracy"], rel=1e-5)
        assert [line["step"] for line in run.metrics()] == ["2", "4", "6", "8"]
    # They are done, for the way with processes too.
    code, out, _ = cli(*words[:-3], "--out", tmp_path / "out")
    assert code == 0
    assert "started" not in out


def test_without_labels_there_is_a_choice_and_no_accuracy(cli, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("train", "--dataset", files / "bare.npy", *SMALL.split(), "--lr-floor", "0.05", "--restarts", "2", "--batched")
    assert code == 0, err
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("bare-restarts-")
    assert "accuracy" not in json.loads((folder / "restarts.json").read_text())
    assert "Chosen without labels" in out
    assert out.count("The learning rate is 0.05, the least that lr_floor allows") == 1  # as train says it
    assert "ccuracy is" not in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--restarts", "1"], "must be at least 2"),
        (["--restarts", "2", "--jobs", "0"], "--jobs is 0"),
        (["--restarts", "2", "--choose-by", "luck"], "invalid choice"),
        (["--jobs", "2"], "--jobs goes with --restarts"),
        (["--batched"], "--batched goes with --restarts"),
        (["--restarts", "2", "--batched", "--jobs", "2"], "choose one of them"),
        (["--restarts", "2", "--batched", "--pipeline", "stream"], "set pipeline to memory"),
        (["--restarts", "2", "--batched", "--decoder-filters", "4"], "one after another, not in one program; leave --batched out."),
        (["--choose-by", "held_out_iw_bound"], "--choose-by goes with --restarts"),
        (["--restarts", "2", "--max-minutes", "5"], "choose fewer epochs"),
        (["--restarts", "2", "--n-clusters", "5000"], "fewer clusters"),
        (["--restarts", "2", "--likelihood", "bernoulli", "--scaling", "none"], "use --scaling minmax"),
        (["--restarts", "2", "--out", "file/deeper"], "cannot be written to"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_left(cli, tmp_path, words, expected, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    code, _, err = cli("train", *words)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err
    assert os.listdir() == ["file"]


def test_a_gpu_that_cannot_be_left_to_the_runs_is_said(cli, tmp_path, monkeypatch):
    def taken(devices, kind):
        raise RuntimeError("Visible devices cannot be modified after being initialized")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tensorflow.config.set_visible_devices", taken)
    code, _, err = cli("train", "--restarts", "2")
    assert code == 2
    assert "too large for restarts in one program; add --no-batched." in err
    assert not os.listdir()


def test_a_folder_of_something_else_is_refused(cli, files, bars_run, tmp_path):
    (tmp_path / "seed1").mkdir()
    (tmp_path / "seed1" / "thesis.tex").touch()
    for folder, expected in ((tmp_path, "seed1 is not empty"), (bars_run, "is a run; choose another --out")):
        code, _, err = cli("train", "--dataset", files / "bare.npy", *SMALL.split(), "--restarts", "2", "--out", folder)
        assert code == 2
        assert expected in err
    assert os.listdir(tmp_path) == ["seed1"]


def test_what_diverged_or_failed_is_left_out_and_said(cli, three, forked_runs, tmp_path):
    words, folder, _ = three
    shutil.copytree(folder, tmp_path / "out")
    words = [*words, "--out", tmp_path / "out"]
    report = tmp_path / "out" / "seed6" / "report.json"
    report.write_text(json.dumps({"step": 5, "diverged_at_epoch": 5.0, "minutes": 0.1}))
    code, out, _ = cli(*words)
    assert code == 0
    assert "Diverged and left out: seed 6." in out
    about = json.loads((tmp_path / "out" / "restarts.json").read_text())
    assert (about["restarts"], about["criterion"]) == (2, "held_out_iw_bound")  # two agree with each other alike
    code, _, err = cli("predict", tmp_path / "out", "--input", "digits", "--output", tmp_path / "o.csv")
    assert code == 2
    assert f"is a folder of restarts; give the run in it that was chosen, {tmp_path / 'out' / about['run']}." in err
    # A run that cannot go on: its checkpoints are gone.
    (tmp_path / "out" / "seed5" / "report.json").unlink()
    for path in (tmp_path / "out" / "seed5" / "checkpoints").iterdir():
        path.unlink()
    code, out, _ = cli(*words)
    assert code == 1
    assert "Diverged and left out: seed 6." in out
    assert "1 restart(s) ended before their end and are left out" in out
    assert "Chosen without labels" in out
    rows = list(csv.DictReader((tmp_path / "out" / "restarts.csv").open()))
    assert [row["seed"] for row in rows] == ["7"]
    assert json.loads((tmp_path / "out" / "restarts.json").read_text())["restarts"] == 1
    for seed in (5, 7):
        (tmp_path / "out" / f"seed{seed}" / "report.json").write_text(report.read_text())
    code, _, err = cli(*words)
    assert code == 1
    assert "Every restart diverged" in err


def test_a_run_is_not_resumed_as_restarts(cli, bars_run):
    code, _, err = cli("train", "--resume", bars_run, "--restarts", "2")
    assert code == 2
    assert "--restarts cannot change with --resume" in err
