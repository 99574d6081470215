"""nvisa-tf classify. It imports NumPy, Pillow and ai-edge-litert, and nothing else that is not Python's own."""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nvisa_tf.cli.files import check_writable
from nvisa_tf.cli.main import quiet_stderr
from nvisa_tf.export import sidecar
from nvisa_tf.export.runtime import ClusterEncoder
from nvisa_tf.io.files import replacing
from nvisa_tf.io.images import NotAnImageError, load_image

ARRAYS = (".npy", ".npz")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of classify."""
    parser.add_argument("encoder", metavar="ENCODER", help="a .tflite encoder that nvisa-tf export wrote")
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="image files, folders (what is no image in them is named and left out), .npy or .npz files (key x)",
    )
    parser.add_argument("--output", metavar="FILE", help="a .csv file instead of lines on the terminal; replaced if it exists")
    parser.add_argument("--probabilities", action="store_true", help="write all of q(y|x) too (default: the cluster's alone)")
    parser.add_argument("--resize", action="store_true", help="bring images to the encoder's shape (default: refuse other shapes)")
    parser.add_argument("--invert", action="store_true", help="turn dark on light into light on dark (default: images as they are)")
    parser.add_argument(
        "--range",
        type=_range,
        metavar="LOW,HIGH",
        help="the data's values for black and white, (default: as model.json beside the encoder says)",
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the interpreter (default 1)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images at a time (default 64)")


def run(flags: argparse.Namespace) -> int:
    """Cluster the images, in their order."""
    with quiet_stderr():
        encoder = ClusterEncoder(flags.encoder, flags.threads)
    if flags.batch_size < 1:
        raise ValueError(f"--batch-size is {flags.batch_size}; it must be at least 1.")
    output = check_writable(flags.output, (".csv",)) if flags.output else None
    beside = Path(flags.encoder).parent
    about = sidecar.read(beside) if (beside / sidecar.NAME).is_file() else {}
    names = about.get("cluster_names", [])
    names = names if len(names) == encoder.n_clusters else [f"cluster {k}" for k in range(encoder.n_clusters)]
    rows: Iterator[list[Any]] = _rows(flags, encoder, names, flags.range or about.get("input", {}).get("range"))
    first = next(rows, None)  # before anything is printed
    if first is None:
        raise ValueError("There are no examples to classify.")
    rows = itertools.chain([first], rows)
    header = ["source", "index", "cluster", "name", "probability"]
    if flags.probabilities:
        header += [f"q_{k}" for k in range(encoder.n_clusters)]
    if output is None:
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
        return 0
    sizes = np.zeros(encoder.n_clusters, int)
    with replacing(output) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        for row in rows:
            table.writerow(row)
            sizes[row[2]] += 1
    print(f"{sizes.sum():,} examples clustered into {output}; cluster sizes: {' '.join(map(str, sizes))}")
    return 0


class _Example(NamedTuple):
    source: str
    position: int
    values: np.ndarray


def _rows(flags: argparse.Namespace, encoder: ClusterEncoder, names: list[str], span: Any) -> Iterator[list[Any]]:
    examples = _examples(flags, encoder, span)
    while batch := list(itertools.islice(examples, flags.batch_size)):
        with quiet_stderr():  # the interpreter announces its delegate
            clusters, probabilities = encoder.classify(np.stack([example.values for example in batch]), flags.batch_size)
        for example, cluster, q in zip(batch, clusters, probabilities, strict=True):
            row = [example.source, example.position, int(cluster), names[cluster], f"{q[cluster]:.6g}"]
            yield row + [f"{p:.6g}" for p in q] if flags.probabilities else row


def _examples(flags: argparse.Namespace, encoder: ClusterEncoder, span: Any) -> Iterator[_Example]:
    for path, named in _files(flags.images):
        if path.suffix in ARRAYS:
            values = _array(path)
            if values.shape[1:] != encoder.shape:
                raise ValueError(
                    f"{path} has the shape {list(values.shape)}; this encoder takes [n, {', '.join(map(str, encoder.shape))}]."
                )
            yield from (_Example(str(path), i, values[i]) for i in range(len(values)))
            continue
        try:
            image = load_image(path, encoder.shape, resize=flags.resize, invert=flags.invert)
        except NotAnImageError as error:
            if named:
                raise
            print(f"nvisa-tf: left out: {error}", file=sys.stderr)
            continue
        yield _Example(str(path), 0, _in_range(image, encoder.dtype, span))


def _in_range(image: np.ndarray, dtype: np.dtype, span: Any) -> np.ndarray:
    """An image's bytes in the data's own values: an encoder trained on 0 to 16 takes 16 for white."""
    if span is None and dtype != np.uint8:
        raise ValueError("This encoder takes floats, and no model.json beside it says of what range; give it as --range LOW,HIGH.")
    low, high = span or (0, 255)
    values = low + image / 255 * (high - low)
    return values.round() if dtype == np.uint8 else values


def _files(words: list[str]) -> list[tuple[Path, bool]]:
    """Files by name, and the files that folders hold, in the order of their names; of each whether it was named itself."""
    paths: list[tuple[Path, bool]] = []
    for word in words:
        path = Path(word)
        if not path.exists():
            raise FileNotFoundError(f"There is no file {path}.")
        found = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"The folder {path} has no files; folders in it are not searched.")
        paths += [(file, not path.is_dir()) for file in found]
    return paths


def _array(path: Path) -> np.ndarray:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return loaded["x"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as an array (of the key x, in a .npz file): {error}.") from error


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not two numbers such as 0,255") from None
    return low, high
