import csv
import json
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from PIL import Image

from nvisa_tf import load_run
from nvisa_tf.cli import main
from nvisa_tf.io.run_directory import FORMAT

TINY = [
    "--preset", "random_small", "--encoder-units", "16", "--posterior-units", "16", "--decoder-units", "16", "--latent-dim", "2",
    "--n-samples", "3", "--eval-samples", "5", "--eval-examples", "50", "--batch-size", "64",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory, make_blobs):
    """A short run on blobs of vectors with labels, made once."""
    folder = tmp_path_factory.mktemp("run")
    x, y = make_blobs(100)
    np.savez(folder / "blobs.npz", x=x, y=y)
    words = [
        "train",
        "--dataset",
        folder / "blobs.npz",
        "--out",
        folder / "run",
        "--n-clusters",
        3,
        "--epochs",
        20,
        "--eval-epochs",
        10,
        *TINY,
    ]
    argv = ["nvisa-tf", *map(str, words)]
    assert main._dispatch(main._parse(argv)) == 0
    return folder


def test_the_run_directory_is_complete(finished_run):
    run = finished_run / "run"
    names = {path.name for path in run.iterdir()}
    folders = {"checkpoints", "tensorboard", "plots"}
    answers = {"model.keras", "clusters.csv", "reference.npz", "outliers.npz", "report.html", "report.json", "init.json"}
    assert names == {".lock", "config.toml", "run.json", "metrics.csv", *folders, *answers}
    assert {path.name for path in (run / "plots").iterdir()} == {"samples.png", "reconstructions.png", "curves.png", "confusion.png"}
    info = json.loads((run / "run.json").read_text())
    assert info["format"] == FORMAT
    assert info["seed"] == 0
    assert {"tensorflow", "keras", "nvisa-tf", "python"} <= set(info["versions"])
    config = tomllib.loads((run / "config.toml").read_text())
    assert config["model"]["n_clusters"] == 3
    assert config["model"]["input_shape"] == [6]
    report = json.loads((run / "report.json").read_text())
    assert sum(report["cluster_sizes"]) == 30
    assert "trained on 270 examples, scored on 30" in report["description"]


def test_a_resolved_config_makes_the_same_run(finished_run, cli, tmp_path):
    code, out, _ = cli("train", "--config", finished_run / "run" / "config.toml", "--out", tmp_path / "again")
    assert code == 0
    a, b = ((folder / "metrics.csv").read_text().splitlines() for folder in (finished_run / "run", tmp_path / "again"))
    without_minutes = [[line.split(",")[:2] + line.split(",")[3:] for line in lines] for lines in (a, b)]
    assert without_minutes[0] == without_minutes[1]
    assert "Next:" in out
    assert "scaled alike" not in out  # they were standardized


