"""A backbone: a pretrained network and what its photos have to be like.

Shapes: B photos of height H and width W, F features.
"""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.backbones import applications, litert
from nvisa_tf.backbones.identity import probe_of, probe_photo
from nvisa_tf.backbones.pixels import scaled_pixels
from nvisa_tf.config import backbones as known
from nvisa_tf.io.files import sha256_of

OWN = "own"  # how pixels are given to a network that scales them itself, or whose scaling Keras knows
SCALING_LAYERS = ("Rescaling", "Normalization")


@dataclasses.dataclass(frozen=True)
class Backbone:
    """What makes features of photos.

    Attributes:
      name: of a network of `keras.applications`, or a file's name without its folder.
      shape: of one photo, [H, W, 3].
      width: F.
      weights_sha256: of the weights' values, or of a whole .tflite file.
      probe: what it makes of a photo that is always the same, `identity.probe_of`: tells networks of the same weights apart; () of a
        .tflite file.
      file_sha256: of a .keras file, whole; "" of others.
      pixels: "own", or of `config.backbones.PIXELS`.
      features: float32 [B, F] of photos, uint8 [B, H, W, 3].
      loaded_by: the options of `load_backbone` that give it again, its files by their absolute paths.
      model: as a Keras model of photos, float32 [B, H, W, 3] from 0 to 255; None of a .tflite file.
    """

    name: str
    shape: tuple[int, int, int]
    width: int
    weights_sha256: str
    pixels: str
    features: Callable[[np.ndarray], np.ndarray]
    loaded_by: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    model: keras.Model | None = None
    probe: tuple[float, ...] = ()
    file_sha256: str = ""

    def about(self) -> dict[str, Any]:
        """What tells it from others, wherever its files are, plain values."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "width": self.width,
            "weights_sha256": self.weights_sha256,
            "pixels": self.pixels,
            "probe": list(self.probe),
        }


def load_backbone(name: str, weights: str = "", pixels: str = "", side: int = 0) -> Backbone:
    """A backbone by its name or from a file.

    Args:
      name: of a network of `keras.applications`, such as "resnet50"; or a .keras or .tflite file.
      weights: a file with the weights of a network of `keras.applications` without its classifier; "": ImageNet's, by Keras' own
        download, which are kept in its cache.
      pixels: what values a file's network wants, of `config.backbones.PIXELS`; "": what the file says.
      side: of the square that photos come to, pixels; 0: the one that the network was made for.

    Raises:
      ValueError: no such backbone, a file that holds none, or options that do not go together.
      FileNotFoundError: no such file, or weights that are neither in Keras' cache nor can be fetched.
    """
    files = {"name": str(Path(name).resolve()) if known.is_file(name) else name, "weights": weights and str(Path(weights).resolve())}
    return dataclasses.replace(_load(name, weights, pixels, side), loaded_by={**files, "pixels": pixels, "side": side})


def _load(name: str, weights: str, pixels: str, side: int) -> Backbone:
    if side and side < known.SMALLEST_SIDE:
        raise ValueError(f"The side of photos is {side} pixels; a backbone needs {known.SMALLEST_SIDE} at least.")
    if pixels and pixels not in known.PIXELS:
        raise ValueError(f"The pixels of a backbone are {pixels!r}; they must be one of {', '.join(known.PIXELS)}.")
    if not known.is_file(name):
        if pixels:
            raise ValueError(f"How pixels are given to {name} is known; leave that option out.")
        found = known.application(name)
        model = applications.load(found, weights, side or found.side)
        return _of_keras(found.keras_name.lower(), model, OWN)
    if weights:
        raise ValueError(f"{name} is a whole network with its weights; leave the file of weights out.")
    if not Path(name).is_file():
        raise FileNotFoundError(f"There is no backbone {name}; give the path of a .keras or .tflite file.")
    if name.lower().endswith(".tflite"):
        return _of_litert(name, pixels, side)
    return _of_file(name, pixels, side)


def _of_keras(name: str, model: Any, pixels: str) -> Backbone:
    compiled = tf.function(lambda photos: model(photos, training=False))

    def features(photos: np.ndarray) -> np.ndarray:
        return compiled(tf.cast(photos, tf.float32)).numpy()

    digest = hashlib.sha256()
    for values in model.get_weights():
        digest.update(values.tobytes())
    shape = tuple(model.input_shape[1:])
    # Not by `features`: that would be compiled for one photo, and again for a batch.
    probe = probe_of(model(tf.constant(probe_photo(shape), tf.float32)[None], training=False).numpy()[0])
    return Backbone(name, shape, model.output_shape[-1], digest.hexdigest(), pixels, features, model=model, probe=probe)


def _of_file(path: str, pixels: str, side: int) -> Backbone:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a .keras file, or is cut off; save it again with model.save.")
    try:
        network = keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, KeyError, TypeError) as error:
        if "safe_mode" in str(error):
            raise ValueError(
                f"{path} has a layer of Python code (Lambda), which is never run; put layers such as Rescaling in its place."
            ) from error
        raise ValueError(
            f"{path} cannot be loaded as a Keras model ({applications.first_line(error)}); save it again with model.save."
        ) from error
    name = Path(path).name
    shape = getattr(network, "input_shape", None)
    if isinstance(shape, list | dict):
        raise ValueError(f"{name} takes several inputs; a backbone takes one photo, [height, width, 3].")
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] != 3:
        raise ValueError(f"{name} takes inputs of the shape {_shape(shape)}; a backbone takes one photo, [height, width, 3].")
    fixed = tuple(shape[1:3])
    if side and any(n not in (None, side) for n in fixed):
        raise ValueError(f"{name} takes photos of {fixed[0]} x {fixed[1]} pixels and no others; leave the size out.")
    if None in fixed and not side:
        raise ValueError(f"{name} takes photos of any size; say which by backbone_size, such as 224.")
    first = [type(layer).__name__ for layer in getattr(network, "layers", [])[:4]]
    if not pixels and not any(kind in SCALING_LAYERS for kind in first):
        raise ValueError(
            f"{name} does not say which values it wants for pixels; say so by backbone_pixels: {', '.join(known.PIXELS)} "
            "(0 to 255, 0 to 1, -1 to 1, or by ImageNet's mean and standard deviation)."
        )
    photos = keras.Input((fixed[0] or side, fixed[1] or side, 3), name="photos")
    output = network(scaled_pixels(photos, pixels) if pixels else photos)
    if not hasattr(output, "shape") or len(output.shape) not in (2, 4):
        raise ValueError(f"{name} gives {_shape(getattr(output, 'shape', None))}; a backbone gives one vector, or a map of vectors.")
    pooled = keras.layers.GlobalAveragePooling2D()(output) if len(output.shape) == 4 else output
    return dataclasses.replace(_of_keras(name, keras.Model(photos, pooled), pixels or OWN), file_sha256=sha256_of(path))


def _of_litert(path: str, pixels: str, side: int) -> Backbone:
    network = litert.Network(path, pixels)
    if side and (side, side) != network.shape[:2]:
        raise ValueError(
            f"{network.name} takes photos of {network.shape[0]} x {network.shape[1]} pixels and no others; leave the size out."
        )
    return Backbone(network.name, network.shape, network.width, network.sha256, network.pixels, network.features)


def _shape(shape: Any) -> str:
    return (
        "several arrays"
        if shape is None or isinstance(shape, dict | list)
        else f"[{', '.join('n' if n is None else str(n) for n in shape)}]"
    )
