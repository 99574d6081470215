"""Whatever Keras, TensorFlow, the terminal and the locale are set to: the same numbers, or one sentence."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf import NVISAClustering, NVISAConfig, StdAnnealing, keras_classes
from nvisa_tf.config import backend
from nvisa_tf.models.nvisa.model import NVISA
from nvisa_tf.models.registry import import_models

WORDS = "--preset random_small --n-clusters 3 --epochs 2 --latent-dim 2 --n-samples 3 --forward-precision float32"
WORDS += " --encoder-units 8 --posterior-units 8 --decoder-units 8"


def python(*words, **environment):
    """A process of its own that knows nothing of this one's settings."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("KERAS", "TF_", "LC_", "LANG", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-P", *map(str, words)], env={**keep, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}, capture_output=True, check=False
    )


@pytest.fixture(scope="module")
def keras_home(tmp_path_factory):
    """A folder with Keras' settings of another program."""
    folder = tmp_path_factory.mktemp("keras")
    settings = {"backend": "jax", "floatx": "float64", "image_data_format": "channels_first", "epsilon": 1e-3}
    (folder / "keras.json").write_text(json.dumps(settings))
    return str(folder)


def test_a_run_is_the_same_anywhere(tmp_path, make_blobs, keras_home):
    """Keras set for another program, no home, no terminal, no GPU, an ASCII locale; the file's name is not ASCII."""
    x, _ = make_blobs(40)
    file, run = tmp_path / "Blüten 花.npy", tmp_path / "Lauf-é"
    np.save(file, x)
    environment = {
        "KERAS_HOME": keras_home, "KERAS_BACKEND": "torch", "TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "", "TERM": "dumb",
        "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "LC_ALL": "C", "PYTHONIOENCODING": "ascii",
    }  # fmt: skip
    done = python("-m", "nvisa_tf", "train", "--dataset", file, "--out", run, *WORDS.split(), **environment)
    assert done.returncode == 0, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    options = {"encoder_units": (8,), "posterior_units": 8, "decoder_units": (8,), "latent_dim": 2, "n_samples": 3, "epochs": 2}
    with pytest.warns(UserWarning, match="clusters"):
        here = NVISAClustering(3, preset="random_small", options=options).fit(x)
    there = keras.saving.load_model(run / "model.keras")
    np.testing.assert_allclose(there.predict_proba(x), here.predict_proba(x), rtol=1e-5)


@pytest.mark.parametrize("chosen_by", ["variable", "file"])
def test_another_backend_is_one_sentence(keras_home, chosen_by):
    environment = {"KERAS_BACKEND": "jax"} if chosen_by == "variable" else {"KERAS_HOME": keras_home}
    code = "try:\n    from nvisa_tf import load_run\nexcept ImportError as error:\n    print(error)"
    done = python("-c", code, **environment)
    assert done.stdout.decode().strip() == backend.MESSAGE


def test_another_backend_that_is_installed_is_refused_too(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(ImportError, match=r"set KERAS_BACKEND=tensorflow before keras is imported\.$"):
        backend.require_tensorflow_backend()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A compiled model in a file, and what it says of some examples."""
    config = NVISAConfig(input_shape=(4,), n_clusters=3, latent_dim=2, encoder_units=(8,), posterior_units=8, decoder_units=(8,))
    model = NVISA(config, seed=3)
    model.compile(annealing_x=StdAnnealing(10), n_samples=2)
    path = tmp_path_factory.mktemp("model") / "clusters.keras"
    model.save(path)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    return path, x, model.predict_proba(x)


def test_import_nvisa_tf_is_enough_to_load_a_model(model_file):
    path, x, expected = model_file
    code = (
        "import sys, nvisa_tf, keras, numpy\n"
        "assert 'nvisa_tf.models' not in sys.modules\n"
        f"model = keras.saving.load_model({str(path)!r})\n"
        f"print(model.compiled, type(model.optimizer).__name__, model.predict_proba(numpy.array({x.tolist()})).tolist())"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr.decode()
    compiled, optimizer, found = done.stdout.decode().split(maxsplit=2)
    assert (compiled, optimizer) == ("True", "FusedAdam")
    np.testing.assert_allclose(json.loads(found), expected, rtol=1e-5)


@pytest.fixture
def unregistered():
    """Keras as it is before a class of this package was imported."""
    import_models()
    known = keras.saving.get_custom_objects()
    ours = {name: known.pop(name) for name in list(known) if name.startswith("nvisa_tf>")}
    yield ours
    known.update(ours)


def test_it_is_enough_after_keras_too(model_file, unregistered):
    path, x, expected = model_file
    with pytest.raises(TypeError, match="Could not locate class 'NVISA'"):
        keras.saving.load_model(path)
    keras_classes.register_when_imported()
    model = keras.saving.load_model(path)
    assert type(model) is NVISA
    np.testing.assert_array_equal(model.predict_proba(x), expected)


def test_every_registered_class_is_known_beforehand(unregistered):
    assert {f"{keras_classes.PACKAGE}>{name}": f"nvisa_tf.{module}" for name, module in keras_classes.HOME.items()} == {
        name: cls.__module__ for name, cls in unregistered.items()
    }


@pytest.fixture
def settings():
    """Keras' and TensorFlow's settings, brought back at the end."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    yield keras.config
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    tf.config.run_functions_eagerly(False)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_precision_is_not_keras_own(settings, monkeypatch):
    """Networks with every kind of layer, the autoencoder's stage and the mixture: the same numbers to the last bit."""
    x = np.random.default_rng(0).normal(size=(40, 5, 6))
    options = {
        "encoder_units": (6,), "posterior_units": 6, "decoder_units": (6,), "latent_dim": 2, "n_samples": 2, "epochs": 1, "batch_size": 20,
        "encoder_filters": (2,), "decoder_filters": (3, 2), "init": "ae_kmeans", "init_epochs": 1, "ema_momentum": 0.5,
    }  # fmt: skip
    monkeypatch.setattr("nvisa_tf.models.nvisa.initialization.LEAST_STEPS", 2)
    monkeypatch.setattr("nvisa_tf.models.nvisa.initialization.DISTILLATION_EPOCHS", 1)
    tf.config.run_functions_eagerly(True)

    def answers():
        fitted = NVISAClustering(2, preset="random_small", options=options).fit(x)
        assert {weight.dtype for weight in fitted.model_.weights} == {"float32", "int64"}
        return fitted.predict_proba(x), fitted.transform(x), fitted.score_samples(x), fitted.model_.generate(3)

    expected = answers()
    for change in (
        lambda: settings.set_floatx("float64"),
        lambda: settings.set_dtype_policy("mixed_float16"),
        lambda: settings.set_dtype_policy("mixed_bfloat16"),
    ):
        change()
        for found, value in zip(answers(), expected, strict=True):
            np.testing.assert_array_equal(found, value)
