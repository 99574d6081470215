"""Whether two backbones are one: by their weights, and by what they make of a photo that is always the same.

The weights alone do not tell: a layer that scales pixels, an activation or the way of pooling may differ where they are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

PROBED = 16  # features that are kept, at most
TOLERANCE = 1e-2  # of the largest: processors and precisions differ by less, another layer by more


def probe_photo(shape: tuple[int, int, int]) -> np.ndarray:
    """The photo, uint8 [H, W, 3]: slopes along both sides in red and green, noise in blue."""
    height, width, _ = shape
    photo = np.random.default_rng(0).integers(0, 256, shape)
    photo[..., 0] = np.linspace(0, 255, height)[:, None]
    photo[..., 1] = np.linspace(255, 0, width)
    return photo.astype(np.uint8)


def probe_of(features: np.ndarray) -> tuple[float, ...]:
    """Some of the features [F] of `probe_photo`, evenly spread."""
    places = np.linspace(0, len(features) - 1, min(PROBED, len(features))).astype(int)
    return tuple(float(f"{value:.6g}") for value in features[places])


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """How a backbone differs from another, both as `Backbone.about` tells of them, to be followed by "than"; "" where it does not.

    Older descriptions have no probe, which is not compared then.
    """
    if one["name"] != other["name"]:
        return f"is another network ({one['name']}, not {other['name']})"
    if one["weights_sha256"] != other["weights_sha256"]:
        return "has other weights"
    if one["pixels"] != other["pixels"]:
        return "is given pixels in another way"
    if list(one["shape"]) != list(other["shape"]):
        return f"takes photos of another size ({_size(one['shape'])}, not {_size(other['shape'])} pixels)"
    a, b = (np.array(about.get("probe") or [], float) for about in (one, other))
    if len(a) and len(b) and (len(a) != len(b) or not np.allclose(a, b, rtol=0, atol=TOLERANCE * np.abs(b).max(), equal_nan=True)):
        return "has the same weights in other layers"
    return ""


def _size(shape: Any) -> str:
    return f"{shape[0]} x {shape[1]}"
