"""One training step of VIMCO here, against what users would run instead, on the same cores in one run.

    pip install ".[bench]" && python benchmarks/train_step.py --output results/train_step.md

Contenders take turns, a step each, in processes of their own: our step under several options, the same model and number
of samples in plain PyTorch (eager and torch.compile), JAX (compiled) and TFP, our EnumY, and a large matrix product as the ceiling.
All have glibc keep memory instead of giving it back to the system, without which PyTorch's plain step takes twice as long.
"times ours" is the median over rounds of a contender's step against ours of the same round, "share" the arithmetic that its
algorithm needs, over the time it took, over the matrix product's rate.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import plain_jax
import plain_tfp
import plain_torch
import report
from interleave import measure

K, D, H = 10, 10, 500
MATRIX = 3000
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**33)}  # bytes


def ours(batch: int, n_samples: int, input_dim: int, options: dict[str, Any]) -> Callable[[], float]:
    """Our step; options of the model or of `compile`, xla and keras_adam."""
    import keras
    import tensorflow as tf

    from nvisa_tf import NVISA, NVISAConfig, StdAnnealing
    from nvisa_tf.layers.optimizer import FusedAdam

    one = StdAnnealing.constant(1.0)
    options = dict(options)
    model = NVISA(NVISAConfig(input_shape=(input_dim,), decoder_scale=options.pop("decoder_scale", "network")), seed=0)
    model.set_preprocessing(1 / 255, 0.0)
    xla = options.pop("xla", False)
    optimizer = keras.optimizers.Adam() if options.pop("keras_adam", False) else FusedAdam()
    model.compile(optimizer, n_samples=n_samples, annealing_x=one, annealing_z=one, **options)
    data = tf.constant(np.random.default_rng(0).integers(0, 256, (batch, input_dim), np.uint8))

    @tf.function(jit_compile=xla)
    def run(images: tf.Tensor) -> tf.Tensor:
        model.reset_metrics()
        return model.train_step(images)["bound"]

    return lambda: float(run(data))


def matrix_product(size: int) -> Callable[[], float]:
    """The product of two square matrices, by TensorFlow; it gives one of its numbers."""
    import tensorflow as tf

    a, b = tf.random.normal([size, size], seed=0), tf.random.normal([size, size], seed=1)
    product = tf.function(lambda: tf.matmul(a, b)[0, 0])
    return lambda: float(product())


def by_layer(n_samples: int, input_dim: int, backward: int, scale_net: bool, copies: int = 1) -> dict[str, float]:
    """Multiplications of one example's matrix products in a step, as the contender's algorithm has them, by layer.

    The decoder's gradient comes from `backward` samples an example; the layer in which y joins h(x) meets `copies` of h(x) (M
    where they are concatenated, 1 where their products are added). Backward is twice forward, but that the encoder's first
    layer and, where z is not reparameterized, the decoder's need no gradient of their inputs.
    """
    outputs = input_dim * (2 if scale_net else 1)
    return {
        "encoder, first": 2 * input_dim * H,
        "encoder, second": 3 * H * H,
        "q(y|x)": 3 * H * K,
        "q(z|y,x), hidden": 3 * (copies * H * H + n_samples * K * H),
        "q(z|y,x), mean and sigma": 3 * n_samples * H * 2 * D,
        "decoder, first": (n_samples + backward) * D * H,
        "decoder, second": (n_samples + 2 * backward) * H * H,
        "decoder, mean" + (" and sigma" if scale_net else ""): (n_samples + 2 * backward) * H * outputs,
    }


def flops(batch: int, *how: Any, **also: Any) -> float:
    """Floating point operations of a step's matrix products; arguments after the batch as `by_layer`."""
    return 2.0 * batch * sum(by_layer(*how, **also).values())


def arithmetic(m: int, dim: int) -> str:
    """A Markdown table: millions of multiplications an example, by layer, of a plain step and of ours."""
    plain, resampled = by_layer(m, dim, m, True, copies=m), by_layer(m, dim, 1, True)
    rows = [[name.replace("|", r"\|"), f"{plain[name] / 1e6:.3f}", f"{resampled[name] / 1e6:.3f}"] for name in plain]
    sums = sum(plain.values()), sum(resampled.values())
    rows.append(["all", f"{sums[0] / 1e6:.2f}", f"{sums[1] / 1e6:.2f}"])
    head = report.markdown(("layer", "plain", "ours, resampled"), rows)
    return f"M = {m}, {dim} inputs; the plain step has {sums[0] / sums[1]:.2f} times ours:\n\n{head}\n"


class Contender(NamedTuple):
    """A name, what makes its step, and which arithmetic its algorithm needs."""

    name: str
    make: Any
    arguments: tuple[Any, ...]
    flops: float