def test_predict_csv(finished_run, cli, tmp_path):
    model, _, _ = load_run(finished_run / "run")
    x = np.load(finished_run / "blobs.npz")["x"]
    code, out, _ = cli(
        "predict",
        finished_run / "run",
        "--input",
        finished_run / "blobs.npz",
        "--output",
        tmp_path / "o.csv",
        "--probabilities",
        "--embedding",
    )
    assert code == 0
    assert "300 examples" in out
    lines = (tmp_path / "o.csv").read_text().splitlines()
    assert lines[0] == "row,cluster,probability,second,second_probability,typicality,label,q_0,q_1,q_2,z_0,z_1"
    table = np.array([line.split(",") for line in lines[1:]], float)
    q = model.predict_proba(x)
    np.testing.assert_array_equal(table[:, 0], np.arange(300))
    np.testing.assert_array_equal(table[:, 1], model.predict_clusters(x))
    np.testing.assert_allclose(table[:, 2], q.max(1), rtol=1e-5)
    np.testing.assert_array_equal(table[:, 3], np.argsort(q)[:, 1])
    np.testing.assert_array_equal(table[:, 6], np.load(finished_run / "blobs.npz")["y"])
    np.testing.assert_allclose(table[:, 7:10], q, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(table[:, 10:], model.embed(x), rtol=1e-5, atol=1e-9)


def test_predict_gives_a_bound_that_tells_strange_examples(finished_run, cli, tmp_path):
    x = np.load(finished_run / "blobs.npz")["x"][:8]
    np.save(tmp_path / "x.npy", np.concatenate([x, 50 * x[:1]]))
    code, _, err = cli("predict", finished_run / "run", "--input", tmp_path / "x.npy", "--output", tmp_path / "o.csv", "--bound")
    assert (code, err) == (0, "")
    lines = (tmp_path / "o.csv").read_text().splitlines()
    assert lines[0] == "row,cluster,probability,second,second_probability,typicality,bound,bound_se"
    bounds, errors = np.array([line.split(",")[6:] for line in lines[1:]], float).T
    model, _, _ = load_run(finished_run / "run")
    expected = model.score_samples(np.load(tmp_path / "x.npy"), return_std=True)
    np.testing.assert_allclose(bounds, expected[0], rtol=1e-5)
    np.testing.assert_allclose(errors, expected[1], rtol=1e-4)
    assert bounds[8] < bounds[:8].min() - 100


def test_predict_npy_and_npz(finished_run, cli, tmp_path):
    x = np.load(finished_run / "blobs.npz")["x"]
    model, _, _ = load_run(finished_run / "run")
    np.save(tmp_path / "x.npy", x[:7])
    assert cli("predict", finished_run / "run", "--input", tmp_path / "x.npy", "--output", tmp_path / "o.npy", "--embedding")[0] == 0
    assert cli("predict", finished_run / "run", "--input", tmp_path / "x.npy", "--output", tmp_path / "o.npz")[0] == 0
    table = np.load(tmp_path / "o.npy", allow_pickle=False)
    np.testing.assert_array_equal(table["cluster"], model.predict_clusters(x[:7]))
    np.testing.assert_allclose(table["z"], model.embed(x[:7]), rtol=1e-6)
    with np.load(tmp_path / "o.npz", allow_pickle=False) as archive:
        assert set(archive.files) == {"row", "cluster", "probability", "second", "second_probability", "typicality"}
        np.testing.assert_array_equal(archive["cluster"], table["cluster"])


def test_evaluate(finished_run, cli, tmp_path):
    code, out, _ = cli("evaluate", finished_run / "run", "--samples", 300, "--output", tmp_path / "e.json")
    assert code == 0
    assert "accuracy" in out
    scores = json.loads((tmp_path / "e.json").read_text())
    report = json.loads((finished_run / "run" / "report.json").read_text())
    for name in ("accuracy", "nmi", "ari", "majority_accuracy", "exemplar_accuracy", "cluster_sizes", "confusion"):
        assert scores[name] == report[name]
    assert (
        f"Of the scored examples: accuracy {100 * scores['accuracy']:.2f}%, majority accuracy {100 * scores['majority_accuracy']:.2f}%"
        in out
    )
    assert scores["held_out_iw_bound_samples"] == 300
    assert scores["held_out_iw_bound"] > report["held_out_iw_bound"] - 0.1  # more samples, a tighter bound


def test_evaluate_scores_no_other_data_as_held_out(bars_run, cli, tmp_path):
    shutil.copytree(bars_run, tmp_path / "run")
    with np.load(bars_run.parent / "bars.npz") as data:
        np.savez(tmp_path / "bars.npz", x=data["x"][::-1], y=data["y"][::-1])
    config = (tmp_path / "run" / "config.toml").read_text()
    (tmp_path / "run" / "config.toml").write_text(config.replace(str(bars_run.parent / "bars.npz"), str(tmp_path / "bars.npz")))
    code, out, err = cli("evaluate", tmp_path / "run")
    assert (code, out) == (2, "")
    assert "The training data of" in err


def test_sample(finished_run, cli, tmp_path):
    code, _, _ = cli("sample", finished_run / "run", "--output", tmp_path / "s.png", "--columns", 4, "--clusters", "2,0")
    assert code == 0
    width, height = Image.open(tmp_path / "s.png").size
    assert width % 4 == 0
    assert height % 2 == 0


def test_info(finished_run, cli):
    code, out, _ = cli("info", finished_run / "run")
    assert code == 0
    for words in ("blobs", "3 clusters", "epoch 20 of 20", "held out", "tensorflow"):
        assert words in out


def test_info_says_what_ended_before_its_limit(finished_run, cli, tmp_path):
    run = shutil.copytree(finished_run / "run", tmp_path / "run")
    report = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**report, "ended_early": "stopped paying at epoch 7"}))
    assert "ended     training stopped paying at epoch 7" in cli("info", run)[1]
    assert "\nended " not in cli("info", finished_run / "run")[1]


