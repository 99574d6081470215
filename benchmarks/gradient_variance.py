"""The noise of each objective's gradient estimate, on one trained model and one batch.

    python benchmarks/gradient_variance.py RUN --output results/gradient_variance.md

For every objective and number of samples: the trace of the covariance of the estimate over independent draws at
fixed weights and a fixed batch, for the encoder's weights and the decoder's (with the prior's) apart, of the mean over the
batch. nvil's baseline network is trained on the batch first, and its gradient for the encoder is divided by its signal's
standard deviation. rws estimates another gradient for the encoder, so its row is its own noise. Objectives that enumerate y take
M / K samples of z in each of the K clusters, so that rows of one M cost about the same; below one sample each they have no
row. Milliseconds are the median of a call, the objectives interleaved.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import platform
import statistics
import time
from typing import Any

import keras
import numpy as np
import report
import tensorflow as tf

from nvisa_tf import NVISA, OBJECTIVES, load_run
from nvisa_tf.data import load_splits

ENCODER = ("encoder", "cluster_head", "latent_head")
DECODER = ("decoder", "prior")
SETTLING = 300  # steps of nvil's baseline network
VARIANTS = [(name, "all") for name in OBJECTIVES] + [("vimco", "resampled")]


class Moments:
    """The sum over coordinates of the variance, over draws, of gradients (Welford)."""

    def __init__(self) -> None:
        self.n, self.mean, self.square = 0, 0.0, 0.0

    def add(self, gradient: np.ndarray) -> None:
        """Take one draw."""
        self.n += 1
        delta = gradient - self.mean
        self.mean = self.mean + delta / self.n
        self.square = self.square + delta * (gradient - self.mean)

    @property
    def trace(self) -> float:
        """Of the covariance."""
        return float(np.sum(self.square)) / (self.n - 1)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--samples", type=lambda t: [int(n) for n in t.split(",")], default=[2, 5, 15, 50])
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--eps", type=float, default=None, help="default: the run's last eps")
    parser.add_argument("--output", default="results/gradient_variance.md")
    flags = parser.parse_args()
    trained, config, _ = load_run(flags.run)
    model = NVISA(dataclasses.replace(trained.config, baseline_units=(100,)), seed=0)
    by_path = {w.path.split("/", 1)[-1]: w for w in trained.weights}
    for weight in model.weights:
        if "control" not in weight.path:
            weight.assign(by_path[weight.path.split("/", 1)[-1]])
    if flags.eps is not None:
        model.eps_x.assign(flags.eps)
        model.eps_z.assign(flags.eps)
    x = model.preprocess(load_splits(config.data).train.x[: flags.batch])
    groups = {"encoder": ENCODER, "decoder": DECODER}
    members = {g: [i for i, v in enumerate(model.trainable_variables) if any(n in v.path for n in names)] for g, names in groups.items()}

    cases = {}
    for name, decoder_gradient in VARIANTS:
        for m in flags.samples:
            each = m // model.config.n_clusters if OBJECTIVES[name].enumerates_y else m
            if each >= OBJECTIVES[name].min_samples:
                model.compile(objective=name, n_samples=each, decoder_gradient=decoder_gradient)
                step = tf.function(lambda seed: tuple(model.gradient_step.loss_gradient(x, seed)[:2]))
                if name == "nvil":
                    settle(model, step)
                cases[name, decoder_gradient, m] = (step, {g: Moments() for g in groups}, [])
                step(tf.constant([0, 0]))  # traced while these options are in force
    for draw in range(flags.draws):
        for step, moments, seconds in cases.values():
            started = time.perf_counter()
            gradients, _ = step(tf.constant([7, draw]))
            gradients = [g.numpy() for g in gradients]
            seconds.append(time.perf_counter() - started)
            for group, rows in members.items():
                moments[group].add(np.concatenate([gradients[i].ravel() for i in rows]))
    write(flags, model, cases)


def settle(model: NVISA, step: Any) -> None:
    """Train nvil's baseline network on the batch, and give nvil the running moments that go with it."""
    control = [i for i, v in enumerate(model.trainable_variables) if "control" in v.path]
    variables = [model.trainable_variables[i] for i in control]
    optimizer = keras.optimizers.Adam(1e-3)
    for i in range(SETTLING):
        gradients, estimate = step(tf.constant([3, i]))
        optimizer.apply([gradients[i] for i in control], variables)
        model.control_mean.assign(estimate.mean)
        model.control_variance.assign(estimate.variance)


def write(flags: argparse.Namespace, model: NVISA, cases: dict) -> None:
    """A Markdown table, and the same as CSV beside it."""
    header = ["objective", "decoder gradient", "M", "trace, encoder", "trace, decoder and prior", "ms a call"]
    rows = []
    for (name, gradient, m), (_, moments, seconds) in cases.items():
        numbers = [f"{moments[group].trace:.3g}" for group in ("encoder", "decoder")]
        rows.append([name, gradient, str(m), *numbers, f"{1000 * statistics.median(seconds):.1f}"])
    about = (
        f"`python benchmarks/gradient_variance.py RUN --draws {flags.draws} --batch {flags.batch}"
        f"{'' if flags.eps is None else f' --eps {flags.eps:g}'}`, {datetime.date.today()}, commit {report.commit()}, "
        f"{platform.machine()}, eps {float(model.eps_x):.3g}. Trace of the covariance of the gradient of the batch's mean objective."
    )
    report.write(flags.output, "Noise of the gradient estimates", about, header, rows)
    print(report.markdown(header, rows))


if __name__ == "__main__":
    main()
