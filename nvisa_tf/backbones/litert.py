"""A .tflite file as a backbone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from nvisa_tf.backbones.pixels import scaled_pixels
from nvisa_tf.config.backbones import PIXELS
from nvisa_tf.io.litert import dequantized, open_interpreter, quantized


class Network:
    """A network of one photo and one output.

    Args:
      path: of the file.
      pixels: what values it wants, of `config.backbones.PIXELS`; "": bytes as they are, where it takes bytes.

    Attributes:
      name: of the file.
      shape: of one photo, [H, W, 3].
      width: of its features.
      pixels: the values that it is given.
      sha256: of the file.

    Raises:
      ValueError: a file that holds no such network, or that does not say which values it wants.
    """

    def __init__(self, path: str, pixels: str) -> None:
        self.name = Path(path).name
        content = Path(path).read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._interpreter = open_interpreter(content, path)
        if any(-1 in list(one.get("shape_signature", ()))[1:] for one in self._interpreter.get_input_details()):
            raise ValueError(f"{self.name} takes photos of any size; export it again for one, such as 224 x 224.")
        try:
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path} is damaged or needs a newer ai-edge-litert ({str(error).splitlines()[0]}).") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(f"{self.name} has {len(inputs)} inputs and {len(outputs)} outputs; a backbone has one of each.")
        self._input, self._output = inputs[0], outputs[0]
        shape = tuple(int(n) for n in self._input["shape"])
        if len(shape) != 4 or shape[3] != 3:
            raise ValueError(f"{self.name} takes inputs of the shape {list(shape)}; a backbone takes one photo, [height, width, 3].")
        takes_bytes = self._input["dtype"] == np.uint8
        if not pixels and not takes_bytes:
            raise ValueError(
                f"{self.name} does not say which values it wants for pixels; say so by backbone_pixels: {', '.join(PIXELS)} "
                "(0 to 255, 0 to 1, -1 to 1, or by ImageNet's mean and standard deviation)."
            )
        self.pixels = pixels or "bytes"
        self._plain = takes_bytes and not pixels
        self.shape = (shape[1], shape[2], 3)
        if len(self._output["shape"]) not in (2, 4):
            raise ValueError(f"{self.name} gives {list(self._output['shape'])}; a backbone gives one vector, or a map of vectors.")
        self.width = int(self._output["shape"][-1])

    def features(self, photos: np.ndarray) -> np.ndarray:
        """Float32 [B, width] of photos, uint8 [B, *shape], one by one: the batch of such files is often fixed."""
        return np.stack([self._features(photo[None]) for photo in photos])

    def _features(self, photo: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input["index"], photo if self._plain else self._quantized(photo))
        self._interpreter.invoke()
        values = self._interpreter.get_tensor(self._output["index"])
        if np.issubdtype(values.dtype, np.integer):
            values = dequantized(values, self._output)
        return values.reshape(-1, self.width).mean(0, dtype=np.float32)

    def _quantized(self, photo: np.ndarray) -> np.ndarray:
        values = scaled_pixels(photo.astype(np.float32), self.pixels)
        dtype = self._input["dtype"]
        if not np.issubdtype(dtype, np.integer):
            return values.astype(dtype)
        return quantized(values, self._input)
