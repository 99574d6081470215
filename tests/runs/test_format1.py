"""A run directory of format 1, made by the commit 4db2a12 with the options in its run.json: it loads, is scored, and goes on."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from nvisa_tf import NVISA, RunDirectory, StopReason, load_dataset, load_run
from nvisa_tf.config import format1
from nvisa_tf.config.options import near
from nvisa_tf.config.run import RunConfig, option_types
from nvisa_tf.io.run_directory import FORMAT
from nvisa_tf.runs.workflows import finish_run, resume_run

FIXTURES = Path(__file__).parents[1] / "fixtures" / "format1"


@pytest.fixture
def old_run(tmp_path):
    return Path(shutil.copytree(FIXTURES / "run", tmp_path / "run"))


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def assert_answers_as(model, x, expected):
    with np.load(FIXTURES / expected) as arrays:
        np.testing.assert_allclose(model.predict_proba(x), arrays["q"], atol=5e-3)
        np.testing.assert_allclose(model.embed(x), arrays["z"], atol=2e-2)
        # The draws were others then: each example's own since format 3, so that the means alone compare.
        scores, errors = model.score_samples(x[:50], 20, return_std=True)
        difference = scores - arrays["bound"]
        assert abs(difference.mean()) < 4 * np.sqrt(2 * (errors**2).mean() / len(difference))
        assert np.corrcoef(scores, arrays["bound"])[0, 1] > 0.9


def test_its_model_file_answers_as_it_did(old_run, digits):
    model, config, run = load_run(old_run)
    assert_answers_as(model, digits.test.x, "expected.npz")
    assert config.model.anneal_mode == "exponential"
    assert config.model.consistency_weight == 2.0
    assert run.report()["initialization"]["distilled_accuracy"] == pytest.approx(0.44166667)
    assert run.report()["held_out_iw_bound"] == pytest.approx(float(run.metrics()[-1]["held_out_iw_bound"]), abs=1e-4)


def test_its_checkpoint_answers_as_it_did(old_run, digits):
    (old_run / "model.keras").unlink()
    assert_answers_as(load_run(old_run)[0], digits.test.x, "expected.npz")


def test_its_keras_file_is_compiled_as_it_was(old_run):
    model = keras.saving.load_model(old_run / "model.keras")
    assert isinstance(model, NVISA)
    options = model.gradient_step.options
    assert (options.augment, options.consistency_weight, options.n_samples) == (True, 2.0, 3)
    assert options.augment_shift == pytest.approx(1 / 14)
    assert model.gradient_step.annealing_x.mode == "exponential"
    assert float(model.gradient_step.annealing_x(33)) == pytest.approx(0.25 * 2 ** (-33 / (120 * 11)))


def test_it_goes_on_as_it_would_have(old_run, digits):
    run = RunDirectory.open(old_run)
    config = run.config().replace({"epochs": 6})
    trainer = resume_run(run, config, digits)
    assert trainer.step == 33
    assert trainer.train() is StopReason.FINISHED
    assert_answers_as(trainer.model, digits.test.x, "expected_resumed.npz")
    report = finish_run(trainer, config, digits)
    assert report["accuracy"] == pytest.approx(0.483, abs=0.03)
    assert report["initialization"]["method"] == "ae_gmm"
    assert run.info()["format"] == FORMAT
    assert "test_bound" not in run.metrics_file.read_text()
    assert [float(row["epoch"]) for row in run.metrics()] == [1, 2, 3, 4, 5, 6]
    assert load_run(old_run)[1] == config  # config.toml is one of today's


def test_a_kill_on_the_way_to_todays_format_leaves_it_readable(old_run, monkeypatch):
    run = RunDirectory.open(old_run)
    expected = run.config(), run.report(), run.init(), run.metrics()
    monkeypatch.setattr("nvisa_tf.io.run_directory.json.dumps", lambda *_, **__: 1 / 0)  # at the first JSON file
    with pytest.raises(ZeroDivisionError):
        run.upgrade()
    monkeypatch.undo()
    assert run.info()["format"] == 1
    assert (run.config(), run.report(), run.init(), run.metrics()) == expected
    run.upgrade()
    assert (run.config(), run.report(), run.init(), run.metrics()) == expected
    assert run.info()["format"] == FORMAT


def test_every_name_that_is_said_to_be_todays_is():
    for new in format1.OPTIONS.values():
        assert new in option_types("nvisa"), near(new, option_types("nvisa"))
    for (name, _), value in format1.VALUES.items():
        RunConfig().replace({name: value})
