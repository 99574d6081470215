"""What a training step costs against the number of samples, clusters, examples a batch, units and examples in the data set.

    python benchmarks/scaling.py --output results/scaling.md

One factor at a time, the settings of a factor taking turns in processes of their own. The data sets of 10^3 to 10^6 examples are
files that are streamed; the data's part of peak memory would show there if it were held.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import report
from interleave import measure

N_EXAMPLES = 20_000
BASE: dict[str, Any] = {
    "batch": 128,
    "n_samples": 5,
    "n_clusters": 10,
    "units": 500,
    "steps_per_call": 20,
    "pipeline": "memory",
    "dtype": "uint8",
    "threads": 0,  # of TensorFlow, within an operation and between operations; 0: its own choice
}
FACTORS: dict[str, list[Any]] = {
    "n_samples": [5, 10, 20, 50, 100, 200],
    "n_clusters": [10, 20, 50, 100, 200],
    "batch": [64, 128, 256, 512, 1024],
    "units": [125, 250, 500, 1000],
    "steps_per_call": [1, 2, 5, 20, N_EXAMPLES // 128],
    "pipeline": ["memory", "stream"],
    "dtype": ["uint8", "float32"],
    "threads": [0, 1, 2, 4],
}
DATA_SIZES = [1_000, 10_000, 100_000, 1_000_000]
STEPS = 20  # timed together, or one call's where that has more


def step(input_dim: int, file: str, n_examples: int, setting: dict[str, Any]) -> Callable[[], float]:
    """`steps_of` a setting's steps of training on random bytes, or on a file of them, streamed; it gives the bound."""
    import tensorflow as tf

    from nvisa_tf import NVISA, Dataset, RunConfig, Trainer

    tf.config.threading.set_intra_op_parallelism_threads(setting["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(setting["threads"])

    units = setting["units"]
    x = np.load(file, mmap_mode="r") if file else np.random.default_rng(0).integers(0, 256, (n_examples, input_dim), np.uint8)
    x = x if file else x.astype(setting["dtype"])
    config = RunConfig.of("nvisa", {
        "input_shape": (input_dim,), "n_clusters": setting["n_clusters"], "encoder_units": (units,) * 2, "posterior_units": units,
        "decoder_units": (units,) * 2, "decoder_scale": "per_dimension", "n_samples": setting["n_samples"], "decoder_gradient": "resampled",
        "epochs": 1000, "batch_size": setting["batch"], "pipeline": "stream" if file else setting["pipeline"],
    })  # fmt: skip
    model = NVISA(config.model, seed=0)
    model.set_preprocessing(1 / 255, 0.0)
    trainer = Trainer(model, config, Dataset("random", x), Dataset("random", np.asarray(x[:100])))

    def run() -> float:
        for _ in range(steps_of(setting) // setting["steps_per_call"]):
            trainer.run_steps(setting["steps_per_call"])
        return float(model.trackers["bound"].result())

    return run


def steps_of(setting: dict[str, Any]) -> int:
    """The steps that are timed together."""
    return max(STEPS, setting["steps_per_call"])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", default="results/scaling.md")
    flags = parser.parse_args()
    rows: list[list[str]] = []

    header = ["factor", "value", "ms a step", "against the first", "GiB"]
    about = (
        f"`python benchmarks/scaling.py --inputs {flags.inputs} --rounds {flags.rounds}`, {datetime.date.today()}, "
        f"commit {report.commit()}, {report.cores()}. "
        f"The rest as in {BASE}, z 10, one sigma a pixel, decoder gradient resampled; "
        f"medians of {flags.rounds} times {STEPS} steps. More than 16,384 decoder rows (n_samples times batch) go in "
        "chunks. Peak memory without mapped files."
    )

    def add(factor: str, values: list[Any], makers: list) -> None:  # of (step, its arguments, the setting last)
        found = measure(makers, flags.rounds, 1)
        first = None
        for value, (_, arguments), result in zip(values, makers, found, strict=True):
            milliseconds = 1000 * statistics.median(result.seconds) / steps_of(arguments[-1])
            first = first or milliseconds
            shown = f"{value:,}" if isinstance(value, int) else value
            rows.append([factor, shown, f"{milliseconds:.1f}", f"{milliseconds / first:.2f}", f"{result.memory / 2**30:.2f}"])
            print("  ".join(rows[-1]), flush=True)
        report.write(flags.output, "What a step costs", about, header, rows)

    for factor, values in FACTORS.items():
        add(factor, values, [(step, (flags.inputs, "", N_EXAMPLES, {**BASE, factor: value})) for value in values])
    with tempfile.TemporaryDirectory() as folder:
        makers = []
        for n in DATA_SIZES:
            path = Path(folder) / f"{n}.npy"
            data = np.lib.format.open_memmap(path, "w+", np.uint8, (n, flags.inputs))
            rng = np.random.default_rng(0)
            for i in range(0, n, 100_000):
                data[i : i + 100_000] = rng.integers(0, 256, data[i : i + 100_000].shape, np.uint8)
            del data
            makers.append((step, (flags.inputs, str(path), n, BASE)))
        add("examples in the data set, streamed", DATA_SIZES, makers)


if __name__ == "__main__":
    main()
