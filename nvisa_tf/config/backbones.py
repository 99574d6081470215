"""The pretrained networks that make features of photos: those of `keras.applications` by name, and how files want their pixels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from nvisa_tf.config.options import near


class Application(NamedTuple):
    """A network of `keras.applications`.

    Attributes:
      keras_name: of its function there.
      side: of the square images that it was trained on, pixels.
    """

    keras_name: str
    side: int


_SIDES = {
    224: (
        *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "NASNetMobile", "EfficientNetB0", "EfficientNetV2B0"),
        *("ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2", "DenseNet121", "DenseNet169", "DenseNet201"),
        *("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge", "VGG16", "VGG19"),
    ),
    240: ("EfficientNetB1", "EfficientNetV2B1"),
    260: ("EfficientNetB2", "EfficientNetV2B2"),
    299: ("InceptionV3", "InceptionResNetV2", "Xception"),
    300: ("EfficientNetB3", "EfficientNetV2B3"),
    331: ("NASNetLarge",),
    380: ("EfficientNetB4",),
    384: ("EfficientNetV2S",),
    456: ("EfficientNetB5",),
    480: ("EfficientNetV2M", "EfficientNetV2L"),
    528: ("EfficientNetB6",),
    600: ("EfficientNetB7",),
}
APPLICATIONS = {name.lower(): Application(name, side) for side, names in _SIDES.items() for name in names}
# Values of a pixel that a network wants: 0 to 255, 0 to 1, -1 to 1, or less ImageNet's mean and by its standard deviation.
PIXELS = ("bytes", "unit", "symmetric", "imagenet")
FILES = (".keras", ".tflite")
SMALLEST_SIDE = 32  # below it most of these networks have no pixel left


def is_file(backbone: str) -> bool:
    """Whether a backbone is meant as a file, by its ending."""
    return backbone.lower().endswith(FILES)


def application(backbone: str) -> Application:
    """The network of `keras.applications` that a name means; capitals, "_" and "-" do not matter.

    Raises:
      ValueError: there is none.
    """
    name = backbone.lower().replace("_", "").replace("-", "")
    if name not in APPLICATIONS:
        if Path(backbone).exists():
            raise ValueError(f"The backbone {backbone} is neither a .keras nor a .tflite file; save the network as one of these.")
        raise ValueError(
            f"There is no backbone {backbone!r}{near(name, APPLICATIONS)}; give a network of keras.applications, such as resnet50 or "
            "mobilenetv3small, or a .keras or .tflite file."
        )
    return APPLICATIONS[name]
