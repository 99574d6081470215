"""What Keras' mixed_bfloat16 would save in the steps of pretraining: forward and backward of networks of the default's shapes.

    python benchmarks/mixed_precision.py

Float32 and mixed precision take turns, a step each, in CPU time, so one core with other work on it will do. Without the optimizer, whose
arithmetic is float32 in both.
"""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Callable

import keras
import report
import tensorflow as tf
from interleave import measure

POLICIES = ("float32", "mixed_bfloat16")


def autoencoder(policy: str) -> keras.Sequential:
    """Of the model's default widths."""
    hidden = [keras.layers.Dense(n, "leaky_relu", dtype=policy) for n in (500, 500, 10, 500, 500)]
    return keras.Sequential([keras.Input((784,)), *hidden, keras.layers.Dense(784, dtype=policy)])


def convolutional(policy: str) -> keras.Sequential:
    """As one of the networks that give clusters themselves (`nvisa_tf.models.mutual_information`)."""

    def normalized(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
        return [layer, keras.layers.BatchNormalization(dtype=policy), keras.layers.LeakyReLU(0.2, dtype=policy)]

    layers = [keras.Input((784,)), keras.layers.Reshape((28, 28, 1), dtype=policy)]
    for filters in (16, 32):
        layers += normalized(keras.layers.Conv2D(filters, 3, strides=2, padding="same", dtype=policy))
    layers += [
        keras.layers.Flatten(dtype=policy),
        *normalized(keras.layers.Dense(256, dtype=policy)),
        keras.layers.Dense(200, dtype=policy),
    ]
    return keras.Sequential(layers)


NETWORKS = {"dense autoencoder, 784-500-500-10": (autoencoder, 128), "convolutional network, 28 x 28": (convolutional, 512)}


def step_of(name: str, policy: str) -> Callable[[], float]:
    """Forward and backward of one of `NETWORKS` on random images; it gives the sum of all gradients."""
    make, batch = NETWORKS[name]
    network, x = make(policy), tf.random.stateless_normal([batch, 784], [0, 0])

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(network(x, training=True), tf.float32) ** 2)
        return tf.add_n([tf.reduce_sum(value) for value in tape.gradient(loss, network.trainable_variables)])

    return lambda: float(step())


def main() -> None:
    """Measure and print."""
    rows = []
    for name, (_, batch) in NETWORKS.items():
        plain, mixed = measure([(step_of, (name, policy)) for policy in POLICIES], rounds=40, warm_up=3, cpu_time=True)
        ratio = statistics.median(other / one for one, other in zip(plain.seconds, mixed.seconds, strict=True))
        rows.append([name, str(batch), *(f"{1000 * statistics.median(found.seconds):.1f}" for found in (plain, mixed)), f"{ratio:.2f}"])
    print(f"{datetime.date.today()}, commit {report.commit()}, {report.cores()}\n")
    print(report.markdown(("step", "batch", "float32, ms", "mixed, ms", "ratio"), rows))


if __name__ == "__main__":
    main()
