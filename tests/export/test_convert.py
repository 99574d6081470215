import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from nvisa_tf import NVISA, NVISAConfig
from nvisa_tf.export.convert import check_self_contained, save_saved_model, to_tflite
from nvisa_tf.export.formats import QUANTIZATIONS
from nvisa_tf.export.signatures import frozen_module

ENCODER_SIGNATURES, GENERATOR_SIGNATURES = ("cluster", "embed"), ("generate",)
CONFIG = NVISAConfig(input_shape=(8, 8), n_clusters=4, latent_dim=3, encoder_units=(32, 16), posterior_units=16, decoder_units=(16, 32))
IMAGES = np.random.default_rng(0).integers(0, 17, (50, 8, 8)).astype(np.uint8)


def shaken(rng, config=CONFIG):
    model = NVISA(config)
    for weight in model.trainable_variables:
        weight.assign(weight + 0.2 * rng.normal(size=weight.shape))
    model.set_preprocessing(1 / 16)
    return model


def frozen(model, names, dtype):
    offered = model.signatures()
    return frozen_module({name: offered[name] for name in names}, dtype)


def representative(dtype):
    return lambda: ((name, {"image": IMAGES[i : i + 1].astype(dtype)}) for i in range(40) for name in ENCODER_SIGNATURES)


def assert_answers(ask, model, tolerance):
    """`ask(signature, **inputs)` against the Keras model."""
    for n in (1, 7, 50):  # any batch
        x = IMAGES[:n]
        found = ask("cluster", image=x)
        np.testing.assert_allclose(found["probabilities"], model.predict_proba(x), atol=tolerance)
        np.testing.assert_array_equal(found["cluster"], model.predict_clusters(x))
        assert found["cluster"].dtype == np.int32
        np.testing.assert_allclose(ask("embed", image=x)["embedding"], model.embed(x), atol=10 * tolerance)


@pytest.mark.parametrize(
    "changes",
    [{}, {"hold_scales": True}, {"posterior": "mean_field"}, {"likelihood": "bernoulli", "binarize": True}, {"encoder_filters": (4, 8)}],
    ids=str,
)
def test_tflite_and_saved_model_answer_like_keras(changes, tmp_path, rng):
    model = shaken(rng, dataclasses.replace(CONFIG, **changes))
    module, functions = frozen(model, ENCODER_SIGNATURES, "uint8")
    save_saved_model(module, functions, tmp_path / "sm")
    loaded = tf.saved_model.load(str(tmp_path / "sm"))
    assert_answers(lambda name, **inputs: {k: v.numpy() for k, v in loaded.signatures[name](**as_tensors(inputs)).items()}, model, 1e-6)
    content = to_tflite(module, functions, "none", representative(np.uint8))
    interpreter = Interpreter(model_content=content)
    assert set(interpreter.get_signature_list()) == set(ENCODER_SIGNATURES)
    assert_answers(lambda name, **inputs: interpreter.get_signature_runner(name)(**inputs), model, 1e-6)
    weights = [*model.encoder.weights, *model.cluster_head.weights, *model.latent_head.hidden.weights, *model.latent_head.loc.weights]
    assert len(content) > 4 * sum(int(np.prod(w.shape)) for w in weights)  # they are really inside


def as_tensors(inputs):
    return {name: tf.constant(value) for name, value in inputs.items()}


@pytest.mark.parametrize("filters", [(), (4, 2)], ids=str)
def test_generate(filters, rng):
    model = shaken(rng, dataclasses.replace(CONFIG, decoder_filters=filters))
    module, functions = frozen(model, GENERATOR_SIGNATURES, "uint8")
    interpreter = Interpreter(model_content=to_tflite(module, functions, "none", representative(np.uint8)))
    cluster, noise = np.array([0, 3, 1], np.int32), rng.normal(size=(3, 3)).astype(np.float32)
    found = interpreter.get_signature_runner("generate")(cluster=cluster, noise=noise)["image"]
    loc, raw_scale = (model.prior.parameters()[name].numpy() for name in ("loc", "raw_scale"))
    z = loc[cluster] + np.log1p(np.exp(raw_scale[cluster])) * noise
    np.testing.assert_allclose(found, model.decode_mean(tf.constant(z)), atol=1e-4)
    assert found.shape == (3, 8, 8)


@pytest.mark.parametrize(("quantize", "filters"), [*((quantize, ()) for quantize in QUANTIZATIONS[1:]), ("int8", (4, 8))], ids=str)
def test_quantized_files_are_smaller_and_agree(quantize, filters, rng):
    model = shaken(rng, dataclasses.replace(CONFIG, encoder_filters=filters))
    module, functions = frozen(model, ENCODER_SIGNATURES, "float32" if quantize == "int8-io" else "uint8")
    whole = len(to_tflite(module, functions, "none", representative(np.uint8)))
    dtype = np.float32 if quantize == "int8-io" else np.uint8
    content = to_tflite(module, functions, quantize, representative(dtype))
    assert len(content) < whole
    runner = Interpreter(model_content=content).get_signature_runner("cluster")
    details = runner.get_input_details()["image"]
    images = IMAGES
    if quantize == "int8-io":
        scale, zero = details["quantization"]
        images = np.clip(np.round(IMAGES / scale) + zero, -128, 127)
        assert details["dtype"] == np.int8
    found = runner(image=images.astype(details["dtype"]))["cluster"]
    assert np.mean(found == model.predict_clusters(IMAGES)) >= 0.9


def test_a_file_without_its_weights_is_refused():
    """What a converter makes of a module with variables: READ_VARIABLE where weights should be."""

    class Leaky(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(tf.ones([3]))

        @tf.function(input_signature=[tf.TensorSpec([None, 3])])
        def f(self, x):
            self.w.assign(self.w * 2.0)  # so that it cannot be folded
            return x * self.w

    module = Leaky()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.f.get_concrete_function()], module)
    converter.experimental_enable_resource_variables = True
    with pytest.raises(RuntimeError, match=r"operators that a plain interpreter lacks: .*READ_VARIABLE"):
        check_self_contained(converter.convert())
