"""The functions that every exported file offers, the same names in every format; a model says which in `signatures`.

cluster   image [n, *shape] -> cluster int32 [n], probabilities float32 [n, K]: q(y|x) and its argmax
          and, where it was asked for, novelty float32 [n]: above 1 the example is an outlier
embed     image [n, *shape] -> embedding float32 [n, D]: where the example lies in the latent space
generate  cluster int32 [n], noise float32 [n, R] (standard normal) -> image float32 [n, *shape], in the data's units
          R: as many as a draw takes, which the signature says; in most models D

An image is raw, as the data set has it; scaling is inside. n is any number, or the fixed one that was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from nvisa_tf.export import sidecar
from nvisa_tf.models.base import ExportSignature


def frozen_module(
    signatures: Mapping[str, ExportSignature], example_dtype: str, batch: int | None = None
) -> tuple[tf.Module, dict[str, Any]]:
    """A module without variables, and its `tf.function`s by signature name.

    The weights become constants of the graph: where a converter meets variables of a Keras 3 model it
    leaves them behind, and gives a file of a few kilobytes that reads them from nowhere.

    Args:
      signatures: of a model.
      example_dtype: of raw examples, such as "uint8".
      batch: how many at a time; None for any number.
    """
    module, functions = tf.Module(), {}
    for name, signature in signatures.items():
        specification = [
            tf.TensorSpec([batch, *shape], example_dtype if dtype == "example" else dtype, argument)
            for argument, (shape, dtype) in signature.inputs.items()
        ]
        traced = tf.function(signature.function, input_signature=specification, autograph=False).get_concrete_function()
        frozen = convert_variables_to_constants_v2(traced)
        functions[name] = _named(frozen, sorted(traced.structured_outputs), specification)  # as TensorFlow lays a dictionary out
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
