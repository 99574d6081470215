"""A method other than nvisa, and stages before the last, through the command line."""

import csv
import json
import re
import time

import numpy as np
import pytest

from nvisa_tf import load_run
from nvisa_tf.cli import main

WORDS = ["--n-clusters", "3", "--latent-dim", "2", "--encoder-units", "16", "--decoder-units", "16", "--batch-size", "32"]


@pytest.fixture(scope="module")
def images(tmp_path_factory, bar_images):
    path = tmp_path_factory.mktemp("images") / "bars.npz"
    np.savez(path, x=bar_images[0], y=bar_images[1])
    return path


@pytest.fixture(scope="module")
def ae_gmm_run(images):
    words = ["train", "--method", "ae_gmm", "--dataset", images, "--out", images.parent / "run", "--epochs", 10, "--learning-rate", 1e-2]
    assert main._dispatch(main._parse(["nvisa-tf", *map(str, [*words, *WORDS])])) == 0
    return images.parent / "run"


def test_a_run_of_another_method_is_told_and_answers(cli, ae_gmm_run, images, tmp_path):
    report = json.loads((ae_gmm_run / "report.json").read_text())
    assert (report["method"], report["epoch"]) == ("ae_gmm", 10)
    assert report["accuracy"] > 0.9
    assert "held_out_iw_bound" not in report
    stages = list(csv.DictReader((ae_gmm_run / "stages.csv").open()))
    assert [(row["stage"], float(row["epoch"])) for row in stages] == [("autoencoder", epoch) for epoch in (2, 4, 6, 8, 10)]
    code, out, _ = cli("info", ae_gmm_run)
    assert code == 0
    for words in ("ae_gmm: 3 clusters, z of 2, input [6, 6]", "10 epochs", "finished after", "accuracy"):
        assert words in out
    code, out, _ = cli("evaluate", ae_gmm_run, "--output", tmp_path / "e.json")
    assert code == 0
    assert "method ae_gmm" in out
    scores = json.loads((tmp_path / "e.json").read_text())
    assert {name: scores[name] for name in ("accuracy", "nmi", "confusion")} == {n: report[n] for n in ("accuracy", "nmi", "confusion")}
    model, x = load_run(ae_gmm_run)[0], np.load(images)["x"]
    code, _, _ = cli("predict", ae_gmm_run, "--input", images, "--output", tmp_path / "o.npz", "--probabilities", "--embedding")
    assert code == 0
    with np.load(tmp_path / "o.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["cluster"], model.predict_clusters(x))
        np.testing.assert_allclose(found["q"], model.predict_proba(x), rtol=1e-6)
        np.testing.assert_allclose(found["z"], model.embed(x), rtol=1e-6)
    assert cli("sample", ae_gmm_run, "--output", tmp_path / "s.png")[0] == 0
    assert (tmp_path / "s.png").stat().st_size > 100


def test_a_run_lengthened_for_few_examples_says_so(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("nvisa_tf.models.neighbor_heads.LEAST_STEPS", 20)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(64, 4)))
    words = ["train", "--method", "neighbor_information", "--dataset", tmp_path / "x.npy", "--n-clusters", 2, "--batch-size", 16]
    code, out, err = cli(*words, "--split", "all", "--epochs", 2, "--out", tmp_path / "run")
    assert code == 0, err
    assert "2 clusters, 5 epochs, as 2 of so few examples are too few steps." in out


def test_a_bound_is_refused_where_there_is_no_density(cli, ae_gmm_run, images, tmp_path):
    code, out, err = cli("predict", ae_gmm_run, "--input", images, "--output", tmp_path / "o.csv", "--bound")
    assert (code, out) == (2, "")
    assert err == "nvisa-tf: The method ae_gmm has no density of examples; leave --bound out.\n"
    assert not list(tmp_path.iterdir())