def contenders(batch: int, m: int, dim: int, extra: bool) -> list[Contender]:
    """Ours first; with `extra` every option and competitor."""

    def our(name: str, samples: int = m, rows: int = m, **options: Any) -> Contender:
        backward = 1 if options.get("decoder_gradient") == "resampled" else rows
        count = flops(batch, rows, dim, backward, options.get("decoder_scale") != "per_dimension")
        return Contender(name, ours, (batch, samples, dim, options), count)

    resampled, per_pixel = {"decoder_gradient": "resampled"}, {"decoder_scale": "per_dimension"}
    plain = flops(batch, m, dim, m, True, copies=m)
    found = [
        our("ours, resampled", **resampled),
        our("ours, decoder gradient from all"),
        our("ours, resampled, sigma a pixel", **resampled, **per_pixel),
        Contender("PyTorch, plain", plain_torch.step, (batch, m, dim, False), plain),
        Contender("PyTorch, torch.compile", plain_torch.step, (batch, m, dim, True), plain),
        Contender("JAX, jit", plain_jax.step, (batch, m, dim), plain),
        Contender("TFP, plain", plain_tfp.step, (batch, m, dim), plain),
    ]
    if extra:
        found += [
            # The default is one of the two, whichever is fast on the machine.
            our("ours, resampled, float32 forward", **resampled, forward_precision="float32"),
            our("ours, resampled, bfloat16 forward", **resampled, forward_precision="bfloat16"),
            our("ours, resampled, Keras' Adam", **resampled, keras_adam=True),
            our("ours, resampled, XLA", **resampled, xla=True),
            our("ours, resampled, XLA, float32 forward", **resampled, xla=True, forward_precision="float32"),
            our("ours, resampled, sigma a pixel, XLA", **resampled, **per_pixel, xla=True),
            our(f"ours, EnumY, {max(1, m // K)} of z each", max(1, m // K), K * max(1, m // K), objective="enum_y"),
        ]
    return [*found, Contender(f"matrix product of {MATRIX}", matrix_product, (MATRIX,), 2.0 * MATRIX**3)]


HEADER = ("batch", "M", "inputs", "contender", "ms a step", "examples/s", "times ours", "share", "GiB", "bound")


def table(batch: int, m: int, dim: int, flags: argparse.Namespace) -> list[list[str]]:
    """The rows of one setting."""
    who = contenders(batch, m, dim, flags.extra)
    found = measure([(c.make, c.arguments) for c in who], flags.rounds, flags.warm_up, KEEP_MEMORY, flags.cpu_time)
    ceiling = who[-1].flops / statistics.median(found[-1].seconds)
    rows = []
    for contender, result in zip(who, found, strict=True):
        seconds = statistics.median(result.seconds)
        is_step = contender is not who[-1]
        ratio = statistics.median(theirs / ours_ for theirs, ours_ in zip(result.seconds, found[0].seconds, strict=True))
        share = contender.flops / seconds / ceiling
        numbers = [f"{batch / seconds:,.0f}", f"{ratio:.2f}", f"{share:.0%}", f"{result.memory / 2**30:.2f}", f"{result.value:.0f}"]
        about = numbers if is_step else ["-", "-", f"{ceiling / 1e9:.0f} GFLOP/s", f"{result.memory / 2**30:.2f}", "-"]
        rows.append([str(batch), str(m), str(dim), contender.name, f"{1000 * seconds:.1f}", *about])
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=report.numbers, default=[128, 1024])
    parser.add_argument("--samples", type=report.numbers, default=[5, 15, 50])
    parser.add_argument("--inputs", type=report.numbers, default=[784, 2048])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--extra", action="store_true", help="every option and competitor, not the main ones alone")
    parser.add_argument("--cpu-time", action="store_true", help="of the processes, for one core with other work on it")
    parser.add_argument("--arithmetic", action="store_true", help="print the products' arithmetic by layer, and measure nothing")
    parser.add_argument("--output", default="results/train_step.md")
    flags = parser.parse_args()
    if flags.arithmetic:
        print("\n".join(arithmetic(m, dim) for dim in flags.inputs for m in flags.samples))
        return
    how = "".join(f" --{name.replace('_', '-')}" for name in ("extra", "cpu_time") if getattr(flags, name))
    about = (
        f"`python benchmarks/train_step.py --batch {','.join(map(str, flags.batch))} --samples {','.join(map(str, flags.samples))} "
        f"--inputs {','.join(map(str, flags.inputs))} --rounds {flags.rounds}{how}`, "
        f"{datetime.date.today()}, commit {report.commit()}, {report.cores()}; units 500-500, z 10, K 10; "
        f"medians of {flags.rounds} steps. Ours computes at most 16,384 decoder rows (M times batch) at once; more go in "
        "chunks, forward twice where the decoder's gradient is from all."
    )
    rows: list[list[str]] = []
    for dim in flags.inputs:
        for batch in flags.batch:
            for m in flags.samples:
                found = table(batch, m, dim, flags)
                rows += found
                report.write(flags.output, "One training step, side by side", about, HEADER, rows)
                print(report.markdown(HEADER, found), flush=True)


if __name__ == "__main__":
    main()
