import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from nvisa_tf.export.bundle import export_run
from nvisa_tf.export.runtime import ClusterEncoder
from nvisa_tf.io.images import load_image
from nvisa_tf.runs.workflows import load_run


@pytest.fixture(scope="module")
def exported(bars_run, tmp_path_factory):
    """Encoders of a small run, and 20 of its examples as image files and as an array."""
    folder = tmp_path_factory.mktemp("classify")
    for quantize in ("none", "int8-io"):
        export_run(
            bars_run, folder, formats=["tflite"], quantize=quantize, min_agreement=0.5, label_names={0: "left", 1: "middle", 2: "right"}
        )
    x = np.load(bars_run.parent / "bars.npz")["x"][::15]
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", x=x)
    (folder / "images").mkdir()
    for i, values in enumerate(x):
        Image.fromarray(values).save(folder / "images" / f"{i:02}.png")
    return folder


def table(text):
    return list(csv.DictReader(text.splitlines()))


@pytest.fixture
def expected(exported, bars_run):
    return load_run(bars_run)[0].predict_proba(np.load(exported / "x.npy"))


@pytest.mark.parametrize("words", [["images"], ["x.npy"], ["x.npz", "--threads", "2"], ["images", "--batch-size", "7"]])
def test_clusters_are_those_of_the_model(cli, exported, expected, words, monkeypatch):
    monkeypatch.chdir(exported)
    code, out, _ = cli("classify", "encoder.tflite", *words, "--probabilities")
    rows = table(out)
    assert code == 0
    assert [int(row["cluster"]) for row in rows] == expected.argmax(1).tolist()
    np.testing.assert_allclose([[float(row[f"q_{k}"]) for k in range(3)] for row in rows], expected, atol=1e-5)
    names = (exported / "labels.txt").read_text().splitlines()
    assert all(row["name"] == names[int(row["cluster"])] for row in rows)
    assert [row["source"] for row in rows][:1] == (["images/00.png"] if words[0] == "images" else [words[0]])


def test_a_file_is_written_and_sizes_are_said(cli, exported, expected, tmp_path):
    code, out, _ = cli("classify", exported / "encoder.tflite", exported / "x.npy", exported / "images", "--output", tmp_path / "o.csv")
    rows = table((tmp_path / "o.csv").read_text())
    assert (code, len(rows)) == (0, 40)
    assert out.startswith("40 examples clustered into")
    names = json.loads((exported / "model.json").read_text())["cluster_names"]
    sizes = 2 * np.bincount(expected.argmax(1), minlength=3)
    assert out.rstrip().endswith("cluster sizes: " + ", ".join(f"{name} {n}" for name, n in zip(names, sizes, strict=True)))
    assert [row["index"] for row in rows[:20]] == [str(i) for i in range(20)]


def test_range_of_the_data(cli, exported, expected, tmp_path):
    """An encoder of floats needs the data's range, from model.json or by hand."""
    code, out, _ = cli("classify", exported / "encoder-int8-io.tflite", exported / "images")
    assert code == 0
    assert np.mean([int(row["cluster"]) for row in table(out)] == expected.argmax(1)) > 0.8
    alone = shutil.copy(exported / "encoder-int8-io.tflite", tmp_path)
    code, _, err = cli("classify", alone, exported / "images")
    assert code == 2
    assert "--range LOW,HIGH" in err
    by_hand = table(cli("classify", alone, exported / "images", "--range", "0,255")[1])
    assert [row["cluster"] for row in by_hand] == [row["cluster"] for row in table(out)]
    assert by_hand[0]["name"] == f"cluster {by_hand[0]['cluster']}"


def test_bytes_come_in_the_range_by_hand(cli, exported):
    """Black and white are the two values given, and greys lie between."""
    path = exported / "encoder-int8-io.tflite"
    encoder, x = ClusterEncoder(path), np.load(exported / "x.npy")
    for low, high in ((-40, 30), (200, 20)):
        out = cli("classify", path, exported / "images", f"--range={low},{high}", "--probabilities")[1]
        found = [[float(row[f"q_{k}"]) for k in range(3)] for row in table(out)]
        _, probabilities = encoder.classify(np.interp(x, [0, 255], [low, high]).astype(np.float32))
        np.testing.assert_allclose(found, probabilities, atol=1e-4)


