import json
import shutil

import numpy as np
import pytest

from nvisa_tf.export.benchmark import measure, runtime_of
from nvisa_tf.export.bundle import export_run


@pytest.fixture(scope="module")
def exported(bars_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    export_run(bars_run, folder)
    return folder


def test_files_take_turns_and_all_is_reported(cli, exported, tmp_path):
    files = [exported / name for name in ("encoder.tflite", "saved_model", "model.keras")]
    options = ["--batch-sizes", "1,4", "--threads", "1", "--rounds", "2", "--output", tmp_path / "b.json"]
    code, out, err = cli("benchmark", *files, *options)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split(" | ")[1] for line in lines[2:5]] == ["LiteRT", "SavedModel", "Keras"]
    report = json.loads((tmp_path / "b.json").read_text())
    for entry, path in zip(report["files"], files, strict=True):
        assert entry["file"] == path.name
        assert entry["agreement"] == 1
        assert entry["peak_memory_bytes"] > 10e6
        assert set(entry["latency_us_an_image"]) == {"1", "4"}
        for found in entry["latency_us_an_image"].values():
            assert found["calls"] == 50
            assert 0 < found["median"] <= found["p99"]
    assert report["files"][0]["bytes"] == files[0].stat().st_size
    # A process without TensorFlow is smaller than one with it.
    assert report["files"][0]["peak_memory_bytes"] < report["files"][1]["peak_memory_bytes"] / 2


def test_a_generator_among_the_files_is_left_out_and_named(cli, exported):
    files = sorted(exported.glob("*.tflite"))
    assert [path.name for path in files] == ["encoder.tflite", "generator.tflite"]
    code, out, err = cli("benchmark", *files, "--batch-sizes", "1", "--threads", "1", "--rounds", "1")
    assert (code, err) == (0, "")
    assert "| encoder.tflite |" in out
    assert "generator.tflite |" not in out
    assert out.splitlines()[-1] == f"{exported / 'generator.tflite'} draws samples and clusters nothing, so it is left out."


def test_calls_are_timed_as_asked(exported):
    (one,) = measure([exported / "encoder.tflite"], batch_sizes=(2,), threads=(1,), rounds=3, calls=5)
    assert one.latency[2].shape == (15,)
    assert np.all(one.latency[2] > 0)


def test_slow_files_get_fewer_calls_and_it_is_told_how_far_it_is(exported, monkeypatch):
    for name in ("VISIT", "ALL_VISITS", "TELL"):
        monkeypatch.setattr(f"nvisa_tf.export.benchmark.{name}", 1e-9)
    told = []
    (one,) = measure([exported / "encoder.tflite"], batch_sizes=(2,), threads=(1,), tell=told.append)
    assert one.latency[2].shape == (3,)
    assert told == [f"Round {turn} of 3, batches of 2." for turn in (1, 2, 3)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["generator.tflite"], "clusters nothing; give an encoder"),
        (["missing.tflite"], "There is no file missing.tflite"),
        (["labels.txt"], "is no .tflite, .keras or .onnx file"),
        (["bad.tflite"], "bad.tflite is not a TFLite file"),
        (["bad.keras"], "bad.keras cannot be opened"),
        (["encoder.tflite", "--threads", "0"], "not a list of positive integers"),
        (["encoder.tflite", "--rounds", "0"], "must be at least 1"),
        (["encoder.tflite", "--output", "b.txt"], "must end in .json"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(cli, exported, words, expected, tmp_path, monkeypatch):
    for name in ("encoder.tflite", "generator.tflite", "model.json", "labels.txt"):
        shutil.copy(exported / name, tmp_path)
    (tmp_path / "bad.tflite").write_text("hello")
    (tmp_path / "bad.keras").write_text("hello")
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("benchmark", *words)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err
    assert not out


def test_runtimes(exported, tmp_path):
    (tmp_path / "a.onnx").touch()
    assert runtime_of(tmp_path / "a.onnx") == "ONNX Runtime"
    assert runtime_of(exported / "saved_model") == "SavedModel"
