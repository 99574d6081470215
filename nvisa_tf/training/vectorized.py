"""Stages of many models of one configuration trained in one program, with a leading axis over the models.

What a step computes is vectorized over that axis by `tf.vectorized_map`: R matrix products become one product of R matrices, for
devices that one small model leaves idle. Each model keeps its own weights, order of examples and random numbers: those that it has alone.

Shapes: R models, B examples of a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.data import Array
from nvisa_tf.layers.graphs import graph_of
from nvisa_tf.models.base import VectorizableStage
from nvisa_tf.models.stage import steps_per_epoch
from nvisa_tf.training.batches import permutation


def vectorized_runner(
    stages: Sequence[VectorizableStage], step_variable: Any, x: Array, *, batch_size: int, seeds: Sequence[int], xla: bool
) -> Callable[[int], None]:
    """A function that runs the next n training steps of every stage on `x`, raw examples [n_examples, ...].

    After each call the models are as if each had been trained alone by `step_runner`, to rounding.

    Args:
      stages: of one configuration and step; they differ in weights and seed.
      step_variable: the first stage's step.
      x: kept on the device.
      batch_size: at most the number of examples is used.
      seeds: of each stage's shuffle.
      xla: compile the steps with XLA.

    Raises:
      ValueError: the stages differ in more than seed and weights.
    """
    first = stages[0]
    if any(stage.alike() != first.alike() for stage in stages):
        raise ValueError("Models that are trained in one program must have one configuration and stand at one step.")
    batch_size = min(batch_size, len(x))
    per_epoch = steps_per_epoch(len(x), batch_size)
    data = tf.Variable(np.ascontiguousarray(np.asarray(x)), trainable=False, name="data")
    variables = [stage.state() for stage in stages]

    @tf.autograph.experimental.do_not_convert  # as in `step_runner`
    def one_step(like: Any, arguments: tuple[list[tf.Tensor], tf.Tensor, list[tf.Tensor]]) -> list[tf.Tensor]:
        values, raw, parts = arguments
        left = iter(parts)
        noise = tf.nest.pack_sequence_as(like, [None if part is None else next(left) for part in tf.nest.flatten(like)])
        with keras.StatelessScope(state_mapping=list(zip(variables[0], values, strict=True))) as scope:
            first.step_on(raw, noise, select=True)
            new = [scope.get_current_value(variable) for variable in variables[0]]
        return [old if value is None else value for old, value in zip(values, new, strict=True)]

    def run(n_steps: tf.Tensor) -> None:
        step = tf.convert_to_tensor(step_variable)
        orders = _orders(len(x), seeds, step // per_epoch)
        state = [tf.stack([variable.value for variable in same]) for same in zip(*variables, strict=True)]
        for _ in tf.range(n_steps):
            index = tf.cast(step % per_epoch, tf.int32)
            if index == 0:
                orders = _orders(len(x), seeds, step // per_epoch)
            rows = tf.slice(orders, [0, index * batch_size], [len(stages), batch_size])
            noises = [stage.noise(batch_size, step) for stage in stages]
            parts = [tf.stack(arrays) for arrays in zip(*(_present(noise) for noise in noises), strict=True)]
            step_with = functools.partial(one_step, noises[0])
            state = tf.vectorized_map(step_with, (state, tf.gather(data, rows), parts), fallback_to_while_loop=False)
            step += 1
        for same, value in zip(zip(*variables, strict=True), state, strict=True):
            for variable, part in zip(same, tf.unstack(value, len(stages)), strict=True):
                variable.assign(part)

    graph = graph_of(run, jit_compile=xla)
    return lambda n_steps: graph(tf.constant(n_steps))


def _present(noise: Any) -> list[tf.Tensor]:
    return [part for part in tf.nest.flatten(noise) if part is not None]


def _orders(n_examples: int, seeds: Sequence[int], epoch: tf.Tensor) -> tf.Tensor:
    return tf.stack([permutation(n_examples, seed, tf.cast(epoch, tf.int32)) for seed in seeds])
