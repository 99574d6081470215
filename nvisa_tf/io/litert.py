"""TFLite files: opened without harm, and numbers to and from their integers; needs NumPy and ai-edge-litert alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def open_interpreter(content: bytes, path: str | os.PathLike[str], hint: str = "", threads: int | None = None) -> Interpreter:
    """An interpreter of a file's content.

    Args:
      content: of the file.
      path: for messages.
      hint: what to give instead, the end of a sentence such as "; give an encoder".
      threads: of the interpreter; None: its own default.

    Raises:
      ValueError: it is no TFLite file, or a damaged one.
    """
    # The interpreter would end the process, or read past the end, on some files that are no model.
    if content[4:8] != b"TFL3":
        raise ValueError(f"{path} is not a TFLite file{hint}.")
    try:
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.get_signature_list()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged or needs a newer ai-edge-litert ({str(error).splitlines()[0]}).") from error
    return interpreter


def quantized(values: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    """Floats as the integers of a quantized tensor, whose "dtype" and "quantization" `details` has."""
    scale, zero = details["quantization"]
    limits = np.iinfo(details["dtype"])
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(details["dtype"])


def dequantized(values: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    """The integers of a quantized tensor as float32."""
    scale, zero = details["quantization"]
    return (values.astype(np.float32) - zero) * np.float32(scale)
