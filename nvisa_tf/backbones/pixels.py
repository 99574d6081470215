"""What networks want for pixels; needs nothing but what it is given, so that it serves NumPy and Keras alike."""

from __future__ import annotations

from typing import Any

import numpy as np

# Of the three colours, on a scale from 0 to 1: what networks trained on ImageNet are usually given (PyTorch's torchvision names them).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)


def scaled_pixels(photos: Any, pixels: str) -> Any:
    """Photos [B, H, W, 3] from 0 to 255, floats, as a network wants them.

    Args:
      photos: an array or a Keras tensor.
      pixels: "bytes", as they are; "unit", 0 to 1; "symmetric", -1 to 1; "imagenet", less ImageNet's mean and by its standard deviation.
    """
    if pixels == "bytes":
        return photos
    if pixels == "unit":
        return photos / 255.0
    if pixels == "symmetric":
        return photos / 127.5 - 1.0
    mean, sd = (np.array(values, np.float32) for values in (IMAGENET_MEAN, IMAGENET_SD))
    return (photos / 255.0 - mean) / sd
