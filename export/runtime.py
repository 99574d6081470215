"""Clusters from an exported TFLite encoder; needs NumPy and ai-edge-litert, and no TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from nvisa_tf.io.litert import dequantized, open_interpreter, quantized


class ClusterEncoder:
    """An encoder file that `nvisa-tf export --format tflite` wrote.

    Args:
      path: the .tflite file.
      threads: of the interpreter.

    Attributes:
      shape: of one image, raw, as the data set has it.
      dtype: of images.
      n_clusters: K.
      has_embed: whether it can `embed`.
      has_novelty: whether it says which images are outliers.

    Raises:
      ValueError: no such file, not a TFLite file, or one without the signatures of an encoder.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; it must be at least 1.")
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise ValueError(f"The encoder {path} cannot be read: {error.strerror}.") from error
        hint = "; give an encoder that nvisa-tf export --format tflite wrote"
        self._interpreter = open_interpreter(content, path, hint, threads)
        signatures = self._interpreter.get_signature_list()
        if "cluster" not in signatures:
            raise ValueError(
                f"{path} has no signature 'cluster' (it has {', '.join(signatures) or 'none'}); it is not an nvisa-tf encoder."
            )
        self._runners = {name: self._interpreter.get_signature_runner(name) for name in signatures}
        self._outputs = {name: runner.get_output_details() for name, runner in self._runners.items()}  # slow to ask for
        self.has_embed = "embed" in signatures
        self.has_novelty = "novelty" in self._outputs["cluster"]
        image = self._runners["cluster"].get_input_details()["image"]
        self._quantized_input = image if image["dtype"] == np.int8 else None
        self._fixed_batch = int(image["shape_signature"][0]) if image["shape_signature"][0] > 0 else None
        self.shape = tuple(int(n) for n in image["shape_signature"][1:])
        self.dtype = np.dtype(np.float32 if self._quantized_input else image["dtype"])
        self.n_clusters = int(self._outputs["cluster"]["probabilities"]["shape_signature"][-1])

    def classify(self, images: Any, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Clusters int32 [n] and q(y|x) float32 [n, K] of raw images [n, *shape].

        Raises:
          ValueError: images of another shape, none, or with NaN or Inf.
        """
        found = self.answer(images, batch_size)
        return found["cluster"], found["probabilities"]

    def answer(self, images: Any, batch_size: int = 64) -> dict[str, np.ndarray]:
        """As `classify`, by name; also novelty, float32 [n], where the file says it: above 1 an image is an outlier."""
        return self._run("cluster", images, batch_size)

    def embed(self, images: Any, batch_size: int = 64) -> np.ndarray:
        """The mean of q(z|y, x) at each image's cluster, float32 [n, D]; raises as `classify`.

        Raises:
          ValueError: the file was exported without this signature.
        """
        if "embed" not in self._runners:
            raise ValueError("This encoder was exported without the signature 'embed'.")
        return self._run("embed", images, batch_size)["embedding"]

    def _run(self, name: str, images: Any, batch_size: int) -> dict[str, np.ndarray]:
        images = np.asarray(images)
        if images.shape[1:] != self.shape or not len(images):
            raise ValueError(f"The images have the shape {list(images.shape)}; this encoder takes [n, {', '.join(map(str, self.shape))}].")
        if images.dtype != np.uint8:  # bytes cannot be wrong, and looking would take longer than the network
            self._check_values(images)
        batch_size = self._fixed_batch or batch_size
        if len(images) % (self._fixed_batch or 1):
            raise ValueError(f"This encoder takes {self._fixed_batch} images at a time, and there are {len(images)}.")
        runner, outputs = self._runners[name], self._outputs[name]
        parts = []
        for start in range(0, len(images), batch_size):
            found = runner(image=self._quantized(images[start : start + batch_size]))
            parts.append({key: _dequantized(value, outputs[key]) for key, value in found.items()})
        return parts[0] if len(parts) == 1 else {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _check_values(self, images: np.ndarray) -> None:
        if images.dtype.kind not in "buif" or not np.isfinite(images).all():
            raise ValueError("The images must be numbers, none of them NaN or Inf.")
        if self.dtype == np.uint8 and (images.min() < 0 or images.max() > 255):
            raise ValueError(f"The images have values from {images.min():g} to {images.max():g}; this encoder takes bytes, 0 to 255.")
        if self.dtype == np.uint8 and images.dtype.kind == "f" and (images % 1).any():
            raise ValueError("The images have fractions; this encoder takes bytes, 0 to 255, as the data set has them.")

    def _quantized(self, images: np.ndarray) -> np.ndarray:
        if self._quantized_input is None:
            return np.ascontiguousarray(images, self.dtype)
        return quantized(images, self._quantized_input)


def _dequantized(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    return dequantized(values, details) if values.dtype == np.int8 else values
