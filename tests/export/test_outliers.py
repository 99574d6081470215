"""Encoders that tell outliers: what they say against what `predict` says, in every format, by each runtime that is here."""

import numpy as np
import pytest

from nvisa_tf import load_dataset, load_run
from nvisa_tf.evaluation.detector import OutlierDetector
from nvisa_tf.export import bundle, sidecar
from nvisa_tf.export.bundle import export_run
from nvisa_tf.export.runtime import ClusterEncoder
from nvisa_tf.export.verify import open_encoder

RATE = 0.05


@pytest.fixture(name="run")
def _run(bars_run):
    return bars_run


@pytest.fixture(scope="module")
def exported(bars_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return folder, export_run(bars_run, folder, formats=["tflite", "saved_model"], outliers=RATE)


@pytest.fixture(scope="module")
def images(bars_run):
    """Bars as in training, and images of noise and of one colour."""
    rng = np.random.default_rng(3)
    odd = [*rng.integers(0, 256, (20, 6, 6)), *(np.full((6, 6), value) for value in (0, 99, 255))]
    return np.concatenate([np.load(bars_run.parent / "bars.npz")["x"][:50], np.array(odd).astype(np.uint8)])


@pytest.fixture(scope="module")
def expected(bars_run, images):
    data = load_dataset(bars_run.parent / "bars.npz", split="all").train
    detector = OutlierDetector.load(bars_run / "outliers.npz")
    return detector.novelty(load_run(bars_run)[0], type(data)("x", images, None, 255.0), RATE)


@pytest.mark.parametrize("form", ["tflite", "saved_model"])
def test_every_format_says_what_the_run_says(exported, images, expected, form):
    path = exported[0] / ("encoder.tflite" if form == "tflite" else form)
    np.testing.assert_allclose(open_encoder(path, form).answer(images)["novelty"], expected, rtol=1e-3)
    assert (expected[50:] > 1).all()
    assert (expected[:50] > 1).mean() < 0.2


def test_what_it_means_is_described_and_checked(exported, run):
    folder, files = exported
    entries = {entry["path"]: entry for entry in sidecar.read(folder)["files"]}
    for file in files:
        tells = {"false_alarm_rate": RATE, "novelty_above": 1} if file.verification is not None else None
        assert entries[file.path.name]["outliers"] == tells
        if file.verification is not None:
            assert file.signatures["cluster"]["outputs"]["novelty"] == {"shape": [None], "dtype": "float32"}
            assert file.verification.novelty_difference < 1e-3
    assert not ClusterEncoder(export_run(run, folder / "plain", formats=["tflite"])[0].path).has_novelty
    assert {entry["outliers"] for entry in sidecar.read(folder / "plain")["files"]} == {None}


@pytest.mark.parametrize("quantize", ["float16", "dynamic"])
def test_quantized_files_say_nearly_the_same(run, images, expected, tmp_path, quantize):
    (file,) = (file for file in export_run(run, tmp_path, ["tflite"], quantize, outliers=RATE) if file.verification)
    found = ClusterEncoder(file.path).answer(images)["novelty"]
    np.testing.assert_allclose(found, expected, rtol=0.2)
    clear = np.abs(np.log(expected)) > 0.2
    np.testing.assert_array_equal((found > 1)[clear], (expected > 1)[clear])


def test_a_file_that_says_something_else_is_not_kept(run, tmp_path, monkeypatch):
    honest = bundle.open_encoder

    def doubled(path, form):
        found = honest(path, form)
        return found._replace(answer=lambda x: (told := found.answer(x)) | {"novelty": 2 * told["novelty"]})

    monkeypatch.setattr(bundle, "open_encoder", doubled)
    with pytest.raises(RuntimeError, match=r"novelty differs from the run's by 1 of it, on 30 examples; it must stay below 0\.01"):
        export_run(run, tmp_path, ["tflite"], outliers=RATE)
    assert not (tmp_path / "encoder.tflite").exists()


@pytest.mark.parametrize("quantize", ["int8", "int8-io"])
def test_int8_cannot_hold_what_lies_far_out(run, tmp_path, quantize):
    with pytest.raises(ValueError, match=f"Outliers lie beyond the range that {quantize} is made for; choose none, float16 or dynamic"):
        export_run(run, tmp_path / "e", ["tflite"], quantize, outliers=RATE)
    assert not (tmp_path / "e").exists()
