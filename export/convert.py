"""From a frozen module to files: SavedModel, and TFLite in five precisions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from nvisa_tf.export import sidecar


def save_saved_model(module: tf.Module, functions: dict[str, Any], folder: Path) -> None:
    """Write a SavedModel with one signature a function."""
    # Exported functions are not differentiated.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(folder), signatures=functions, options=options)


def to_tflite(
    module: tf.Module, functions: dict[str, Any], quantize: str, representative: Callable[[], Iterable[tuple[str, dict[str, np.ndarray]]]]
) -> bytes:
    """A TFLite file of builtin operators alone, with the weights inside.

    Args:
      module, functions: from `frozen_module`.
      quantize: "none"; "float16", weights; "dynamic", weights int8 and sums in float; "int8", all inside int8, by the
        representative data; "int8-io", inputs and float outputs int8 too.
      representative: gives (signature, inputs) of some training examples, one at a time.

    Raises:
      RuntimeError: the result needs operators beyond the builtin ones, or its weights are missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        save_saved_model(module, functions, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize.startswith("int8"):
            converter.representative_dataset = representative
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if quantize == "int8-io":
            converter.inference_input_type = converter.inference_output_type = tf.int8
        content = converter.convert()
    check_self_contained(content)
    return content


def check_self_contained(content: bytes) -> None:
    """Raise RuntimeError where a TFLite file needs custom or Flex operators or reads weights from elsewhere."""
    names = {details["op_name"] for details in Interpreter(model_content=content)._get_ops_details()}
    foreign = sorted(name for name in names if name.startswith("Flex") or name in ("CUSTOM", "READ_VARIABLE", "VAR_HANDLE"))
    if foreign:
        raise RuntimeError(f"The converted model has operators that a plain interpreter lacks: {', '.join(foreign)}.")


def tflite_signatures(path: Path) -> dict[str, Any]:
    """The inputs and outputs of a TFLite file's signatures, as model.json describes them."""
    interpreter = Interpreter(model_path=str(path))
    table: dict[str, Any] = {}
    for name in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(name)
        table[name] = {"inputs": _tensors(runner.get_input_details()), "outputs": _tensors(runner.get_output_details())}
    return table


def _tensors(details: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, tensor in details.items():
        found[name] = {"shape": sidecar.shape(tensor["shape_signature"]), "dtype": np.dtype(tensor["dtype"]).name}
        if tensor["dtype"] == np.int8:
            scale, zero_point = tensor["quantization"]
            found[name].update(scale=float(scale), zero_point=int(zero_point))
    return found
