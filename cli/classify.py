"""nvisa-tf classify. It imports NumPy, Pillow and ai-edge-litert, and nothing else that is not Python's own."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nvisa_tf.cli.files import check_writable
from nvisa_tf.cli.main import quiet_stderr
from nvisa_tf.export import sidecar
from nvisa_tf.export.runtime import ClusterEncoder
from nvisa_tf.io.files import csv_writer, replacing
from nvisa_tf.io.image_folders import Tally, find_images, left_out_sentences, printable, without_images
from nvisa_tf.io.images import RESIZE, NotAnImageError, in_range, read_image
from nvisa_tf.io.names import OUTLIER, OUTLIER_NAME, shown_names, sizes_in_words

ARRAYS = (".npy", ".npz")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of classify."""
    parser.add_argument("encoder", metavar="ENCODER", help="a .tflite encoder that nvisa-tf export wrote")
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="image files, folders of images and of folders of them, .npy or .npz files (key x)"
    )
    parser.add_argument("--output", metavar="FILE", help="a .csv file instead of lines on the terminal; replaced if it exists")
    parser.add_argument("--probabilities", action="store_true", help="write all of q(y|x) too (default: the cluster's alone)")
    parser.add_argument(
        "--resize",
        nargs="?",
        const=True,
        choices=RESIZE,
        help="bring images of other sizes to the encoder's: with a border, cut, or distorted; without a word as in training, or pad "
        "(default: as in training on a folder of images; else other sizes are refused)",
    )
    parser.add_argument("--invert", action="store_true", help="turn dark on light into light on dark (default: images as they are)")
    parser.add_argument(
        "--range",
        type=_range,
        metavar="LOW,HIGH",
        help="the data's values for black and white, (default: as model.json beside the encoder says)",
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the interpreter (default 1)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images at a time (default 64)")


class _Example(NamedTuple):
    source: str
    position: int
    values: np.ndarray | None  # None: it cannot be read
    error: str = ""


class _Row(NamedTuple):
    cells: list[Any]
    cluster: int | None
    error: str


@dataclasses.dataclass
class _Said:
    """What there is to say of the files, once for all."""

    tally: Tally = dataclasses.field(default_factory=Tally)
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    others: Counter[str] = dataclasses.field(default_factory=Counter)

    def print(self) -> None:
        for sentence in [*self.tally.sentences(), *left_out_sentences(self.left_out, self.others)]:
            print(f"nvisa-tf: {sentence}", file=sys.stderr)


def run(flags: argparse.Namespace) -> int:
    """Cluster the images, in their order."""
    with quiet_stderr():
        encoder = ClusterEncoder(flags.encoder, flags.threads)
    if flags.batch_size < 1:
        raise ValueError(f"--batch-size is {flags.batch_size}; it must be at least 1.")
    output = check_writable(flags.output, (".csv",), flags.images) if flags.output else None
    beside = Path(flags.encoder).parent
    about = sidecar.read(beside) if (beside / sidecar.NAME).is_file() else {}
    names = about.get("cluster_names", [])
    plain = shown_names({}, encoder.n_clusters)
    names = names if len(names) == encoder.n_clusters else plain
    taken, said = about.get("input", {}), _Said()
    examples = _examples(flags, encoder, flags.range or taken.get("range"), _resize(flags.resize, taken), said)
    rows: Iterable[_Row] = _rows(flags, encoder, names, examples)
    first = next(iter(rows), None)  # before anything is printed
    if first is None:
        raise ValueError("There are no examples to classify.")
    rows = itertools.chain([first], rows)
    errors = False
    if any(Path(word).is_dir() for word in flags.images):  # only there a file may be unreadable, for which there is a column
        rows = list(rows)
        errors = any(row.error for row in rows)
        if all(row.error for row in rows):
            name, why = said.left_out[0]
            raise ValueError(f"None of {len(rows):,} files can be read as an image; the first is {name} ({why}).")
    header = ["source", "index", "cluster", "name", "probability"]
    header += ["nearest", "novelty"] if encoder.has_novelty else []
    header += [f"q_{k}" for k in range(encoder.n_clusters)] if flags.probabilities else []
    header += ["error"] if errors else []
    sizes = np.zeros(encoder.n_clusters + 1, int)  # the last of outliers

    def write(file: Any) -> None:
        table = csv_writer(file)
        table.writerow(header)
        for row in rows:
            table.writerow([*row.cells, row.error] if errors else row.cells)
            if row.cluster is not None:
                sizes[row.cluster] += 1

    if output is None:
        write(sys.stdout)
        said.print()
        return 0
    with replacing(output) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        write(file)
    said.print()
    unread = f", {len(said.left_out):,} could not be read" if said.left_out else ""
    told = sizes_in_words(sizes[:-1].tolist(), None if names == plain else names)
    unlike = f", {sizes[OUTLIER]:,} of them outliers (cluster {OUTLIER})" if encoder.has_novelty else ""
    print(f"{sizes.sum():,} examples clustered into {output}{unlike}{unread}; cluster sizes: {told}")
    return 0


def _resize(given: str | bool | None, taken: dict[str, Any]) -> str | None:
    """How other sizes come to the encoder's: as asked, or as model.json says; None: not at all."""
    if isinstance(given, str):
        return given
    if given:
        return taken.get("resize", "stretch") or "pad"  # a model.json of before does not say; images were stretched then
    return taken.get("resize")


def _rows(flags: argparse.Namespace, encoder: ClusterEncoder, names: list[str], examples: Iterator[_Example]) -> Iterator[_Row]:
    empty = [""] * (2 + 2 * encoder.has_novelty + (encoder.n_clusters if flags.probabilities else 0))
    while batch := list(itertools.islice(examples, flags.batch_size)):
        values = [example.values for example in batch if example.values is not None]
        answers: Iterator[Any] = iter(())
        if values:
            with quiet_stderr():  # the interpreter announces its delegate
                found = encoder.answer(np.stack(values), flags.batch_size)
            novelty = found.get("novelty", np.zeros(len(values)))
            answers = zip(found["cluster"], found["probabilities"], novelty, strict=True)
        for example in batch:
            if example.values is None:
                yield _Row([example.source, example.position, "", *empty], None, example.error)
                continue
            cluster, q, novel = next(answers)
            shown = (OUTLIER, OUTLIER_NAME) if novel > 1 else (int(cluster), names[cluster])
            cells = [example.source, example.position, *shown, f"{q[cluster]:.6g}"]
            cells += [int(cluster), f"{novel:.6g}"] if encoder.has_novelty else []
            yield _Row(cells + [f"{p:.6g}" for p in q] if flags.probabilities else cells, shown[0], "")


def _examples(flags: argparse.Namespace, encoder: ClusterEncoder, span: Any, resize: str | None, said: _Said) -> Iterator[_Example]:
    for word in flags.images:
        if not Path(word).exists():
            raise FileNotFoundError(f"There is no file {word}; give image files, folders of them, or an array file.")
    for word in flags.images:
        path = Path(word)
        if path.is_dir():
            found = find_images(path)
            if not found.files:
                raise ValueError(without_images(path, [], found.others))
            said.others.update(found.others)
            files = [(f"{printable(str(path))}/{file.name}", file.path, why) for file, why in found.files]
        elif path.suffix.lower() in ARRAYS:
            yield from (_Example(printable(word), i, values) for i, values in enumerate(_array(path, encoder.shape)))
            continue
        else:
            files = [(printable(word), path, "")]
        for source, file, why in files:
            try:
                if why:
                    raise NotAnImageError(source, why)
                values = said.tally.add(read_image(file, encoder.shape, resize=resize))
            except NotAnImageError as error:
                if not path.is_dir():
                    raise
                said.left_out.append((source, error.why))
                yield _Example(source, 0, None, error.why)
                continue
            yield _Example(source, 0, _in_range(255 - values if flags.invert else values, encoder.dtype, span))


def _in_range(image: np.ndarray, dtype: np.dtype, span: Any) -> np.ndarray:
    """An image's bytes in the data's own values: an encoder trained on 0 to 16 takes 16 for white."""
    if span is None and dtype != np.uint8:
        raise ValueError("This encoder takes floats, and no model.json beside it says of what range; give it as --range LOW,HIGH.")
    return in_range(image, span or (0, 255), whole=dtype == np.uint8)


def _array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The examples of an array file, which stay in it where it is mapped."""
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            with loaded:
                loaded = loaded["x"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read as an array; write it with np.save, or with np.savez under the key x, of numbers alone."
        ) from error
    if loaded.shape[1:] != shape:
        raise ValueError(f"{path} has the shape {list(loaded.shape)}; this encoder takes [n, {', '.join(map(str, shape))}].")
    return loaded


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not two numbers such as 0,255") from None
    return low, high