def test_it_is_exported_verified_and_classifies(cli, ae_gmm_run, images, tmp_path):
    code, out, _ = cli("export", ae_gmm_run, "--format", "tflite", "--out", tmp_path / "out")
    assert code == 0
    assert "100.00% of 30 clusters as in Keras" in out
    encoder = tmp_path / "out" / "encoder.tflite"
    assert {"encoder.tflite", "generator.tflite", "model.json", "labels.txt"} == {path.name for path in encoder.parent.iterdir()}
    code, out, _ = cli("verify", encoder, "--data", images)
    assert code == 0
    assert "100.00% of 300 clusters as in Keras" in out
    code, out, _ = cli("classify", encoder, images, "--probabilities")
    assert code == 0
    rows, model, x = list(csv.DictReader(out.splitlines())), load_run(ae_gmm_run)[0], np.load(images)["x"]
    assert [int(row["cluster"]) for row in rows] == model.predict_clusters(x).tolist()
    np.testing.assert_allclose([[float(row[f"q_{k}"]) for k in range(3)] for row in rows], model.predict_proba(x), atol=1e-4)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--method", "ae_gmm", "--preset", "paper"], "The preset paper is of the method nvisa, not of ae_gmm; choose another."),
        (["--method", "ae_gmm", "--objective", "nvil"], r"--objective nvil .*--objective is an option of --method nvisa"),
        (["--covariance", "diag"], r"--covariance diag .*--covariance is an option of --method ae_gmm"),
        (["--method", "ae_gmm", "--config", "c.toml"], r"'objective' of the method ae_gmm; it is one of nvisa"),
        (["--method", "ae_gmm", "--epochs", "0"], "there is no autoencoder; set epochs to 1 or more"),
        (["--method", "ae_gmn"], "invalid choice: 'ae_gmn'"),
    ],
)
def test_what_belongs_to_another_method_is_one_sentence_and_exit_2(cli, words, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text('method = "ae_gmm"\nobjective = "nvil"\n')
    code, out, err = cli("train", *words)
    assert (code, out) == (2, "")
    assert re.search(expected, err), err
    assert len(err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]


def test_help_shows_what_is_common_and_what_the_method_has(cli):
    texts = {}
    for words in (("--help",), ("--help-all",), ("--method", "ae_gmm", "--help"), ("--method", "ae_gmm", "--help-all")):
        code, texts[words], _ = cli("train", *words)
        assert code == 0
    for method in ((), ("--method", "ae_gmm")):
        short, full = (texts[(*method, help_flag)] for help_flag in ("--help", "--help-all"))
        assert len(short.splitlines()) < len(full.splitlines())
        assert "--epochs" in short
        assert "--keep-checkpoints" not in short
        assert "--keep-checkpoints" in full
        assert ("--objective" in short, "--covariance" in short) == ((False, True) if method else (True, False))


def test_a_run_stopped_in_its_initialization_goes_on_there(cli, images, start_command, tmp_path):
    words = ["train", "--dataset", images, *WORDS, "--posterior-units", 16, "--preset", "random_small", "--epochs", 2, "--eval-epochs", 1]
    words += ["--init", "ae_kmeans", "--init-epochs", 300]
    said = tmp_path / "said.txt"
    process = start_command([*words, "--out", tmp_path / "run"], said)
    stages, limit = tmp_path / "run" / "stages.csv", time.monotonic() + 120
    while not stages.is_file():
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < limit
        time.sleep(0.02)
    process.terminate()
    assert process.wait(timeout=120) == 130
    out = said.read_text()
    assert "Traceback" not in out
    stopped = re.search(r"Stopped at stage autoencoder, epoch ([\d.]+) of 300, as .*; a checkpoint is saved\.", out)
    assert stopped, out
    assert 60 <= float(stopped[1]) < 300
    assert {path.name for path in (tmp_path / "run").iterdir()} & {"report.json", "model.keras", "metrics.csv"} == set()
    assert list((tmp_path / "run" / "checkpoints" / "autoencoder").glob("*.index"))
    assert "progress  stage autoencoder, epoch " in cli("info", tmp_path / "run")[1]
    code, out, err = cli("train", "--resume", tmp_path / "run")
    assert code == 0, err
    assert f"from stage autoencoder, epoch {stopped[1]} of 300." in out
    assert "Its initialization ae_kmeans had" in out
    # It is the run that an unbroken one is.
    code, _, err = cli(*words, "--out", tmp_path / "unbroken")
    assert code == 0, err
    rows = [list(csv.DictReader((tmp_path / name / "stages.csv").open())) for name in ("run", "unbroken")]
    assert [(row["stage"], row["step"]) for row in rows[0]] == [(row["stage"], row["step"]) for row in rows[1]]
    x = np.load(images)["x"]
    found, expected = (load_run(tmp_path / name)[0] for name in ("run", "unbroken"))
    np.testing.assert_array_equal(found.predict_proba(x), expected.predict_proba(x))
    np.testing.assert_array_equal(found.embed(x), expected.embed(x))


def test_a_bound_cannot_choose_among_restarts_of_a_method_without_one(cli, tmp_path):
    code, _, err = cli("train", "--method", "ae_gmm", "--restarts", 2, "--choose-by", "early_iw_bound", "--out", tmp_path / "out")
    assert code == 2
    assert "ae_gmm has no density, so no early_iw_bound" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["3", '["ae_gmm"]'])
def test_a_method_that_is_no_text_is_one_sentence(cli, tmp_path, method):
    (tmp_path / "run.toml").write_text(f"method = {method}\n")
    code, _, err = cli("train", "--config", tmp_path / "run.toml", "--out", tmp_path / "out")
    assert code == 2
    assert "method is" in err
    assert len(err.strip().splitlines()) == 1
