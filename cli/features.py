"""nvisa-tf features: vectors of photos by a pretrained network."""

from __future__ import annotations

import argparse
import shutil
import sys

from nvisa_tf.cli.files import check_writable
from nvisa_tf.cli.main import quiet_stderr
from nvisa_tf.cli.process import end_on_signals
from nvisa_tf.config.backbones import PIXELS, application, is_file
from nvisa_tf.config.datasets import DATASETS
from nvisa_tf.config.run import DataConfig
from nvisa_tf.io.files import description_of, replacing
from nvisa_tf.io.images import RESIZE


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of features."""
    parser.add_argument("input", metavar="INPUT", help=f"a folder of photos, an array of images (.npy, .npz), or {', '.join(DATASETS)}")
    parser.add_argument(
        "--backbone",
        required=True,
        metavar="NAME",
        help="a network of keras.applications, such as resnet50, or mobilenetv3small for phones; or a .keras or .tflite file",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="a .npy file; replaced if it exists, as the .json beside it")
    parser.add_argument(
        "--backbone-weights",
        default="",
        metavar="FILE",
        help="weights of a network of keras.applications (default: ImageNet's, by download)",
    )
    parser.add_argument(
        "--backbone-pixels",
        default="",
        choices=PIXELS,
        help="values that a file's network wants: 0 to 255, 0 to 1, -1 to 1, or by ImageNet's mean and standard deviation "
        "(default: what it says)",
    )
    parser.add_argument(
        "--backbone-size",
        type=int,
        default=0,
        metavar="N",
        help="side of the square photos, pixels (default: what the network was made for)",
    )
    parser.add_argument("--resize", default="crop", choices=RESIZE, help="how photos come to the square (default crop)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="photos at a time (default 32)")
    parser.add_argument("--data-dir", default="", metavar="DIR", help="tensorflow-datasets folder (default: TFDS_DATA_DIR)")


def run(flags: argparse.Namespace) -> int:
    """Make features, or go on with them, or take them from the cache."""
    if flags.batch_size < 1:
        raise ValueError(f"--batch-size is {flags.batch_size}; it must be at least 1.")
    output = check_writable(flags.output, (".npy",), [flags.input])
    if description_of(output).is_dir():
        raise ValueError(f"The description {description_of(output)} cannot be written: it is a folder.")
    if not is_file(flags.backbone):
        application(flags.backbone)  # a wrong name is told before TensorFlow loads
    with quiet_stderr():
        import tensorflow  # noqa: F401  # which the network needs, and which has much to say when it is first loaded

        from nvisa_tf.data.array_files import read_array
        from nvisa_tf.data.photos import extraction_of
    asked = DataConfig(
        dataset=flags.input,
        data_dir=flags.data_dir,
        resize=flags.resize,
        backbone=flags.backbone,
        backbone_weights=flags.backbone_weights,
        backbone_pixels=flags.backbone_pixels,
        backbone_size=flags.backbone_size,
    )
    end_on_signals()
    try:
        found = extraction_of(asked, lambda text: print(text, flush=True), batch_size=flags.batch_size)
    except KeyboardInterrupt:
        print("\nnvisa-tf: what is made is kept; the same command goes on with it.", file=sys.stderr)
        raise
    description_of(output).unlink(missing_ok=True)  # else it would describe the new file, for a moment
    for source, target in ((found.path, output), (description_of(found.path), description_of(output))):
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
    made = read_array(str(output))
    for remark in made.origin.remarks:
        print(f"nvisa-tf: {remark}", file=sys.stderr)
    how = " (from the cache)" if found.was_there else ""
    print(f"{output}: {len(made):,} vectors of {made.shape[0]:,} values{how}. Cluster them with: nvisa-tf train --dataset {output}")
    return 0
