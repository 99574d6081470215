"""Batches of a shuffled data set, and the compiled function that trains on many of them at once.

Epoch e visits the examples in a permutation that derives from (seed, e), so step s sees the same
batch whether the data are on the device or streamed, and whether the run was resumed or not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nvisa_tf.data import Array
from nvisa_tf.layers.graphs import graph_of
from nvisa_tf.models.stage import steps_per_epoch

MEMORY_LIMIT = 2 * 2**30  # bytes of examples up to which they are kept on the device
SHUFFLE_STREAM = 0x5F0F  # sets the shuffle's seeds apart from the model's


def permutation(n_examples: int, seed: int, epoch: Any) -> tf.Tensor:
    """The order of examples in an epoch, int32 [n_examples]."""
    key = tf.random.fold_in(tf.constant([seed, SHUFFLE_STREAM], tf.int32), epoch)
    # By sorting random keys, as XLA has no kernel for tf.random.experimental.stateless_shuffle.
    keys = tf.random.stateless_uniform([n_examples], key, minval=None, maxval=None, dtype=tf.int32)
    return tf.argsort(keys, stable=True)


def kept_on_device(x: Array, pipeline: str) -> bool:
    """Whether the examples are kept on the device, as `pipeline` says ("memory", "stream", or "auto", by size)."""
    return pipeline == "memory" or (pipeline == "auto" and x.nbytes <= MEMORY_LIMIT)


def step_runner(
    train_step: Callable[[tf.Tensor], Any],
    step: Any,
    x: Array,
    *,
    batch_size: int,
    seed: int,
    pipeline: str,
    total_steps: int,
    xla: bool,
) -> Callable[[int], None]:
    """A function that runs the next n training steps on `x`, [n_examples, ...].

    Args:
      train_step: of a batch [B, ...]; it adds 1 to `step`.
      step: steps done, an integer variable: training goes on wherever it stands.
      x: raw examples, or what else a step takes.
      batch_size: at most the number of examples is used.
      seed: of the shuffle.
      pipeline: "memory" keeps `x` on the device, "stream" reads it batch by batch with tf.data,
        "auto" decides by size.
      total_steps: where streaming ends.
      xla: compile the steps with XLA.
    """
    batch_size = min(batch_size, len(x))
    # A step has no control flow in Python that depends on tensors, and looking for it takes longer than all other tracing.
    plain_step = tf.autograph.experimental.do_not_convert(train_step)
    if kept_on_device(x, pipeline):
        return _memory_runner(plain_step, step, x, batch_size, seed, xla)
    return _stream_runner(plain_step, step, x, batch_size, seed, total_steps, xla)


def _memory_runner(train_step: Any, step_variable: Any, x: Array, batch_size: int, seed: int, xla: bool) -> Callable[[int], None]:
    per_epoch = steps_per_epoch(len(x), batch_size)
    # A variable, so that the compiled program takes the data as an argument and not as a literal.
    data = tf.Variable(np.ascontiguousarray(np.asarray(x)), trainable=False, name="data")
    order_of = functools.partial(permutation, len(x), seed)

    def run(n_steps: tf.Tensor) -> None:
        step = tf.convert_to_tensor(step_variable)
        order = order_of(tf.cast(step // per_epoch, tf.int32))
        for _ in tf.range(n_steps):
            step = tf.convert_to_tensor(step_variable)
            index = tf.cast(step % per_epoch, tf.int32)
            if index == 0:
                order = order_of(tf.cast(step // per_epoch, tf.int32))
            rows = tf.slice(order, [index * batch_size], [batch_size])
            train_step(tf.gather(data, rows))

    graph = graph_of(run, jit_compile=xla)
    return lambda n_steps: graph(tf.constant(n_steps))


def _stream_runner(
    train_step: Any, step_variable: Any, x: Array, batch_size: int, seed: int, total_steps: int, xla: bool
) -> Callable[[int], None]:
    per_epoch = steps_per_epoch(len(x), batch_size)

    @functools.lru_cache(maxsize=2)
    def order_of(epoch: int) -> np.ndarray:
        return permutation(len(x), seed, tf.constant(epoch, tf.int32)).numpy()

    def read(step: np.ndarray) -> np.ndarray:
        epoch, index = divmod(int(step), per_epoch)
        return np.asarray(x[order_of(epoch)[index * batch_size : (index + 1) * batch_size]])

    def load(step: tf.Tensor) -> tf.Tensor:
        batch = tf.numpy_function(read, [step], tf.as_dtype(x.dtype), stateful=False)
        return tf.ensure_shape(batch, (batch_size, *x.shape[1:]))

    iterators: dict[str, Any] = {}

    def run(iterator: Any, n_steps: tf.Tensor) -> None:
        for _ in tf.range(n_steps):
            one_step(next(iterator))

    one_step = tf.function(train_step, jit_compile=True) if xla else train_step
    graph = graph_of(run)

    def run_steps(n_steps: int) -> None:
        if "batches" not in iterators:
            batches = tf.data.Dataset.range(int(step_variable.numpy()), total_steps).map(load)
            iterators["batches"] = iter(batches.prefetch(tf.data.AUTOTUNE))
        graph(iterators["batches"], tf.constant(n_steps))

    return run_steps
