"""nvisa-tf sample."""

from __future__ import annotations

import argparse

from nvisa_tf.cli.files import check_writable
from nvisa_tf.cli.main import quiet_stderr
from nvisa_tf.cli.options import integers
from nvisa_tf.io.run_directory import RunDirectory


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of sample."""
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--output", default="samples.png", metavar="FILE", help="a .png file; replaced if it exists (default samples.png)")
    parser.add_argument("--columns", type=int, default=10, metavar="N", help="samples a cluster (default 10)")
    parser.add_argument("--clusters", type=integers, default=None, metavar="N,N", help="which clusters (default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the draws (default 0)")


def run(flags: argparse.Namespace) -> int:
    """Draw a grid."""
    RunDirectory.open(flags.run)
    output = check_writable(flags.output, (".png",))
    if flags.columns < 1 or not 0 <= flags.seed < 2**31 - 1000:
        raise ValueError(f"--columns is {flags.columns} and --seed is {flags.seed}; columns must be at least 1, and the seed not negative.")
    with quiet_stderr():
        from nvisa_tf.evaluation.plots import sample_grid, save_png
        from nvisa_tf.runs import workflows
    model, config, _ = workflows.load_run(flags.run)
    if "generate" not in model.capabilities:
        raise ValueError(f"The method {config.method} generates nothing, so it has no samples to draw.")
    save_png(output, sample_grid(model, flags.columns, flags.seed, flags.clusters))
    print(f"{output}: one cluster in each row, {flags.columns} samples of it.")
    return 0
