"""nvisa-tf export."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING

from nvisa_tf.cli.files import MOVED
from nvisa_tf.cli.main import quiet_stderr
from nvisa_tf.export.formats import FORMATS, QUANTIZATIONS, SIGNATURES
from nvisa_tf.io.run_directory import RunDirectory

if TYPE_CHECKING:
    from nvisa_tf.export.verify import Verification


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of export."""
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument(
        "--out", metavar="DIR", help="where files go; those of the same name are replaced (default RUN/export, for web RUN/site)"
    )
    parser.add_argument(
        "--format",
        choices=[*FORMATS, "all", "web"],
        default="tflite",
        help="what to write; all: these files; web: a static site that clusters in the browser (default tflite)",
    )
    parser.add_argument(
        "--quantize",
        choices=QUANTIZATIONS,
        default="none",
        help="of the TFLite encoder; int8-io: also inputs and outputs (default none)",
    )
    parser.add_argument("--signature", action="append", choices=SIGNATURES, help="which to export, may be repeated (default: all)")
    parser.add_argument(
        "--min-agreement", type=float, default=0.99, metavar="X", help="least share of clusters equal to the Keras model's (default 0.99)"
    )
    parser.add_argument(
        "--head-only",
        action="store_true",
        help="of a run with a backbone: a file that takes its vectors (default: one that takes photos, with the backbone inside)",
    )
    parser.add_argument(
        "--outliers",
        type=float,
        metavar="RATE",
        help="let encoders tell outliers too, by an output novelty that is above 1; RATE as of predict (default: they do not)",
    )
    parser.add_argument("--data-dir", default="", metavar="DIR", help=MOVED)
    parser.add_argument(
        "--name-clusters",
        metavar="CSV",
        help="label,name lines: name each cluster by its most frequent held-out label, for display (default: as nvisa-tf name did)",
    )
    parser.add_argument(
        "--litert", metavar="DIR", help="for web: the folder node_modules/@litertjs of an npm install (default: npm fetches it)"
    )


def run(flags: argparse.Namespace) -> int:
    """Export and say how each file compares."""
    run_directory = RunDirectory.open(flags.run)
    if not 0 <= flags.min_agreement <= 1:
        raise ValueError(f"--min-agreement is {flags.min_agreement}; it must be from 0 to 1.")
    names = _label_names(flags.name_clusters) if flags.name_clusters else None
    web = flags.format == "web"
    if web and flags.signature:
        raise ValueError("A web page uses every signature; leave --signature out.")
    if web and flags.outliers is not None:
        raise ValueError("A web page does not show outliers; leave --outliers out.")
    if web and flags.head_only:
        raise ValueError("A web page takes photos; leave --head-only out.")
    if flags.litert and not web:
        raise ValueError("--litert goes with --format web.")
    out = flags.out or str(Path(flags.run) / ("site" if web else "export"))
    with quiet_stderr():
        if web:
            from nvisa_tf.export.web import export_site

            files = export_site(flags.run, out, flags.quantize, flags.min_agreement, flags.data_dir, names, flags.litert)
        else:
            from nvisa_tf.export.bundle import export_run

            formats: tuple[str, ...] = FORMATS if flags.format == "all" else (flags.format,)
            if flags.format == "all" and run_directory.backbone() and not flags.head_only:
                formats = tuple(form for form in FORMATS if form != "keras")  # which has no backbone inside
            signatures = tuple(dict.fromkeys(flags.signature)) if flags.signature else None
            files = export_run(
                flags.run,
                out,
                formats,
                flags.quantize,
                signatures,
                flags.min_agreement,
                flags.data_dir,
                names,
                head_only=flags.head_only,
                outliers=flags.outliers,
            )
    for file in files:
        text = f"{file.path}: {file.size / 1e6:.2f} MB"
        if file.verification is not None:
            text += f", {compared(file.verification)}"
        print(text)
    about = Path(out, "models") if web else Path(out)
    print(f"What they are: {about / 'model.json'}, {about / 'labels.txt'}.")
    if web:
        print(f"Look at it: python -m http.server --directory {out}, then http://localhost:8000.")
    return 0


def compared(found: Verification) -> str:
    """A verification for a person."""
    text = f"{found.agreement:.2%} of {found.examples:,} clusters as in Keras, probabilities within {found.max_difference:.1e}"
    if found.accuracy is not None and found.keras_accuracy is not None:
        text += f", accuracy {found.accuracy:.2%} ({100 * (found.accuracy - found.keras_accuracy):+.2f} points)"
    return text


def _label_names(path: str) -> dict[int, str]:
    """Names by label from lines "label,name".

    Raises:
      ValueError: it cannot be read, or is not such lines.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
        return {int(label): name.strip() for label, name in rows}
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} cannot be used ({getattr(error, 'strerror', None) or error}); it needs lines of label,name.") from error
