import subprocess
import sys

import numpy as np
import pytest

from nvisa_tf import NVISA, NVISAConfig
from nvisa_tf.export.convert import to_tflite
from nvisa_tf.export.runtime import ClusterEncoder
from nvisa_tf.export.signatures import frozen_module

ENCODER_SIGNATURES, GENERATOR_SIGNATURES = ("cluster", "embed"), ("generate",)
IMAGES = np.random.default_rng(0).integers(0, 17, (50, 8, 8)).astype(np.uint8)


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    found = NVISA(NVISAConfig(input_shape=(8, 8), n_clusters=4, latent_dim=3, encoder_units=(32,), posterior_units=16, decoder_units=(16,)))
    for weight in found.trainable_variables:
        weight.assign(weight + 0.2 * rng.normal(size=weight.shape))
    found.set_preprocessing(1 / 16)
    return found


def written(model, path, names=ENCODER_SIGNATURES, quantize="none"):
    dtype = "float32" if quantize == "int8-io" else "uint8"
    offered = model.signatures()
    module, functions = frozen_module({name: offered[name] for name in names}, dtype)
    examples = lambda: ((name, {"image": IMAGES[i : i + 1].astype(dtype)}) for i in range(40) for name in names)  # noqa: E731
    path.write_bytes(to_tflite(module, functions, quantize, examples))
    return path


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    return written(model, tmp_path_factory.mktemp("lite") / "encoder.tflite")


@pytest.mark.parametrize(("threads", "batch_size"), [(1, 64), (2, 7), (1, 1)])
def test_answers_like_keras(model, file, threads, batch_size):
    encoder = ClusterEncoder(file, threads)
    clusters, probabilities = encoder.classify(IMAGES, batch_size)
    np.testing.assert_array_equal(clusters, model.predict_clusters(IMAGES))
    np.testing.assert_allclose(probabilities, model.predict_proba(IMAGES), atol=1e-6)
    np.testing.assert_allclose(encoder.embed(IMAGES, batch_size), model.embed(IMAGES), atol=1e-5)
    assert (encoder.shape, encoder.dtype, encoder.n_clusters) == ((8, 8), np.uint8, 4)


def test_int8_io_takes_and_gives_what_the_others_do(model, tmp_path):
    encoder = ClusterEncoder(written(model, tmp_path / "e.tflite", quantize="int8-io"))
    clusters, probabilities = encoder.classify(IMAGES)
    assert probabilities.dtype == np.float32
    assert np.abs(probabilities.sum(1) - 1).max() < 0.05
    assert np.mean(clusters == model.predict_clusters(IMAGES)) >= 0.9


def test_no_tensorflow_is_imported(file):
    code = (
        "import sys, numpy as np; from nvisa_tf.export.runtime import ClusterEncoder;"
        f"print(ClusterEncoder({str(file)!r}).classify(np.zeros((1, 8, 8), np.uint8))[0].shape);"
        "print(sorted({n.split('.')[0] for n in sys.modules} & {'tensorflow', 'keras', 'absl', 'scipy', 'sklearn', 'tomli_w', 'PIL'}))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["(1,)", "[]"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p, good: None, "cannot be read: No such file"),
        (lambda p, good: p.write_text("hello"), "not a TFLite file"),
        (lambda p, good: p.write_bytes(b""), "not a TFLite file"),
        (lambda p, good: p.write_bytes(good[: len(good) // 2]), "is damaged"),
        (lambda p, good: p.write_bytes(good[:100]), "is damaged"),
    ],
)
def test_wrong_files_are_one_sentence(file, tmp_path, make, words):
    make(tmp_path / "e.tflite", file.read_bytes())
    with pytest.raises(ValueError, match=words) as caught:
        ClusterEncoder(tmp_path / "e.tflite")
    assert "\n" not in str(caught.value)


def test_a_generator_is_no_encoder(model, tmp_path):
    with pytest.raises(ValueError, match="has no signature 'cluster'"):
        ClusterEncoder(written(model, tmp_path / "g.tflite", GENERATOR_SIGNATURES))


def test_an_encoder_without_embed(model, tmp_path):
    encoder = ClusterEncoder(written(model, tmp_path / "e.tflite", ("cluster",)))
    with pytest.raises(ValueError, match="without the signature 'embed'"):
        encoder.embed(IMAGES)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 28, 28), np.uint8), r"shape \[2, 28, 28\]; this encoder takes \[n, 8, 8\]"),
        (np.zeros((0, 8, 8), np.uint8), "shape"),
        (np.full((1, 8, 8), np.nan), "NaN or Inf"),
        (np.full((1, 8, 8), 300), "takes bytes"),
        (np.full((1, 8, 8), 0.5), "have fractions"),
        (np.full((1, 8, 8), "a"), "must be numbers"),
    ],
)
def test_wrong_images_are_one_sentence(file, images, words):
    with pytest.raises(ValueError, match=words):
        ClusterEncoder(file).classify(images)


def test_threads():
    with pytest.raises(ValueError, match="at least 1"):
        ClusterEncoder("x", 0)
