"""Write a ResNet-50 whose weights are in an .npz file as a .keras file, to be a backbone.

    python benchmarks/resnet50_from_npz.py WEIGHTS.npz resnet50.keras [--padding keras] [--images IMAGES.npz]

The file has the convolutions under PyTorch's names, batch normalization folded in ("layer1.0.conv2.weight", OIHW, and ".bias"). The stride
is in the first convolution of a block. `--padding end` pads the first pooling at its end alone, `--padding keras` on all sides, as the
ResNet-50 of keras.applications does. `--images` has images "x", [n, h, w, 3], and "features", [n, 2048]: the differences are printed.
"""

from __future__ import annotations

import argparse

import keras
import numpy as np

from nvisa_tf.backbones import ArrayPhotos, load_backbone

BLOCKS = (3, 4, 6, 3)


def resnet50(weights: np.lib.npyio.NpzFile, padding: str) -> keras.Model:
    """From photos less ImageNet's mean and by its standard deviation, [B, 224, 224, 3], to features [B, 2048]."""
    layers = keras.layers

    def convolved(x: keras.KerasTensor, name: str, strides: int = 1) -> keras.KerasTensor:
        kernel = weights[f"{name}.weight"].transpose(2, 3, 1, 0)
        size = kernel.shape[0]
        if size > 1:
            x = layers.ZeroPadding2D(size // 2)(x)
        layer = layers.Conv2D(kernel.shape[3], size, strides, name=name.replace(".", "_"))
        x = layer(x)
        layer.set_weights([kernel, weights[f"{name}.bias"]])
        return x

    photos = keras.Input((224, 224, 3))
    x = layers.ReLU()(convolved(photos, "conv1", 2))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)) if padding == "end" else 1)(x)
    x = layers.MaxPooling2D(3, 2)(x)
    for stage, n_blocks in enumerate(BLOCKS, 1):
        for block in range(n_blocks):
            name, strides = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = layers.ReLU()(convolved(x, f"{name}.conv1", strides))
            inner = layers.ReLU()(convolved(inner, f"{name}.conv2"))
            inner = convolved(inner, f"{name}.conv3")
            if block == 0:
                x = convolved(x, f"{name}.downsample.0", strides)
            x = layers.ReLU()(layers.Add()([x, inner]))
    return keras.Model(photos, layers.GlobalAveragePooling2D()(x))


def main() -> None:
    """Write the file, and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("output")
    parser.add_argument("--padding", choices=("end", "keras"), default="end")
    parser.add_argument("--images")
    flags = parser.parse_args()
    resnet50(np.load(flags.weights), flags.padding).save(flags.output)
    if flags.images:
        known = np.load(flags.images)
        backbone = load_backbone(flags.output, pixels="imagenet")
        photos = ArrayPhotos("images", known["x"], 255.0, {}, "crop")
        found = []
        for start in range(0, len(photos), 50):
            places = range(start, min(start + 50, len(photos)))
            found.append(backbone.features(np.stack([photos.read(place, backbone.shape).values for place in places])))
        ours, theirs = np.concatenate(found).astype(np.float64), known["features"].astype(np.float64)
        cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
        difference = np.abs(ours - theirs)
        print(f"largest difference {difference.max():.4f}, mean {difference.mean():.5f}, of features of mean {theirs.mean():.3f}")
        print(f"cosine {cosine.min():.5f} at least, {cosine.mean():.5f} on average")


if __name__ == "__main__":
    main()
