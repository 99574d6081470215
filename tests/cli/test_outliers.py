"""Outliers on the command line: an exported encoder tells those that `predict` tells."""

import csv

import numpy as np


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_classify_finds_what_predict_finds(cli, bars_run, tmp_path):
    rng = np.random.default_rng(3)
    odd = [*rng.integers(0, 256, (20, 6, 6)), *(np.full((6, 6), value) for value in (0, 99, 255))]
    np.save(tmp_path / "x.npy", np.concatenate([np.load(bars_run.parent / "bars.npz")["x"][:50], np.array(odd).astype(np.uint8)]))
    assert cli("predict", bars_run, "--input", tmp_path / "x.npy", "--outliers", 0.05, "--output", tmp_path / "p.csv")[0] == 0
    assert cli("export", bars_run, "--format", "tflite", "--outliers", 0.05, "--out", tmp_path / "e")[0] == 0
    encoder = tmp_path / "e" / "encoder.tflite"
    code, out, _ = cli("classify", encoder, tmp_path / "x.npy", "--output", tmp_path / "c.csv")
    assert code == 0
    theirs, rows = read(tmp_path / "p.csv"), read(tmp_path / "c.csv")
    assert list(rows[0]) == ["source", "index", "cluster", "name", "probability", "nearest", "novelty"]
    for name in ("cluster", "nearest"):
        assert [row[name] for row in rows] == [row[name] for row in theirs]
    np.testing.assert_allclose([float(row["novelty"]) for row in rows], [float(row["novelty"]) for row in theirs], rtol=1e-3)
    outliers = [row for row in rows if row["cluster"] == "-1"]
    assert {row["name"] for row in outliers} == {"outlier"}
    assert len(outliers) >= 23
    assert f"73 examples clustered into {tmp_path / 'c.csv'}, {len(outliers)} of them outliers (cluster -1); cluster sizes: " in out
    # A further export to the folder, without them.
    assert cli("export", bars_run, "--format", "tflite", "--quantize", "float16", "--out", tmp_path / "e")[0] == 0
    code, out, _ = cli("verify", encoder, "--data", bars_run.parent / "bars.npz", "--run", bars_run)
    assert (code, "100.00%" in out) == (0, True)
    code, _, err = cli("export", bars_run, "--format", "web", "--outliers", 0.05, "--out", tmp_path / "s")
    assert (code, "A web page does not show outliers; leave --outliers out." in err) == (2, True)


def test_photos_that_are_none_of_the_others(cli, tmp_path, monkeypatch):
    import keras
    from PIL import Image

    monkeypatch.setenv("NVISA_TF_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(60):
        colour = np.array([[200, 40, 40], [40, 40, 200]][i % 2]) + rng.normal(0, 10, 3)
        pixels = np.clip(colour + rng.normal(0, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i:02}.png")
    keras.utils.set_random_seed(0)
    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(6, 3)]).save(tmp_path / "small.keras")
    words = ["--backbone", tmp_path / "small.keras", "--backbone-pixels", "unit", "--method", "ae_gmm", "--n-clusters", 2, "--epochs", 2]
    assert cli("train", "--dataset", tmp_path / "photos", *words, "--out", tmp_path / "run")[0] == 0
    assert cli("export", tmp_path / "run", "--format", "tflite", "--outliers", 0.05, "--out", tmp_path / "e")[0] == 0
    (tmp_path / "new").mkdir()
    for name, colour in (("blue", (40, 40, 200)), ("green", (40, 255, 40)), ("red", (200, 40, 40))):
        Image.new("RGB", (32, 32), colour).save(tmp_path / "new" / f"{name}.png")
    assert cli("classify", tmp_path / "e" / "encoder.tflite", tmp_path / "new", "--output", tmp_path / "c.csv")[0] == 0
    assert [row["cluster"] == "-1" for row in read(tmp_path / "c.csv")] == [False, True, False]
    assert cli("predict", tmp_path / "run", "--input", tmp_path / "new", "--outliers", 0.05, "--output", tmp_path / "p.csv")[0] == 0
    assert [row["cluster"] for row in read(tmp_path / "p.csv")] == [row["cluster"] for row in read(tmp_path / "c.csv")]
