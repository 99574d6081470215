"""What an install holds: cli/ and export/ land inside nvisa_tf, by wheel and by editable install.

And classify works where only what the extra `lite` names is installed.
"""

import functools
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nvisa_tf.export.bundle import export_run
from nvisa_tf.runs.workflows import load_run

ROOT = Path(__file__).parents[1]
NOT_AT_THE_TOP = "import importlib.util as u; assert not u.find_spec('cli') and not u.find_spec('export')"
PROBE = "import nvisa_tf, nvisa_tf.cli, nvisa_tf.export; print(nvisa_tf.cli.__file__, nvisa_tf.export.__file__, nvisa_tf.__file__)"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the sources, so that building leaves nothing behind here."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("nvisa_tf", "cli", "export"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


def build(source, hook, out):
    code = f"import sys; from setuptools import build_meta; print(build_meta.{hook}(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(out)], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


def probe(site, cwd):
    # -S leaves out every other site-packages, so only what the wheel brought can be found.
    code = f"import site; site.addsitedir({str(site)!r}); {PROBE}; {NOT_AT_THE_TOP}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split(), done.stderr


def test_wheel(source, tmp_path):
    wheel = build(source, "build_wheel", tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert {name.split("/")[0] for name in names} == {"nvisa_tf", wheel.name.split("-py3")[0] + ".dist-info"}
    assert "nvisa_tf/py.typed" in names
    pages = {f"nvisa_tf/export/web/{path.name}" for path in (ROOT / "export" / "web").iterdir()}
    assert pages <= set(names)
    assert len(pages) == 7
    assert "nvisa_tf/cli/main.py" in names
    shipped = {name for name in names if name.startswith("nvisa_tf/") and name.endswith(".py")}
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "nvisa_tf").rglob("*.py")}
    expected |= {f"nvisa_tf/{path.relative_to(ROOT)}" for folder in ("cli", "export") for path in (ROOT / folder).rglob("*.py")}
    assert shipped == expected
    code, out, err = probe(tmp_path / "site", tmp_path)
    assert code == 0, err
    assert all(str(tmp_path / "site" / "nvisa_tf") in path for path in out)


def test_editable(source, tmp_path):
    wheel = build(source, "build_editable", tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code, out, err = probe(tmp_path / "site", tmp_path)
    assert code == 0, err
    assert out == [str(source / "cli" / "__init__.py"), str(source / "export" / "__init__.py"), str(source / "nvisa_tf" / "__init__.py")]


def test_classify_without_tensorflow(source, tmp_path, bars_run):
    """In a new environment that holds the package and the extra `lite`, and nothing else."""
    export_run(bars_run, tmp_path / "export", formats=["tflite"])
    x = np.load(bars_run.parent / "bars.npz")["x"][:2]
    for i, values in enumerate(x):
        Image.fromarray(values).save(tmp_path / f"{i}.png")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "lite"], check=True)
    run = functools.partial(subprocess.run, capture_output=True, text=True, check=False, cwd=tmp_path, env={"PATH": os.environ["PATH"]})
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pip = [tmp_path / "lite" / "bin" / "pip", "install", "--quiet"]
    for words in (["--no-deps", build(source, "build_wheel", tmp_path)], extras["lite"]):
        done = run([*pip, *words], env=None)
        assert done.returncode == 0, done.stderr
    command = tmp_path / "lite" / "bin" / "nvisa-tf"
    done = run([command, "classify", "export/encoder.tflite", "0.png", "1.png"])
    assert done.returncode == 0, done.stderr
    clusters = [int(line.split(",")[2]) for line in done.stdout.splitlines()[1:]]
    assert clusters == load_run(bars_run)[0].predict_clusters(x).tolist()
    probe = "import sys, nvisa_tf.cli.classify; print('tensorflow' in sys.modules); import tensorflow"
    done = run([tmp_path / "lite" / "bin" / "python", "-c", probe])
    assert done.stdout == "False\n"
    assert "No module named 'tensorflow'" in done.stderr
    done = run([command, "train"])
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "nvisa-tf: train needs tomli_w, which is not installed; pip install nvisa-tf installs all it needs."
    ]
