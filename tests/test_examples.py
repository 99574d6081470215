"""The examples for other languages, compiled and compared with Python."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from nvisa_tf.export.bundle import export_run
from nvisa_tf.export.runtime import ClusterEncoder

CPP = Path(__file__).parents[1] / "examples" / "cpp"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """examples/cpp/classify.cc, built with the library that Python's ai-edge-litert brings."""
    compiler, library = shutil.which("g++"), Path(find_spec("ai_edge_litert").submodule_search_locations[0]) / "libLiteRt.so"
    if not compiler or not library.is_file():
        pytest.skip("needs g++ and a libLiteRt.so")
    path = tmp_path_factory.mktemp("cpp") / "classify"
    words = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-o", path, CPP / "classify.cc", library, f"-Wl,-rpath,{library.parent}"]
    subprocess.run([compiler, *words], check=True)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory, bars_run):
    folder = tmp_path_factory.mktemp("cpp") / "export"
    for quantize in ("none", "int8"):
        export_run(bars_run, folder, formats=["tflite"], quantize=quantize, min_agreement=0.9)
    return folder


def classify(program, encoder, images):
    return subprocess.run([program, encoder, images], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["encoder.tflite", "encoder-int8.tflite"])
def test_clusters_are_those_of_python(program, exported, bars_run, tmp_path, name):
    x = np.load(bars_run.parent / "bars.npz")["x"][::6]
    encoder = ClusterEncoder(exported / name)
    x.astype(encoder.dtype).tofile(tmp_path / "x.raw")
    done = classify(program, exported / name, tmp_path / "x.raw")
    assert done.returncode == 0, done.stderr
    found = np.array([line.split() for line in done.stdout.splitlines()], float)
    clusters, probabilities = encoder.classify(x)
    assert len(set(clusters)) > 1
    # LiteRT's two interfaces choose kernels of their own for int8, which round differently.
    if name == "encoder.tflite":
        np.testing.assert_array_equal(found[:, 0], clusters)
    same = found[:, 0] == clusters
    assert same.mean() >= 0.98
    np.testing.assert_allclose(found[same, 1], probabilities.max(1)[same], atol=1e-5 if name == "encoder.tflite" else 0.1)


def test_refusals(program, exported, tmp_path):
    (tmp_path / "short.raw").write_bytes(b"123")
    for encoder, images, why in (
        (exported / "encoder.tflite", tmp_path / "short.raw", "no whole number of images"),
        (exported / "encoder.tflite", tmp_path / "none.raw", "cannot open"),
        (exported / "generator.tflite", tmp_path / "short.raw", "has no signature 'cluster'"),
    ):
        done = classify(program, encoder, images)
        assert done.returncode == 2
        assert why in done.stderr.splitlines()[-1]