def test_resize_and_invert_when_asked(cli, exported, expected, tmp_path):
    x = np.load(exported / "x.npy")
    for i, values in enumerate(x):
        Image.fromarray(255 - np.kron(values, np.ones((8, 8), np.uint8))).convert("RGB").save(tmp_path / f"{i:02}.png")
    code, _, err = cli("classify", exported / "encoder.tflite", tmp_path)
    assert code == 2
    assert "[48, 48, 3]" in err
    assert "[6, 6]" in err
    _, out, _ = cli("classify", exported / "encoder.tflite", tmp_path, "--resize", "--invert")
    assert np.mean([int(row["cluster"]) for row in table(out)] == expected.argmax(1)) > 0.85  # resizing blurs a little
    _, out, _ = cli("classify", exported / "encoder.tflite", tmp_path, "--resize")
    assert np.mean([int(row["cluster"]) for row in table(out)] == expected.argmax(1)) < 0.85


@pytest.mark.parametrize(
    ("words", "expected_words"),
    [
        (["encoder.tflite", "missing.png"], "There is no file missing.png"),
        (["missing.tflite", "x.npy"], "cannot be read: No such file"),
        (["x.npy", "x.npy"], "is not a TFLite file"),
        (["generator.tflite", "x.npy"], "has no signature 'cluster'"),
        (["encoder.tflite", "labels.txt"], "cannot be read as an image"),
        (["encoder.tflite", "empty"], "The folder empty has no images; give one"),
        (["encoder.tflite", "bad.npy"], "bad.npy cannot be read as an array; write it with np.save"),
        (["encoder.tflite", "wrong.npy"], "has the shape [2, 5, 6]; this encoder takes [n, 6, 6]"),
        (["encoder.tflite", "x.npy", "--batch-size", "0"], "must be at least 1"),
        (["encoder.tflite", "x.npy", "--threads", "0"], "must be at least 1"),
        (["encoder.tflite", "x.npy", "--output", "o.txt"], "must end in .csv"),
        (["encoder.tflite", "x.npy", "--range", "a"], "not two numbers"),
        (["encoder.tflite", "x.npy", "--resize", "squeeze"], "invalid choice: 'squeeze'"),
        (["encoder.tflite"], "required"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(cli, exported, words, expected_words, tmp_path, monkeypatch):
    for name in ("encoder.tflite", "generator.tflite", "x.npy", "labels.txt"):
        shutil.copy(exported / name, tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.npy").write_text("hello")
    np.save(tmp_path / "wrong.npy", np.zeros((2, 5, 6), np.uint8))
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("classify", *words)
    assert code == 2
    assert expected_words in err
    assert "Traceback" not in err
    assert not out


def test_nothing_is_written_when_an_image_is_bad(cli, exported, tmp_path):
    shutil.copytree(exported / "images", tmp_path / "images")
    bad = tmp_path / "images" / "99.png"
    bad.write_text("no image")
    (tmp_path / "o.csv").write_text("before")
    words = (tmp_path / "images", bad, "--output", tmp_path / "o.csv", "--batch-size", 4)
    code, _, err = cli("classify", exported / "encoder.tflite", *words)
    assert code == 2
    assert "99.png cannot be read" in err
    assert (tmp_path / "o.csv").read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"images", "o.csv"}


def test_what_cannot_be_read_in_a_folder_has_a_row_with_the_reason(cli, exported, tmp_path):
    shutil.copytree(exported / "images", tmp_path / "images")
    words = ("classify", exported / "encoder.tflite", tmp_path / "images", "--batch-size", 4)
    before = table(cli(*words, "--probabilities")[1])
    assert "error" not in before[0]
    (tmp_path / "images" / "00.txt").write_text("notes")
    (tmp_path / "images" / "04.png.png").write_text("no image")
    (tmp_path / "images" / "99.jpg").touch()
    code, out, err = cli(*words, "--probabilities")
    rows = table(out)
    assert code == 0
    assert [{k: v for k, v in row.items() if k != "error"} for row in rows if not row["error"]] == before
    wrong = [row for row in rows if row["error"]]
    assert [(row["source"], row["error"]) for row in wrong] == [
        (f"{tmp_path}/images/04.png.png", "it holds something else"),
        (f"{tmp_path}/images/99.jpg", "it is empty"),
    ]
    assert rows.index(wrong[0]) == 5  # where its name puts it
    assert all(not value for row in wrong for name, value in row.items() if name not in ("source", "index", "error"))
    assert "04.png.png (it holds something else)" in err
    assert "Passed over, as no images: 1 .txt." in err
    code, out, _ = cli(*words, "--output", tmp_path / "o.csv")
    assert (code, len(table((tmp_path / "o.csv").read_text()))) == (0, 22)
    assert out.startswith("20 examples clustered into")
    assert ", 2 could not be read; cluster sizes" in out
    for path in (tmp_path / "images").glob("[0-3]*.png"):
        path.unlink()
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert "None of 1 files can be read as an image; the first is" in err


def test_folders_within_are_searched_and_linked_ones_too(cli, exported, tmp_path):
    """As train and predict do; the names are the files' paths as given."""
    shutil.copytree(exported / "images", tmp_path / "elsewhere")
    (tmp_path / "photos" / "a" / "b").mkdir(parents=True)
    shutil.copy(exported / "images" / "00.png", tmp_path / "photos" / "a" / "b")
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    rows = table(cli("classify", exported / "encoder.tflite", tmp_path / "photos")[1])
    expected = ["a/b/00.png", *(f"linked/{i:02}.png" for i in range(20))]
    assert [row["source"] for row in rows] == [f"{tmp_path}/photos/{name}" for name in expected]
    assert rows[0]["cluster"] == rows[1]["cluster"]


@pytest.mark.parametrize("stored", ["pad", "crop", "stretch", None, "nothing"])
def test_images_come_to_the_encoders_shape_as_in_training(cli, exported, tmp_path, stored):
    """model.json says how; --resize with a word says otherwise. Files of before say nothing: they refuse, or stretch."""
    for name in ("encoder.tflite", "model.json"):
        shutil.copy(exported / name, tmp_path)
    about = json.loads((tmp_path / "model.json").read_text())
    assert about["input"]["resize"] is None  # trained on an array, whose images all have the shape
    del about["input"]["resize"]
    if stored != "nothing":
        about["input"]["resize"] = stored
    (tmp_path / "model.json").write_text(json.dumps(about))
    values = np.random.default_rng(0).integers(0, 256, (20, 50)).astype(np.uint8)
    path = tmp_path / "wide.png"
    Image.fromarray(values).save(path)
    encoder = ClusterEncoder(tmp_path / "encoder.tflite")

    def found(*words):
        code, out, err = cli("classify", tmp_path / "encoder.tflite", path, "--probabilities", *words)
        return [float(table(out)[0][f"q_{k}"]) for k in range(3)] if code == 0 else err

    def wanted(resize):
        return encoder.classify(load_image(path, (6, 6), resize=resize)[None])[1][0]

    assert np.abs(wanted("pad") - wanted("stretch")).max() > 1e-3
    if stored in (None, "nothing"):
        assert "[20, 50], and this encoder takes [6, 6]" in found()
    else:
        np.testing.assert_allclose(found(), wanted(stored), atol=1e-5)
    alone = {"nothing": "stretch", None: "pad"}.get(stored, stored)
    np.testing.assert_allclose(found("--resize"), wanted(alone), atol=1e-5)
    for resize in ("pad", "crop", "stretch"):
        np.testing.assert_allclose(found("--resize", resize), wanted(resize), atol=1e-5)
