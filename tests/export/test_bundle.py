import json
import os
import shutil

import pytest

from nvisa_tf.export import bundle, sidecar
from nvisa_tf.export.bundle import export_run
from nvisa_tf.export.runtime import ClusterEncoder
from nvisa_tf.runs.workflows import load_run


@pytest.fixture(name="run")
def _run(bars_run):
    return bars_run


def test_every_format_is_verified_and_described(run, tmp_path):
    files = export_run(run, tmp_path, label_names={0: "left", 1: "middle", 2: "right"})
    assert {f.path.name for f in files} == {"saved_model", "encoder.tflite", "generator.tflite", "model.keras"}
    assert all(f.verification.agreement == 1 and f.verification.examples == 30 for f in files if f.verification)
    content = sidecar.read(tmp_path)
    assert content["input"] == {
        "shape": [6, 6],
        "dtype": "uint8",
        "range": [0, 255],
        "resize": None,  # trained on an array
        "preprocessing": "inside; give raw values as the data set has them",
    }
    image, probabilities = {"shape": [None, 6, 6], "dtype": "uint8"}, {"shape": [None, 3], "dtype": "float32"}
    for entry in content["files"]:
        if entry["path"] in ("saved_model", "encoder.tflite"):
            cluster = {"cluster": {"shape": [None], "dtype": "int32"}, "probabilities": probabilities}
            assert entry["signatures"]["cluster"] == {"inputs": {"image": image}, "outputs": cluster}
            assert entry["signatures"]["embed"]["outputs"] == {"embedding": {"shape": [None, 2], "dtype": "float32"}}
        assert sidecar.describe(tmp_path / entry["path"]) == {"bytes": entry["bytes"], "sha256": entry["sha256"]}
    labels = (tmp_path / "labels.txt").read_text().splitlines()
    assert labels == content["cluster_names"]
    assert set(labels) <= {"left", "middle", "right", "cluster 0", "cluster 1", "cluster 2"}
    assert not [name for name in os.listdir(tmp_path) if "tmp" in name]
    # A further export keeps what is there.
    export_run(run, tmp_path, formats=["tflite"], quantize="float16", signatures=["cluster"])
    names = {entry["path"] for entry in sidecar.read(tmp_path)["files"]}
    assert names == {"saved_model", "encoder.tflite", "generator.tflite", "model.keras", "encoder-float16.tflite"}
    assert not ClusterEncoder(tmp_path / "encoder-float16.tflite").has_embed


def test_an_encoder_that_does_not_agree_is_not_kept(run, tmp_path, monkeypatch):
    export_run(run, tmp_path, formats=["tflite"])
    before = (tmp_path / "encoder.tflite").read_bytes()
    honest = bundle.open_encoder

    def shifted(path, form):
        found = honest(path, form)
        return found._replace(answer=lambda x: (told := found.answer(x)) | {"cluster": (told["cluster"] + 1) % 3})

    monkeypatch.setattr(bundle, "open_encoder", shifted)
    with pytest.raises(RuntimeError, match=r"0\.00% equal clusters, on 30 examples"):
        export_run(run, tmp_path, formats=["tflite"])
    assert (tmp_path / "encoder.tflite").read_bytes() == before
    with pytest.raises(RuntimeError, match="below --min-agreement"):
        export_run(run, tmp_path, formats=["tflite"], quantize="int8")
    with pytest.raises(RuntimeError, match="a float32 file must stay below"):
        export_run(run, tmp_path, formats=["saved_model"])
    assert set(os.listdir(tmp_path)) == {"encoder.tflite", "generator.tflite", "model.json", "labels.txt"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"formats": ["onnx"]}, "no 'onnx' to export; there are saved_model"),
        ({"quantize": "int4"}, "no 'int4'"),
        ({"signatures": ["embed"]}, "cluster must be among"),
        ({"label_names": {0: "left"}}, "which has no name"),
    ],
)
def test_bad_options(run, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        export_run(run, tmp_path / "out", **options)
    assert not (tmp_path / "out" / "model.json").exists()


@pytest.mark.parametrize(
    ("text", "words"), [(None, "cannot be read"), ("{", "cannot be read"), ("[]", "not an nvisa-tf sidecar"), ('{"format": 9}', "upgrade")]
)
def test_bad_sidecars(tmp_path, text, words):
    if text is not None:
        (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        sidecar.read(tmp_path)


def test_cli(run, tmp_path, capsys):
    from nvisa_tf.cli import export
    from nvisa_tf.cli.main import _parse

    names = tmp_path / "names.csv"
    names.write_text("0,left\n1,middle\n2,right\n")
    flags = _parse(
        ["nvisa-tf", "export", str(run), "--out", str(tmp_path / "out"), "--name-clusters", str(names), "--signature", "cluster"]
    )
    assert export.run(flags) == 0
    out = capsys.readouterr().out
    assert "encoder.tflite: 0.0" in out
    assert "100.00% of 30 clusters as in Keras" in out
    assert json.loads((tmp_path / "out" / "model.json").read_text())["files"][0]["verification"]["agreement"] == 1
    names.write_text("zero,left\n")
    with pytest.raises(ValueError, match="lines of label,name"):
        export.run(flags)


def verify(*words):
    from nvisa_tf.cli import verify as command
    from nvisa_tf.cli.main import _parse

    return command.run(_parse(["nvisa-tf", "verify", *map(str, words)]))


def test_verify_repeats_the_comparison(run, tmp_path, capsys):
    export_run(run, tmp_path)
    data = run.parent / "bars.npz"
    for name in ("encoder.tflite", "saved_model", "model.keras"):
        assert verify(tmp_path / name, "--data", data) == 0
        assert f"{name}: 100.00% of 300 clusters as in Keras" in capsys.readouterr().out
    with pytest.raises(ValueError, match="is a generator"):
        verify(tmp_path / "generator.tflite", "--data", data)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: p.unlink(), "There is no file"),
        (lambda p: p.write_bytes(p.read_bytes()[:1000]), "its checksum differs"),
        (lambda p: (p.parent / "model.json").unlink(), "cannot be read"),
        (lambda p: p.rename(p.with_name("other.tflite")), "There is no file"),
        (lambda p: (p.parent / "model.json").write_text('{"format": 1, "files": [], "run": "x"}'), "does not know encoder.tflite"),
    ],
)
def test_verify_refuses_in_one_sentence(run, tmp_path, spoil, words):
    export_run(run, tmp_path, formats=["tflite"], signatures=["cluster"])
    spoil(tmp_path / "encoder.tflite")
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        verify(tmp_path / "encoder.tflite", "--data", run.parent / "bars.npz")
    assert "\n" not in str(caught.value)


def test_verify_fails_where_the_encoder_is_another_models(run, tmp_path):
    """Its own sum is right, but the model it is held against has changed."""
    export_run(run, tmp_path / "out", formats=["tflite"])
    other = tmp_path / "run"
    shutil.copytree(run, other)
    model, _, _ = load_run(other)
    model.cluster_head.kernel.assign(-model.cluster_head.kernel)
    model.save(other / "model.keras")
    with pytest.raises(RuntimeError, match="differs from the Keras model"):
        verify(tmp_path / "out" / "encoder.tflite", "--data", run.parent / "bars.npz", "--run", other)
