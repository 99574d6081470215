"""nvisa-tf features, and what the other commands make of its files."""

import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image


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


def test_features_are_made_once_trained_on_and_told_apart(cli, photos, backbones, tmp_path):
    output = tmp_path / "f.npy"
    words = ["features", photos, "--backbone", backbones[0], "--pixels", "unit", "--output", output]
    code, out, err = cli(*words)
    assert (code, err) == (0, "")
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
    other = tmp_path / "g.npy"
    assert cli("features", photos, "--backbone", backbones[1], "--pixels", "unit", "--output", other)[0] == 0
    code, _, err = cli("predict", run, "--input", other, "--output", tmp_path / "c.csv")
    assert code == 2
    assert "has features by small.keras with other weights or pixels, and" in err
    assert not (tmp_path / "c.csv").exists()
    assert cli("predict", run, "--input", output, "--output", tmp_path / "c.csv")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--backbone", "resnet5"], "no backbone 'resnet5'; did you mean resnet50"),
        (["--backbone", "nope.keras"], "There is no backbone nope.keras"),
        (["--backbone", "resnet50", "--batch-size", "0"], "--batch-size is 0"),
        (["--backbone", "resnet50", "--image-size", "8"], "needs 32 at least"),
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