def test_a_start_alone_is_a_run_that_others_start_from(finished_run, cli, tmp_path, monkeypatch):
    monkeypatch.setattr("nvisa_tf.models.nvisa.initialization.LEAST_STEPS", 60)
    words = ["train", "--dataset", finished_run / "blobs.npz", "--n-clusters", 3, *TINY]
    code, out, err = cli(*words, "--init", "ae_kmeans", "--init-epochs", 3, "--epochs", 0, "--out", tmp_path / "start")
    assert code == 0, err
    assert "Its initialization ae_kmeans had" in out
    code, out, _ = cli("info", tmp_path / "start")
    assert code == 0
    assert "progress  finished after" in out
    assert "held out" in out
    assert "accuracy" in out
    words = ["train", "--dataset", finished_run / "blobs.npz", "--init-from", tmp_path / "start", "--preset", "tsne", "--epochs", 1]
    code, out, err = cli(*words, "--restarts", 2, "--batched", "--eval-examples", 50, "--out", tmp_path / "restarts")
    assert code == 0, err
    assert "are unlike the training data" not in out
    np.savez(tmp_path / "far.npz", x=1000 * np.load(finished_run / "blobs.npz")["x"])
    begin = ["--init-from", tmp_path / "start", "--epochs", 0, "--eval-examples", 50]
    code, out, err = cli("train", "--dataset", tmp_path / "far.npz", *begin, "--out", tmp_path / "far")
    assert code == 0, err
    assert out.count(f"Of {tmp_path / 'start'}: ") == out.count("are unlike the training data") == 1
    shutil.rmtree(tmp_path / "start")
    code, out, err = cli(*words[:3], "--out", tmp_path / "other", "--init-from", tmp_path / "start")
    assert code == 2
    assert "is not a run directory" in err


def test_a_run_without_its_model_file_answers_from_the_checkpoint(finished_run, cli, tmp_path):
    shutil.copytree(finished_run / "run", tmp_path / "copy")
    x = np.load(finished_run / "blobs.npz")["x"]
    expected = load_run(tmp_path / "copy")[0].predict_proba(x)
    (tmp_path / "copy" / "model.keras").unlink()
    np.testing.assert_array_equal(load_run(tmp_path / "copy")[0].predict_proba(x), expected)
    (tmp_path / "copy" / "model.keras").write_bytes(b"PK no")
    code, _, err = cli("evaluate", tmp_path / "copy")
    assert code == 2
    assert "cannot be loaded" in err


