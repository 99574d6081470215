"""Where the time of our resampled step goes: its parts alone, each a graph of its own, by CPU time.

    OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 python benchmarks/step_parts.py --samples 5

Parts take turns, so that what else the machine does meets all alike. What no part has, "the rest", is the whole step less all of them:
the objective, what is reported, small operations and their dispatch.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import report

# Before TensorFlow is loaded; glibc reads its own when a program starts, so those are the caller's.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def parts(batch: int, m: int, dim: int) -> dict[str, Callable[[], Any]]:
    """The whole step first, then its parts, by name."""
    import tensorflow as tf
    from train_step import ours

    from nvisa_tf import NVISA, NVISAConfig, StdAnnealing
    from nvisa_tf.layers.optimizer import FusedAdam, global_norm

    one = StdAnnealing.constant(1.0)
    model = NVISA(NVISAConfig(input_shape=(dim,)), seed=0)
    model.compile(FusedAdam(), n_samples=m, decoder_gradient="resampled", annealing_x=one, annealing_z=one)
    model.eps_x.assign(1.0)
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> tf.Tensor:
        return tf.constant(rng.normal(size=shape), tf.float32)

    x, z = normal(batch, dim), normal(m, batch, model.config.latent_dim)
    variables = model.trainable_variables
    gradients = [normal(*v.shape) for v in variables]
    noise = model.gradient_step.noise(batch, tf.constant(0, tf.int64), tf.constant(0, tf.int64))
    step = tf.Variable(0, dtype=tf.int64)

    def gradient_of(value: Callable[[], tf.Tensor]) -> list[Any]:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(value())
        return [g for g in tape.gradient(total, [v.value for v in variables]) if g is not None]

    def draws() -> Any:
        step.assign_add(1)
        return model.gradient_step.noise(batch, tf.constant(0, tf.int64), step)

    def encoded() -> list[Any]:
        return gradient_of(lambda: model.encoder(x))

    def posteriors() -> list[Any]:
        h = model.encoder(x)  # its own time is subtracted below, as nothing is without it

        def log_q() -> tf.Tensor:
            q_y = model.q_y(h)
            found = model.particles(h, q_y, model.propose(q_y, noise.proposal))
            return found.log_q_y + found.log_q_z + found.log_p_z

        return gradient_of(log_q)

    def update() -> Any:
        norm = global_norm(gradients)
        model.optimizer.apply(gradients, variables)
        return norm

    made: dict[str, Callable[[], Any]] = {
        "decoder, forward without gradient, its products": lambda: model.decoder(z),
        "the same and the density": lambda: model.log_p_x(x, z),
        "decoder, forward again for the sample drawn": lambda: model.log_p_x(x, z[0]),
        "the same and its gradient": lambda: gradient_of(lambda: model.log_p_x(x, z[0])),
        "encoder, forward": lambda: model.encoder(x),
        "the same and its gradient, up to h": encoded,
        "posteriors and prior, forward and backward, and encoder, forward": posteriors,
        "gradient norm and Adam": update,
        "random draws": draws,
        "nothing: what a call costs": lambda: tf.constant(0.0),
    }
    graphs = {name: tf.function(function, autograph=False) for name, function in made.items()}
    return {"whole step": ours(batch, m, dim, {"decoder_gradient": "resampled"}), **graphs}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--rounds", type=int, default=20)
    flags = parser.parse_args()
    made = parts(flags.batch, flags.samples, flags.inputs)
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for turn in range(flags.rounds + 3):
        for name, function in made.items():
            began = time.process_time()
            function()
            if turn > 2:
                seconds[name].append(time.process_time() - began)
    ms = {name: 1000 * statistics.median(found) for name, found in seconds.items()}
    call = ms["nothing: what a call costs"]
    products, density, again, gradient, forward, encoder, posterior, update, draws = (ms[name] - call for name in list(ms)[1:-1])
    own = {
        "decoder, forward without gradient: products": products,
        "its density": density - products,
        "decoder, forward again for the sample drawn": again,
        "decoder, that sample's gradient": gradient - again,
        "encoder, forward and backward": encoder,
        "posteriors and prior, forward and backward": posterior - forward,
        "gradient norm and Adam": update,
        "random draws": draws,
    }
    whole = ms["whole step"]
    own["the rest"] = whole - sum(own.values())
    rows = [[name, f"{value:.1f}", f"{value / whole:.0%}"] for name, value in [*own.items(), ("whole step", whole)]]
    setting = f"batch {flags.batch}, M {flags.samples}, {flags.inputs} inputs"
    print(f"{setting}, {datetime.date.today()}, commit {report.commit()}, {report.cores()}")
    print(report.markdown(("part", "ms", "share"), rows))


if __name__ == "__main__":
    main()
