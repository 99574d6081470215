"""nvisa-tf features, and what the other commands make of its files."""

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from nvisa_tf.cli import table1
from nvisa_tf.cli.main import _parse


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    """Two files of small networks, one other weights than the other."""
    folder = tmp_path_factory.mktemp("backbones")
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        (folder / str(seed)).mkdir()
        keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(6, 3)]).save(folder / str(seed) / "small.keras")
    return [str(folder / str(seed) / "small.keras") for seed in (0, 1)]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("NVISA_TF_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for i in range(24):
        (tmp_path / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        colour = np.array([[200, 40, 40], [40, 40, 200]][i % 2])
        pixels = np.clip(colour + random.normal(0, 30, (40, 50, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / "ab"[i % 2] / f"{i:02}.jpg")
    return tmp_path / "photos"


def plans_of(data, out, methods="nvisa,dec,temi", *words):
    line = ["nvisa-tf", "reproduce", "table1", "--datasets", data, "--methods", methods, "--out", out, *words]
    return table1.plans_of(_parse(list(map(str, line))))


def test_the_table_takes_vectors_for_features_where_it_is_told_to(tmp_path):
    np.save(tmp_path / "f.npy", np.random.default_rng(0).normal(size=(40, 3)))
    path = tmp_path / "f.npy"
    told = plans_of(path, tmp_path, "nvisa,dec,temi", "--features", "--pretrain-epochs", 3)
    assert [plan.entry.preset for plan in told] == ["dec_small", "features", "temi_features"]
    assert all(plan.job.config.model.unit_length for plan in told)
    assert told[0].job.config.model.pretrain_epochs == told[0].autoencoder.config.train.epochs == 3
    plain = plans_of(path, tmp_path)
    assert [plan.entry.preset for plan in plain] == ["dec_small", "tabular", "temi"]
    assert not any(plan.job.config.model.unit_length for plan in plain)
    (dec,) = plans_of(path, tmp_path, "dec", "--features", "--presets", "dec_small")
    assert not dec.job.config.model.unit_length  # a preset by its name is taken as it is


def test_the_table_has_as_many_clusters_as_classes(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(tmp_path / "f.npz", x=x, y=np.arange(40) % 7)
    for plan in plans_of(tmp_path / "f.npz", tmp_path):
        assert plan.job.config.model.n_clusters == 7
        assert plan.autoencoder is None or plan.autoencoder.config.model.n_clusters == 7
    np.savez(tmp_path / "g.npz", x=x)
    assert {plan.job.config.model.n_clusters for plan in plans_of(tmp_path / "g.npz", tmp_path)} == {10}


def test_features_are_made_once_trained_on_and_told_apart(cli, photos, backbones, tmp_path):
    output = tmp_path / "f.npy"
    words = ["features", photos, "--backbone", backbones[0], "--backbone-pixels", "unit", "--output", output]
    code, out, err = cli(*words)
    assert (code, err) == (0, "nvisa-tf: The folders are labels, which only score: a, b.\n")
    assert f"{output}: 24 vectors of 6 values. Cluster them with: nvisa-tf train --dataset {output}" in out
    code, out, _ = cli(*words)
    assert code == 0
    assert "(from the cache)" in out
    run = tmp_path / "run"
    code, _, err = cli("train", "--dataset", output, "--method", "ae_gmm", "--n-clusters", 2, "--epochs", 2, "--split", "all", "--out", run)
    assert code == 0, err
    rows = list(csv.DictReader((run / "clusters.csv").open()))
    assert (len(rows), rows[0]["file"], rows[0]["label"]) == (24, "a/00.jpg", "a")
    assert json.loads((run / "run.json").read_text())["data"]["backbone"]["name"] == "small.keras"
    assert "unit_length = true" in (run / "config.toml").read_text()
    plans = plans_of(output, tmp_path)
    assert [plan.entry.preset for plan in plans] == ["dec_small", "features", "temi_features"]
    assert all(plan.job.config.model.unit_length for plan in plans)
    other = tmp_path / "g.npy"
    assert cli("features", photos, "--backbone", backbones[1], "--backbone-pixels", "unit", "--output", other)[0] == 0
    code, _, err = cli("predict", run, "--input", other, "--output", tmp_path / "c.csv")
    assert code == 2
    assert "was trained on: its backbone has other weights. Make them as those were." in err
    assert not (tmp_path / "c.csv").exists()
    assert cli("predict", run, "--input", output, "--output", tmp_path / "c.csv")[0] == 0
    bare = tmp_path / "bare.npy"
    bare.write_bytes(output.read_bytes())
    code, _, err = cli("predict", run, "--input", bare, "--output", tmp_path / "c.csv")
    assert code == 0
    assert "bare.npy does not say what made its vectors; they must be by small.keras" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--backbone", "resnet5"], "no backbone 'resnet5'; did you mean resnet50"),
        (["--backbone", __file__], "test_features.py is neither a .keras nor a .tflite file; save the network as one of these"),
        (["--backbone", "nope.keras"], "There is no backbone nope.keras"),
        (["--backbone", "resnet50", "--batch-size", "0"], "--batch-size is 0"),
        (["--backbone", "resnet50", "--backbone-size", "8"], "needs 32 at least"),
    ],
)
def test_bad_input_is_one_sentence_and_makes_nothing(cli, photos, tmp_path, words, message):
    before = set(tmp_path.rglob("*"))
    code, _, err = cli("features", photos, "--output", tmp_path / "f.npy", *words)
    assert code == 2
    assert message in err
    assert set(tmp_path.rglob("*")) == before


def test_the_output_is_an_array_file(cli, photos, tmp_path):
    code, _, err = cli("features", photos, "--backbone", "resnet50", "--output", tmp_path / "f.csv")
    assert code == 2
    assert "must end in .npy" in err


def test_the_input_is_not_written_over(cli, backbones, tmp_path, monkeypatch):
    monkeypatch.setenv("NVISA_TF_CACHE", str(tmp_path / "cache"))
    x = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    code, _, err = cli("features", tmp_path / "x.npy", "--backbone", backbones[0], "--output", tmp_path / "x.npy")
    assert code == 2
    assert "x.npy is the input, which would be lost; name another file." in err
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), x)


def test_features_made_at_another_size_are_refused(cli, photos, tmp_path):
    keras.utils.set_random_seed(0)
    keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(6, 3)]).save(tmp_path / "any.keras")
    words = ["features", photos, "--backbone", tmp_path / "any.keras", "--backbone-pixels", "unit"]
    for name, *others in (("a", 40), ("b", 48), ("c", 40, "--resize", "stretch")):
        assert cli(*words, "--output", tmp_path / f"{name}.npy", "--backbone-size", *others)[0] == 0
    run = ["--method", "ae_gmm", "--n-clusters", 2, "--epochs", 1, "--split", "all", "--out", tmp_path / "run"]
    assert cli("train", "--dataset", tmp_path / "a.npy", *run)[0] == 0
    for name, message in (("b", "takes photos of another size (48 x 48, not 40 x 40 pixels)"), ("c", "by --resize stretch, not crop")):
        code, _, err = cli("predict", tmp_path / "run", "--input", tmp_path / f"{name}.npy", "--output", tmp_path / "p.csv")
        assert code == 2
        assert message in err
    code, _, err = cli("predict", tmp_path / "run", "--input", tmp_path / "a.npy", "--output", tmp_path / "a.npy")
    assert code == 2
    assert "is the input, which would be lost" in err
    (photos / "a" / "00.jpg").unlink()
    code, _, err = cli("report", tmp_path / "run")
    assert code == 0
    assert f"The photos in {photos} are not as they were when their features were made" in err