def test_resume_of_a_finished_run_and_more_epochs(finished_run, cli, tmp_path):
    shutil.copytree(finished_run / "run", tmp_path / "copy")
    code, out, _ = cli("train", "--resume", tmp_path / "copy", "--epochs", 30)
    assert code == 0
    assert "from epoch 20.0 of 30" in out
    rows = (tmp_path / "copy" / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["10.0", "20.0", "30.0"]
    # It is a run of 30 epochs from then on.
    assert "epoch 30 of 30" in cli("info", tmp_path / "copy")[1]
    code, out, _ = cli("train", "--resume", tmp_path / "copy")
    assert code == 0
    assert "from epoch 30.0 of 30" in out
    model = load_run(tmp_path / "copy")[0]
    assert model.step.numpy() == 30 * 4
    with open(tmp_path / "copy" / "clusters.csv", newline="") as file:  # of the model that is there now
        found = [int(row["cluster"]) for row in csv.DictReader(file)]
    np.testing.assert_array_equal(found, model.predict_clusters(np.load(finished_run / "blobs.npz")["x"]))


def test_no_labels_and_vectors_that_are_scaled_alike(cli, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 9, (60, 25), np.uint8))
    code, out, _ = cli("train", "--dataset", tmp_path / "x.npy", "--out", tmp_path / "r", "--epochs", 1, "--likelihood", "bernoulli", *TINY)
    assert code == 0
    assert "No labels, so no accuracy" in out
    assert "add --scaling standardize" in out
    assert "The probability of an example's own cluster is" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "--dataset", "fashon_mnist"], "did you mean fashion_mnist"),
        (["train", "--dataset", "missing.npz"], "There is no file"),
        (["train", "--n-clusters", "1"], "n_clusters is 1; it must be at least 2"),
        (["train", "--n-samples", "1"], "vimco needs at least 2"),
        (["train", "--n-clusters", "2000", *TINY], "1437 examples for 2000 clusters"),
        (["train", "--config", "missing.toml"], "cannot be read"),
        (["train", "--encoder-units", "a"], "not a list of integers"),
        (["train", "--resume", "."], "is not a run directory"),
        (["train", "--epoch", "3"], "unrecognized arguments: --epoch 3 (is --epochs meant?)"),
        (["reproduce", "table1", "--out", "o", "--sedes=3"], "unrecognized arguments: --sedes=3 (is --seeds meant?)"),
        (["train", "--dataset", "/"], "/ is the whole file system; give the folder of your images"),
        (["train", "--image-shape", "8,8"], "image_shape is for a folder of images, and digits is none"),
        (["train", "--likelihood", "poisson"], "invalid choice"),
        (["train", "--out", "/proc/nowhere"], "cannot be written"),
        (["evaluate", "nowhere"], "is not a run directory"),
        (["predict", "nowhere", "--input", "x.npy", "--output", "o.csv"], "is not a run directory"),
        (["sample", "nowhere"], "is not a run directory"),
        (["info", "nowhere"], "is not a run directory"),
        (["trian"], "invalid choice"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(cli, words, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = cli(*words)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()[-1]) > 20
    assert not list(tmp_path.iterdir())  # nothing half-written


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["predict", "RUN", "--input", "BLOBS", "--output", "o.txt"], "must end in .csv or .npy or .npz"),
        (["predict", "RUN", "--input", "BLOBS", "--output", "no/folder/o.csv"], "there is no folder"),
        (["predict", "RUN", "--input", "missing.npy", "--output", "o.csv"], "There is no file"),
        (["predict", "RUN", "--input", "digits", "--output", "o.csv"], "has the shape [360, 8, 8]; this model takes [n, 6]"),
        (["evaluate", "RUN", "--samples", "0"], "must be at least 1"),
        (["sample", "RUN", "--clusters", "7"], "the clusters are 0 to 2"),
        (["train", "--resume", "RUN", "--n-clusters", "4"], "--n-clusters cannot change with --resume"),
        (["train", "--resume", "RUN", "--out", "x"], "--out cannot change with --resume"),
        (["train", "--dataset", "BLOBS", "--encoder-filters", "8"], "encoder_filters is for images"),
        (["train", "--dataset", "BLOBS", "--preset", "umap_augmented"], "vectors, and images are what augment would change"),
        (["train", "--dataset", "BLOBS", "--augment", "--restarts", "2", "--batched"], "vectors, and images are what augment would change"),
        (["train", "--out", "RUN"], "is not empty, and a run never overwrites anything"),
    ],
)
def test_bad_use_of_a_run(cli, finished_run, words, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"RUN": finished_run / "run", "BLOBS": finished_run / "blobs.npz"}
    code, _, err = cli(*[places.get(word, word) for word in words])
    assert code == 2
    assert expected in err
    assert not list(tmp_path.iterdir())


