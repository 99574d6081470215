"""Whether matrix products in bfloat16 harm what training gives, as a processor with AMX would make them, on any machine.

    python benchmarks/bfloat16.py --output results/bfloat16.md

The same run with float32 and with bfloat16, from the same seeds. The passes without gradient are the package's own, by
forward_precision. In the stages of the initialization the products of dense layers, forward and backward, are those of AMX: both
operands rounded to bfloat16, multiplied and added in float32, the result rounded to bfloat16. Everything else stays float32, and so does
what scores the runs. A run that is in the table's .csv already is not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import datetime
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import report

ARMS = ("float32", "forward", "all")
ABOUT = {
    "float32": "no product in bfloat16",
    "forward": "the decoder's passes without gradient in bfloat16 (`--forward-precision bfloat16`)",
    "all": "these, and every product of a dense layer in pretraining and distillation",
}
HEADER = ("products", "seed", "accuracy %", "held-out bound", "before training %")


@contextlib.contextmanager
def products_in_bfloat16() -> Iterator[None]:
    """Inside, dense layers that are traced multiply as AMX does, forward and backward."""
    import keras
    import tensorflow as tf

    def rounded(values: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.cast(values, tf.bfloat16), tf.float32)

    @tf.custom_gradient
    def product(rows: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        rows, kernel = rounded(rows), rounded(kernel)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            upstream = rounded(upstream)
            return rounded(tf.matmul(upstream, kernel, transpose_b=True)), rounded(tf.matmul(rows, upstream, transpose_a=True))

        return rounded(tf.matmul(rows, kernel)), gradient

    def call(layer: Any, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        rows = tf.reshape(inputs, [-1, inputs.shape[-1]])
        values = product(rows, tf.convert_to_tensor(layer.kernel))
        if layer.use_bias:
            values += tf.convert_to_tensor(layer.bias)
        values = values if layer.activation is None else layer.activation(values)
        return tf.reshape(values, tf.concat([tf.shape(inputs)[:-1], [layer.units]], 0))

    before = keras.layers.Dense.call
    keras.layers.Dense.call = call
    try:
        yield
    finally:
        keras.layers.Dense.call = before


def train(arm: str, seed: int, preset_name: str, dataset: str, options: dict[str, Any]) -> list[str]:
    """A row of the table."""
    from nvisa_tf import RunConfig, preset
    from nvisa_tf.data import load_splits
    from nvisa_tf.runs.workflows import finish_run, start_run

    precision = "float32" if arm == "float32" else "bfloat16"
    config = RunConfig().replace({**preset(preset_name), "dataset": dataset, "seed": seed, "forward_precision": precision, **options})
    splits = load_splits(config.data)
    with tempfile.TemporaryDirectory() as folder:
        trainer = start_run(config, splits, f"{folder}/run")
        for stage in trainer.stages[:-1] if arm == "all" else ():
            stage.train_step = traced_in_bfloat16(stage.train_step)  # type: ignore[method-assign]
        trainer.train()
        found = finish_run(trainer, config, splits)
    init = found["initialization"]["distilled_accuracy"]
    return [arm, str(seed), f"{100 * found['accuracy']:.2f}", f"{found['held_out_iw_bound']:.2f}", f"{100 * init:.2f}"]


def traced_in_bfloat16(step: Any) -> Any:
    """A stage's step, whose graph is made inside `products_in_bfloat16`."""

    def inside(batch: Any) -> None:
        with products_in_bfloat16():
            step(batch)

    return inside


def differences(rows: list[list[str]], column: int) -> list[list[str]]:
    """Of each arm against float32, by seed: mean, standard deviation, and the standard error of the mean."""
    values = {(row[0], row[1]): float(row[column]) for row in rows}
    found = []
    for arm in ARMS[1:]:
        pairs = [value - values["float32", seed] for (name, seed), value in values.items() if name == arm and ("float32", seed) in values]
        if len(pairs) > 1:
            sd = statistics.stdev(pairs)
            found.append(
                [arm, HEADER[column], str(len(pairs)), f"{statistics.mean(pairs):+.2f}", f"{sd:.2f}", f"{sd / len(pairs) ** 0.5:.2f}"]
            )
    return found


def main() -> None:
    """Train, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=report.numbers, default=[0, 1, 2, 3, 4])
    parser.add_argument("--arms", default=",".join(ARMS), help="of: " + "; ".join(f"{name}, {text}" for name, text in ABOUT.items()))
    parser.add_argument("--preset", default="tsne_augmented_small")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--output", default="results/bfloat16.md")
    flags = parser.parse_args()
    os.environ.update(report.ONE_THREAD)  # before TensorFlow is loaded: the same numbers wherever it runs
    known = Path(flags.output).with_suffix(".csv")
    rows = list(csv.reader(known.open()))[1:] if known.exists() else []
    about = (
        f"`python benchmarks/bfloat16.py --preset {flags.preset} --dataset {flags.dataset}`, {datetime.date.today()}, commit "
        f"{report.commit()}, one thread. " + "; ".join(f'"{name}": {text}' for name, text in ABOUT.items()) + "."
    )
    for seed in flags.seeds:
        for arm in flags.arms.split(","):
            if not any(row[:2] == [arm, str(seed)] for row in rows):
                rows.append(train(arm, seed, flags.preset, flags.dataset, {}))
                report.write(flags.output, "Products in bfloat16", about, HEADER, rows)
                print(rows[-1], flush=True)
    compared = [row for column in (2, 3, 4) for row in differences(rows, column)]
    print(report.markdown(("products", "against float32", "seeds", "mean", "sd", "standard error"), compared))


if __name__ == "__main__":
    main()
