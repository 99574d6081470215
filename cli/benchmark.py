"""nvisa-tf benchmark."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np

from nvisa_tf.cli.files import check_writable
from nvisa_tf.export.benchmark import CALLS, ROUNDS, Measured, measure, only_generates
from nvisa_tf.io.files import write_text


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of benchmark."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="exported encoders: .tflite, .keras and .onnx files, SavedModel folders")
    parser.add_argument("--batch-sizes", type=_counts, default=(1, 64), metavar="N,N", help="images a call (default 1,64)")
    parser.add_argument("--threads", type=_counts, default=(1, 2), metavar="N,N", help="threads to allow each (default 1,2)")
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help=f"turns of each file, up to {CALLS} calls each (default {ROUNDS}, and fewer of slow files)",
    )
    parser.add_argument("--output", metavar="FILE", help="a .json file for all figures; replaced if it exists (default: the table alone)")


def run(flags: argparse.Namespace) -> int:
    """Measure, print a table, and write the figures."""
    if flags.rounds is not None and flags.rounds < 1:
        raise ValueError(f"--rounds is {flags.rounds}; it must be at least 1.")
    output = check_writable(flags.output, (".json",)) if flags.output else None
    generators = [file for file in flags.files if only_generates(Path(file))]  # RUN/export/*.tflite has one
    encoders = [file for file in flags.files if file not in generators]
    if not encoders:
        raise ValueError(f"{', '.join(generators)} draws samples and clusters nothing; give an encoder, such as encoder.tflite.")
    found = measure(encoders, flags.batch_sizes, flags.threads, flags.rounds, tell=lambda text: print(text, file=sys.stderr, flush=True))
    print("\n".join(table(found)))
    for file in generators:
        print(f"{file} draws samples and clusters nothing, so it is left out.")
    if output:
        write_text(output, json.dumps(report(found), indent=2) + "\n")
        print(f"All figures: {output}.")
    return 0


def table(found: list[Measured]) -> list[str]:
    """A Markdown table, a row a file and number of threads."""
    sizes, has_accuracy = list(found[0].latency), any(one.accuracy is not None for one in found)
    header = [
        "file",
        "runtime",
        "threads",
        "MB",
        *[f"batch {n}: median, p99 (us an image)" for n in sizes],
        "peak MB",
        "agreement",
        *(["accuracy"] if has_accuracy else []),
    ]
    rows = [header, ["---"] * len(header)]
    for one in found:
        latency = [f"{_micro(one, n, 50):.1f}, {_micro(one, n, 99):.1f}" for n in sizes]
        scores = ["" if share is None else f"{share:.2%}" for share in (one.agreement, *([one.accuracy] if has_accuracy else []))]
        rows.append([one.path.name, one.runtime, str(one.threads), f"{one.size / 1e6:.2f}", *latency, f"{one.memory / 1e6:.0f}", *scores])
    return ["| " + " | ".join(row) + " |" for row in rows]


def report(found: list[Measured]) -> dict[str, object]:
    """All figures, for JSON."""
    entries = [
        {
            "file": one.path.name,
            "runtime": one.runtime,
            "threads": one.threads,
            "bytes": one.size,
            "latency_us_an_image": {
                str(n): {"median": _micro(one, n, 50), "p99": _micro(one, n, 99), "calls": len(one.latency[n])} for n in one.latency
            },
            "peak_memory_bytes": one.memory,
            "agreement": one.agreement,
            "accuracy": one.accuracy,
        }
        for one in found
    ]
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "files": entries,
    }


def _micro(one: Measured, size: int, percentile: float) -> float:
    return float(np.percentile(one.latency[size], percentile) / size * 1e6)


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of positive integers such as 1,64")
    return counts