def test_photos_are_trained_on_and_clustered_in_one_command(cli, photos, backbones, tmp_path):
    run = tmp_path / "run"
    words = ["--backbone", backbones[0], "--backbone-pixels", "unit", "--method", "ae_gmm", "--n-clusters", 2, "--epochs", 2]
    (photos / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    code, out, err = cli("train", "--dataset", photos, *words, "--split", "all", "--out", run)
    assert code == 0, err
    assert f"nvisa-tf predict {run} --input new_photos/" in out
    page = (run / "report.html").read_text()
    assert page.count("data:image/") > 24  # every photo, and the map's sheet
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1
    new = tmp_path / "new"
    (new).mkdir()
    Image.new("RGB", (60, 40), (40, 40, 200)).save(new / "blue.png")
    Image.new("RGB", (60, 40), (200, 40, 40)).save(new / "red.png")
    code, out, err = cli("predict", run, "--input", new, "--output", tmp_path / "c.csv")
    assert code == 0, err
    rows = {row["file"]: row["cluster"] for row in csv.DictReader((tmp_path / "c.csv").open())}
    theirs = {row["file"]: row["cluster"] for row in csv.DictReader((run / "clusters.csv").open())}
    assert rows == {"blue.png": theirs["b/01.jpg"], "red.png": theirs["a/00.jpg"]}
    assert theirs["a/broken.jpg"] == ""
    arrays = np.stack([np.full((32, 32, 3), colour, np.uint8) for colour in ((40, 40, 200), (200, 40, 40))])
    np.save(tmp_path / "arrays.npy", arrays)
    assert cli("predict", run, "--input", tmp_path / "arrays.npy", "--output", tmp_path / "d.csv")[0] == 0
    assert [row["cluster"] for row in csv.DictReader((tmp_path / "d.csv").open())] == [rows["blue.png"], rows["red.png"]]


def test_a_backbone_that_is_another_one_now_or_gone_is_told(cli, photos, backbones, tmp_path):
    own = tmp_path / "own.keras"
    own.write_bytes(Path(backbones[0]).read_bytes())
    words = ["--backbone", own, "--backbone-pixels", "unit", "--method", "ae_gmm", "--n-clusters", 2, "--epochs", 1]
    assert cli("train", "--dataset", photos, *words, "--out", tmp_path / "run")[0] == 0
    own.write_bytes(Path(backbones[1]).read_bytes())
    code, _, err = cli("predict", tmp_path / "run", "--input", photos, "--output", tmp_path / "c.csv")
    assert code == 2
    assert "own.keras has other weights than when" in err
    own.unlink()
    code, _, err = cli("predict", tmp_path / "run", "--input", photos, "--output", tmp_path / "c.csv")
    assert code == 2
    assert "There is no backbone" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--backbone-size", "64"], "backbone_size is of a backbone, and there is none"),
        (["--backbone", "resnet50", "--image-shape", "32,32,3"], "with a backbone give backbone_size"),
        (["--backbone", "resnet5"], "no backbone 'resnet5'"),
    ],
)
def test_train_refuses_a_backbone_that_it_cannot_use(cli, photos, tmp_path, words, message):
    code, _, err = cli("train", "--dataset", photos, *words, "--out", tmp_path / "run")
    assert code == 2
    assert message in err
    assert not (tmp_path / "run").exists()
