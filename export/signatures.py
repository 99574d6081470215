"""The functions that every exported file offers, the same names in every format.

cluster   image [n, *shape] -> cluster int32 [n], probabilities float32 [n, K]: q(y|x) and its argmax
embed     image [n, *shape] -> embedding float32 [n, D]: the mean of q(z|y, x) at the chosen y
generate  cluster int32 [n], noise float32 [n, D] (standard normal) -> image float32 [n, *shape], in the data's units

An image is raw, as the data set has it; scaling is inside. n is any number, or the fixed one that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from nvisa_tf import distributions as dist
from nvisa_tf.export import sidecar
from nvisa_tf.model import NVISA

ENCODER_SIGNATURES = ("cluster", "embed")
GENERATOR_SIGNATURES = ("generate",)


def frozen_module(model: NVISA, names: Sequence[str], input_dtype: str, batch: int | None = None) -> tuple[tf.Module, dict[str, Any]]:
    """A module without variables, and its `tf.function`s by signature name.

    The weights become constants of the graph: where a converter meets variables of a Keras 3 model it
    leaves them behind, and gives a file of a few kilobytes that reads them from nowhere.

    Args:
      model: what to export.
      names: of the signatures.
      input_dtype: of the images, such as "uint8".
      batch: how many at a time; None for any number.
    """
    module, functions = tf.Module(), {}
    for name in names:
        function, specification = _FUNCTIONS[name](model, input_dtype, batch)
        traced = tf.function(function, input_signature=specification, autograph=False).get_concrete_function()
        frozen = convert_variables_to_constants_v2(traced)
        functions[name] = _named(frozen, list(traced.structured_outputs), specification)
        setattr(module, name, functions[name])
    return module, functions


def described(functions: dict[str, Any]) -> dict[str, Any]:
    """The inputs and outputs of `frozen_module`'s functions, as model.json describes them."""
    table = {}
    for name, function in functions.items():
        concrete = function.get_concrete_function()
        inputs = {spec.name: spec for spec in concrete.structured_input_signature[0]}
        table[name] = {"inputs": _tensors(inputs), "outputs": _tensors(concrete.structured_outputs)}
    return table


def _tensors(specs: dict[str, Any]) -> dict[str, Any]:
    return {name: {"shape": sidecar.shape(spec.shape), "dtype": spec.dtype.name} for name, spec in specs.items()}


def _named(frozen: Any, outputs: list[str], specification: list[tf.TensorSpec]) -> Any:
    if len(specification) == 1:

        def of_image(image: tf.Tensor) -> dict[str, tf.Tensor]:
            return dict(zip(outputs, frozen(image), strict=True))

        return tf.function(of_image, input_signature=specification, autograph=False)

    def of_cluster(cluster: tf.Tensor, noise: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(outputs, frozen(cluster, noise), strict=True))

    return tf.function(of_cluster, input_signature=specification, autograph=False)


Exported = tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]


def _cluster(model: NVISA, dtype: str, batch: int | None) -> Exported:
    def cluster(image: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = model.call(image)
        return {"cluster": tf.argmax(probabilities, -1, output_type=tf.int32), "probabilities": probabilities}

    return cluster, [_image(model, dtype, batch)]


def _embed(model: NVISA, dtype: str, batch: int | None) -> Exported:
    def embed(image: tf.Tensor) -> dict[str, tf.Tensor]:
        h = model.encoder(model.preprocess(image))
        chosen = tf.argmax(model.cluster_head(h), -1, output_type=tf.int32)
        # The mean alone: sigma_z is not asked for, and its gradient's bookkeeping cannot be saved.
        return {"embedding": model.latent_head(h, tf.one_hot(chosen, model.config.n_clusters))[0]}

    return embed, [_image(model, dtype, batch)]


def _generate(model: NVISA, dtype: str, batch: int | None) -> Exported:
    del dtype

    def generate(cluster: tf.Tensor, noise: tf.Tensor) -> dict[str, tf.Tensor]:
        _, loc, raw_scale = model.prior.parameters()
        z = dist.location_scale_sample(dist.prior_z_given_y(loc, raw_scale, cluster), noise)
        return {"image": model.decode_mean(z)}

    return generate, [tf.TensorSpec([batch], tf.int32, "cluster"), tf.TensorSpec([batch, model.config.latent_dim], tf.float32, "noise")]


def _image(model: NVISA, dtype: str, batch: int | None) -> tf.TensorSpec:
    return tf.TensorSpec([batch, *model.config.input_shape], dtype, "image")


_FUNCTIONS: dict[str, Callable[[NVISA, str, int | None], Exported]] = {"cluster": _cluster, "embed": _embed, "generate": _generate}
