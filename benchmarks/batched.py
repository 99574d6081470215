"""Several restarts in one program against the same restarts one after another, on the same cores in one run.

    pip install ".[bench]" && python benchmarks/batched.py --output results/batched.md

Both take turns, a call of `--steps` steps of every model each, in processes of their own. "one by one" is what restarts do
without --batched, in one process and without its start; a ratio above 1 says that one program for all is faster.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
from collections.abc import Callable

import numpy as np
import report
from interleave import measure

EXAMPLES, BATCH = 1280, 128
HEADER = (
    "inputs",
    "width",
    "M",
    "XLA",
    "restarts",
    "one by one: ms a step of all",
    "in one program",
    "times faster",
    "GiB one by one",
    "GiB in one",
)


def steps(inputs: int, width: int, n_samples: int, xla: bool, n_models: int, batched: bool, n_steps: int) -> Callable[[], float]:
    """`n_steps` steps of every model, in one program or one by one."""
    from nvisa_tf import NVISA, RunConfig
    from nvisa_tf.config.presets import preset
    from nvisa_tf.data import Dataset
    from nvisa_tf.models.nvisa.training import NVISAStage
    from nvisa_tf.training.batches import step_runner
    from nvisa_tf.training.vectorized import vectorized_runner

    sizes = {"encoder_units": (width, width), "posterior_units": width, "decoder_units": (width, width)}
    config = RunConfig().replace({**preset("random_fast"), **sizes, "input_shape": (inputs,), "n_samples": n_samples, "batch_size": BATCH})
    x = np.random.default_rng(0).integers(0, 256, (EXAMPLES, inputs), np.uint8)
    models = [NVISA(config.model, seed=seed) for seed in range(n_models)]
    stages = []
    for seed, model in enumerate(models):
        model.set_preprocessing(1 / 255, 0.0)
        stages.append(NVISAStage(model, Dataset("random", x), config.model, config.replace({"seed": seed}).train))
    if batched:
        runs = [vectorized_runner(stages, stages[0].step, x, batch_size=BATCH, seeds=range(n_models), xla=xla)]
    else:
        options = {"batch_size": BATCH, "pipeline": "memory", "total_steps": 10**6, "xla": xla}
        runs = [step_runner(stage.train_step, stage.step, x, seed=seed, **options) for seed, stage in enumerate(stages)]

    def call() -> float:
        for run in runs:
            run(n_steps)
        return float(models[-1].trackers["bound"].result())

    return call


def row(inputs: int, width: int, n_samples: int, xla: bool, n_models: int, rounds: int, n_steps: int) -> list[str]:
    """One setting, both ways."""
    arguments = (inputs, width, n_samples, xla, n_models)
    alone, together = measure([(steps, (*arguments, batched, n_steps)) for batched in (False, True)], rounds, 2)
    ratio = statistics.median(a / b for a, b in zip(alone.seconds, together.seconds, strict=True))
    times = [f"{1000 * statistics.median(found.seconds) / n_steps:.1f}" for found in (alone, together)]
    memory = [f"{found.memory / 2**30:.2f}" for found in (alone, together)]
    return [str(inputs), str(width), str(n_samples), "on" if xla else "off", str(n_models), *times, f"{ratio:.2f}", *memory]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=report.numbers, default=[2, 8])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=5, help="in a call")
    parser.add_argument("--xla", action="store_true", help="with XLA too, which takes minutes to compile")
    parser.add_argument("--output", default="results/batched.md")
    flags = parser.parse_args()
    restarts, xla = ",".join(map(str, flags.restarts)), " --xla" if flags.xla else ""
    about = (
        f"`python benchmarks/batched.py --restarts {restarts} --rounds {flags.rounds} --steps {flags.steps}{xla}`, "
        f"{datetime.date.today()}, commit {report.commit()}, {report.cores()}; the preset random_fast, batch {BATCH}; medians of "
        f"{flags.rounds} calls of {flags.steps} steps each."
    )
    rows: list[list[str]] = []
    for inputs, width in ((64, 64), (64, 256), (784, 500)):
        for xla in (False, True) if flags.xla else (False,):
            for n_models in flags.restarts:
                rows.append(row(inputs, width, 5, xla, n_models, flags.rounds, flags.steps))
                report.write(flags.output, "Restarts in one program, and one by one", about, HEADER, rows)
                print(report.markdown(HEADER, rows[-1:]), flush=True)


if __name__ == "__main__":
    main()
