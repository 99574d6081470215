"""Exported encoders with the backbone inside: raw photos to clusters."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from nvisa_tf import RunConfig, load_dataset
from nvisa_tf.backbones import load_backbone
from nvisa_tf.data import load_splits
from nvisa_tf.export.bundle import export_run
from nvisa_tf.export.runtime import ClusterEncoder
from nvisa_tf.export.web import export_site
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.runs import workflows


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two clusters of photos, red and blue ones, by a small network."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for i in range(24):
        colour = np.array([[200, 40, 40], [40, 40, 200]][i % 2])
        pixels = np.clip(colour + random.normal(0, 30, (40, 50, 3)), 0, 255).astype(np.uint8)
        (folder / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "photos" / "ab"[i % 2] / f"{i:02}.png")
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(6, 3, strides=2, activation="relu")])
    network.save(folder / "small.keras")
    network.export(folder / "small.tflite", format="litert", verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NVISA_TF_CACHE", str(folder / "cache"))
        options = {"dataset": str(folder / "photos"), "backbone": str(folder / "small.keras"), "backbone_pixels": "unit", "split": "all"}
        config = RunConfig.of("ae_gmm", {**options, "n_clusters": 2, "epochs": 20, "batch_size": 8, "encoder_units": (8,)})
        splits = load_splits(config.data)
        trainer = workflows.start_run(config, splits, str(folder / "run"))
        trainer.train()
        workflows.finish_run(trainer, config, splits)
        yield folder / "run"


@pytest.fixture(scope="module")
def exported(run):
    export_run(run, run / "export", ["tflite", "saved_model"])
    return run / "export"


def clusters_of(run):
    return {row["file"]: int(row["cluster"]) for row in csv.DictReader((run / "clusters.csv").open())}


def test_an_encoder_takes_photos_and_answers_as_the_run_does(run, exported):
    encoder = ClusterEncoder(exported / "encoder.tflite")
    assert (encoder.shape, encoder.dtype) == ((32, 32, 3), np.uint8)
    about = json.loads((exported / "model.json").read_text())
    assert (about["input"]["shape"], about["input"]["resize"], about["input"]["backbone"]) == ([32, 32, 3], "crop", "small.keras")
    assert about["input"]["range"] == [0, 255]
    assert {file["path"] for file in about["files"]} == {"encoder.tflite", "saved_model"}
    assert all(file["verification"]["examples"] == 24 for file in about["files"])
    photos = load_dataset(run.parent / "photos", image_shape=(32, 32, 3), resize="crop", split="all").train
    theirs = clusters_of(run)
    assert encoder.classify(photos.x)[0].tolist() == [theirs[name] for name in photos.ids]
    assert encoder.embed(photos.x).shape == (24, 10)


def test_the_photos_are_those_that_the_backbone_saw(run):
    from nvisa_tf.export.photos import some_photos

    splits = workflows.load_run_splits(RunDirectory.open(run), RunDirectory.open(run).config())
    some = some_photos(splits.train, (32, 32, 3), 5)
    pixels = load_dataset(run.parent / "photos", image_shape=(32, 32, 3), resize="crop", split="all").train
    np.testing.assert_array_equal(some.x, pixels.x[::5])


@pytest.mark.parametrize("quantize", ["float16", "int8"])
def test_it_can_be_quantized(run, tmp_path, quantize):
    (file,) = export_run(run, tmp_path, ["tflite"], quantize)
    assert file.verification.agreement == 1


def test_classify_brings_photos_of_any_size_to_it(exported, run, capsys):
    from nvisa_tf.cli import classify
    from nvisa_tf.cli.main import _parse

    assert classify.run(_parse(["nvisa-tf", "classify", str(exported / "encoder.tflite"), str(run.parent / "photos")])) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    theirs = clusters_of(run)
    assert [int(row["cluster"]) for row in rows] == [theirs[row["source"].split("photos/")[1]] for row in rows]


def test_the_model_of_vectors_alone(run, tmp_path):
    files = export_run(run, tmp_path, ["tflite"], head_only=True)
    assert ClusterEncoder(tmp_path / "encoder.tflite").shape == (6,)
    assert files[0].size < (run / "export" / "encoder.tflite").stat().st_size


def test_a_keras_file_has_no_backbone_inside(run, tmp_path):
    with pytest.raises(ValueError, match=r"model\.keras is the model of vectors"):
        export_run(run, tmp_path / "e", ["keras"])
    assert not (tmp_path / "e").exists()


def test_without_the_photos_nothing_can_be_checked(run, tmp_path):
    moved = tmp_path / "moved"
    features = workflows.load_run_splits(RunDirectory.open(run), RunDirectory.open(run).config()).train
    np.save(tmp_path / "f.npy", features.x)
    config = json.loads((next((run.parent / "cache").glob("*.json"))).read_text())
    (tmp_path / "f.npy.json").write_text(json.dumps({**config, "of": str(moved)}))
    shutil.copytree(run, tmp_path / "run")
    toml = (tmp_path / "run" / "config.toml").read_text().replace(str(run.parent / "photos"), str(tmp_path / "f.npy"))
    lines = ['backbone = ""' if line.startswith("backbone = ") else line for line in toml.splitlines() if "backbone_pixels" not in line]
    (tmp_path / "run" / "config.toml").write_text("\n".join(lines).replace('resize = "crop"', 'resize = "auto"'))
    with pytest.raises(ValueError, match="are no longer where they were, and some are needed to check the file"):
        export_run(tmp_path / "run", tmp_path / "e", ["tflite"])
    assert not (tmp_path / "e").exists()


def test_a_tflite_backbone_cannot_be_put_inside(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    info = json.loads((run / "run.json").read_text())
    path = str(run.parent / "small.tflite")
    made_by = {**info["data"]["backbone"]["made_by"], "name": path}
    info["data"]["backbone"] |= {**load_backbone(path, pixels=made_by["pixels"]).about(), "made_by": made_by}
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=r"small\.tflite is a TFLite file, which cannot be put into another one"):
        export_run(tmp_path / "run", tmp_path / "e", ["tflite"])


def test_a_photo_in_the_browser(run, tmp_path, browser, served):
    """There is nothing to draw, and a photo of another size gets the cluster that `classify` gives it."""
    from selenium.webdriver.support.wait import WebDriverWait

    export_site(run, tmp_path / "site")
    theirs = clusters_of(run)
    with served(tmp_path / "site") as url:
        browser.get(url)
        WebDriverWait(browser, 60).until(lambda _: not browser.find_element("id", "about").text.startswith("Loading"))
        shown = {
            name: browser.find_element("id", name).is_displayed() for name in ("pad", "dark", "samples-section", "camera", "drop-here")
        }
        assert shown == {"pad": False, "dark": False, "samples-section": False, "camera": True, "drop-here": True}
        files = ["a/00.png", "b/01.png"]
        browser.find_element("id", "files").send_keys("\n".join(str(run.parent / "photos" / name) for name in files))
        WebDriverWait(browser, 60).until(lambda _: len(browser.find_elements("css selector", "#gallery button")) == 2)
        found = [int(button.get_attribute("data-cluster")) for button in browser.find_elements("css selector", "#gallery button")]
    assert found == [theirs[name] for name in files]
