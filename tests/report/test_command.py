"""nvisa-tf report, and what needs no TensorFlow."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from nvisa_tf import RunConfig
from nvisa_tf.cli import report
from nvisa_tf.cli.main import _parse
from nvisa_tf.data import load_splits
from nvisa_tf.report.page import read
from nvisa_tf.runs.workflows import finish_run, start_run


def command(*words):
    return report.run(_parse(["nvisa-tf", "report", *map(str, words)]))


@pytest.fixture(scope="module")
def finished(bar_images, tmp_path_factory):
    """A run as training leaves it."""
    folder = tmp_path_factory.mktemp("reported")
    np.savez(folder / "bars.npz", x=bar_images[0], y=bar_images[1])
    options = {"n_clusters": 3, "latent_dim": 3, "encoder_units": (16,), "decoder_units": (16,), "epochs": 20, "batch_size": 50}
    config = RunConfig.of("ae_gmm", {**options, "dataset": str(folder / "bars.npz"), "learning_rate": 1e-2})
    splits = load_splits(config.data)
    trainer = start_run(config, splits, str(folder / "run"))
    trainer.train()
    finish_run(trainer, config, splits)
    return folder / "run"


@pytest.fixture
def copied(finished, tmp_path):
    """A run that may be changed, as an earlier version left it: without a page, a reference or warnings."""
    run = shutil.copytree(finished, tmp_path / "run")
    for name in ("report.html", "reference.npz", "clusters.csv"):
        (run / name).unlink(missing_ok=True)
    scores = json.loads((run / "report.json").read_text())
    scores.pop("warnings", None)
    (run / "report.json").write_text(json.dumps(scores))
    return run


def test_training_ends_with_the_page(finished):
    content, pictures = read(finished / "report.html")
    assert (content["n"], content["method"], content["curves"][0]["title"]) == (300, "ae_gmm", "autoencoder: loss")
    assert len(pictures) > 36


def test_a_run_of_before_gets_its_page(copied, capsys, tmp_path):
    assert command(copied) == 0
    assert capsys.readouterr().out.startswith(f"Written: {copied / 'report.html'} (0.")
    content, pictures = read(copied / "report.html")
    assert (content["n"], sum(content["sizes"]), content["scores"]["of"]) == (300, 300, 30)
    assert content["scores"]["accuracy"] == json.loads((copied / "report.json").read_text())["accuracy"]
    assert len(pictures) > 36
    assert command(copied, "--output", tmp_path / "elsewhere.html") == 0
    assert read(tmp_path / "elsewhere.html")[0]["sizes"] == content["sizes"]


def test_data_that_are_gone_or_others_are_refused(copied, tmp_path):
    config = (copied / "config.toml").read_text()
    where = next(line.split('"')[1] for line in config.splitlines() if line.startswith("dataset"))
    (copied / "config.toml").write_text(config.replace(where, str(tmp_path / "gone.npz")))
    with pytest.raises(FileNotFoundError, match=r"There is no file .*gone\.npz.*--data-dir"):
        command(copied)
    np.savez(tmp_path / "gone.npz", x=np.random.default_rng(0).integers(0, 255, (300, 6, 6)).astype(np.uint8))
    with pytest.raises(ValueError, match="have changed since it began"):
        command(copied)
    with pytest.raises(ValueError, match=r"must end in \.html or \.htm"):
        command(copied, "--output", tmp_path / "page.pdf")
    assert not (copied / "report.html").exists()


def test_names_need_neither_tensorflow_nor_scikit_learn():
    code = "import sys; from nvisa_tf.report import rename_report; print({'tensorflow', 'keras', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
