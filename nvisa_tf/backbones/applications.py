"""Networks of `keras.applications` without their classifiers, from photos of 0 to 255 to features."""

from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import keras

from nvisa_tf.config.backbones import Application

UNFILLED = "Skipping nested container"  # how Keras begins to warn of layers that keep their random weights
FETCHING = "URL fetch failure on "  # how Keras begins what it says where it cannot download


def load(application: Application, weights: str, side: int) -> keras.Model:
    """The network with its preprocessing before and average pooling behind; its photos are float32 [B, side, side, 3].

    Raises:
      ValueError: a file of other weights, or of none.
      FileNotFoundError: no such file, or ImageNet's weights are neither in Keras' cache nor can be fetched.
    """
    make: Any = getattr(keras.applications, application.keras_name)
    name = application.keras_name.lower()
    options: dict[str, Any] = {"include_top": False, "pooling": "avg", "input_shape": (side, side, 3)}
    if weights:
        _check_file(weights)  # before the network is made, which takes seconds
        network = make(weights=None, **options)
        _load_file(network, name, weights)
    else:
        network = _with_imagenet(make, name, options)
    photos = keras.Input((side, side, 3), name="photos")
    preprocess: Any = sys.modules[make.__module__].preprocess_input
    return keras.Model(photos, network(preprocess(photos)))


def _check_file(path: str) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file of weights {path}.")
    if not path.lower().endswith((".h5", ".keras")):
        raise ValueError(f"The weights {path} must be an .h5 file, as Keras names and writes them.")


def _load_file(network: Any, name: str, path: str) -> None:
    refused = ValueError(
        f"{path} does not hold the weights of {name} without its classifier, or is cut off; Keras' own files of these end in notop.h5 "
        "or no_top.h5."
    )
    try:
        # Kept and looked at afterwards: as errors they would leave Keras' file open, and h5py crashes where Python's own end closes it.
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            network.load_weights(path)
    except (ValueError, OSError, KeyError, TypeError, IndexError, AttributeError) as error:
        # h5py and Keras have an error of their own for each way in which a file can be another one.
        raise refused from error
    if any(str(warning.message).startswith(UNFILLED) for warning in found):
        raise refused


def _with_imagenet(make: Any, name: str, options: dict[str, Any]) -> keras.Model:
    try:
        return make(weights="imagenet", **options)
    except Exception as error:
        # Keras raises a plain Exception where it cannot download.
        message = str(error)
        if not message.startswith(FETCHING):
            raise
        url = re.split(r": | ", message.removeprefix(FETCHING), maxsplit=1)[0]
        folder = Path(os.environ.get("KERAS_HOME") or "~/.keras", "models")
        raise FileNotFoundError(
            f"The weights of {name} are not in Keras' cache and could not be fetched; fetch {url} where there is a connection, and put it "
            f"into {folder} or name it by --backbone-weights (backbone_weights in Python). docs/guides/photos.md has a network, "
            "EfficientNet-Lite0, whose weights pip fetches."
        ) from error


def first_line(error: Exception) -> str:
    """What an error says, as a clause."""
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