def test_newer_format_and_damaged_run_files(cli, finished_run, tmp_path):
    for file, content, expected in (
        ("run.json", f'{{"format": {FORMAT + 1}}}', f"knows formats up to {FORMAT}; upgrade"),
        ("run.json", "{", "damaged"),
        ("run.json", "[]", "names no format"),
        ("config.toml", "epochs = -1", "must be at least 0"),
        ("report.json", '{"a', "report.json cannot be read"),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(finished_run / "run", copy)
        (copy / file).write_text(content)
        commands = [["info", copy], ["train", "--resume", copy]]
        for command in commands[: 1 if file == "report.json" else 2]:  # the second writes that one anew
            code, _, err = cli(*command)
            assert code == 2, (file, command)
            assert expected in err
        shutil.rmtree(copy)


def test_a_corrupt_checkpoint_is_passed_over_and_said(cli, finished_run, tmp_path, caplog):
    shutil.copytree(finished_run / "run", tmp_path / "copy")
    cli("train", "--resume", tmp_path / "copy", "--epochs", 30)
    newest = max((tmp_path / "copy" / "checkpoints").glob("step-*.data*"), key=lambda path: path.stat().st_mtime)
    newest.write_bytes(newest.read_bytes()[:1000])
    code, out, _ = cli("train", "--resume", tmp_path / "copy", "--epochs", 30)
    assert code == 0
    assert "from epoch 20.0" in out
    assert "cannot be read; going on from step 80" in caplog.text


def test_a_run_does_not_go_on_with_other_data(cli, finished_run, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(finished_run, folder)
    config = folder / "run" / "config.toml"
    config.write_text(config.read_text().replace(str(finished_run), str(folder)))
    with np.load(folder / "blobs.npz") as arrays:
        x, y = arrays["x"], arrays["y"]
    for values, labels in ((x + 1, y), (x[:200], y[:200])):
        np.savez(folder / "blobs.npz", x=values, y=labels)
        code, _, err = cli("train", "--resume", folder / "run", "--epochs", 30)
        assert code == 2
        assert "have changed since it began" in err
        assert (folder / "run" / "model.keras").exists()


def test_data_that_moved_are_found_by_data_dir(cli, finished_run, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(finished_run, folder)
    config = folder / "run" / "config.toml"
    config.write_text(config.read_text().replace(str(finished_run), "/nowhere"))
    code, _, err = cli("evaluate", folder / "run")
    assert code == 2
    assert "by --data-dir" in err
    code, out, _ = cli("evaluate", folder / "run", "--data-dir", folder)
    assert code == 0
    assert out.splitlines()[1:] == cli("evaluate", finished_run / "run")[1].splitlines()[1:]


def test_a_folder_of_images_is_trained_on_and_clustered(cli, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(60):
        kind = tmp_path / "photos" / ("dark" if i % 2 else "light")
        kind.mkdir(parents=True, exist_ok=True)
        values = rng.integers(0, 60, (12, 12, 3), dtype=np.uint8) + np.uint8(0 if i % 2 else 180)
        Image.fromarray(values).save(kind / f"{i:02}.png")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    options = ["--image-shape", "6,6,3", "--epochs", "2", "--n-clusters", "2", "--split", "all", "--out", tmp_path / "r", *TINY]
    code, out, _ = cli("train", "--dataset", tmp_path / "photos", *options)
    assert code == 0
    assert "trained and scored on all 60 examples" in out
    assert "accuracy" in out  # by the folders within
    assert cli("predict", tmp_path / "r", "--input", tmp_path / "photos", "--output", tmp_path / "o.npy")[0] == 0
    assert (
        np.bincount(np.load(tmp_path / "o.npy")["cluster"], minlength=2).tolist()
        == json.loads((tmp_path / "r" / "report.json").read_text())["cluster_sizes"]
    )
    assert cli("evaluate", tmp_path / "r")[0] == 0
    for values, expected in ((np.full((2, 6, 6, 3), 0.5), 2), (np.full((2, 6, 6, 3), 128.0), 0)):  # scaled already, and not
        np.save(tmp_path / "x.npy", values)
        code, _, err = cli("predict", tmp_path / "r", "--input", tmp_path / "x.npy", "--output", tmp_path / "o.csv")
        assert code == expected
        assert ("has fractions" in err) == (expected == 2)


def test_predict_takes_examples_of_one_value(finished_run, cli, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 6), np.float32))
    assert cli("predict", finished_run / "run", "--input", tmp_path / "x.npy", "--output", tmp_path / "o.csv")[0] == 0
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 3


def test_misnamed_files_are_one_sentence(cli, tmp_path):
    np.save(tmp_path / "a.npy", np.eye(5))
    np.savez(tmp_path / "b.npz", x=np.eye(5))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    for name, words in (("a.npz", "name it .npy"), ("b.npy", "name it .npz")):
        code, _, err = cli("train", "--dataset", tmp_path / name, "--out", tmp_path / "r")
        assert code == 2
        assert words in err
        assert not (tmp_path / "r").exists()


def test_ctrl_c_while_a_command_loads_is_one_line():
    program = """if True:
        import sys
        from nvisa_tf.cli import main
        def interrupted(name):
            raise KeyboardInterrupt
        main.importlib.import_module = interrupted
        sys.argv = ["nvisa-tf", "train"]
        main.main()
    """
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr.strip()) == (130, "", "nvisa-tf: interrupted.")


def test_a_missing_file_is_said_before_tensorflow_is_loaded(tmp_path):
    program = """if True:
        import sys
        from nvisa_tf.cli.main import main
        sys.argv = ["nvisa-tf", "train", "--dataset", "missing.npz"]
        try:
            main()
        finally:
            print("tensorflow" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert "There is no file missing.npz" in done.stderr
