"""Graphs of functions that belong to one model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def graph_of(function: Callable[..., Any], **options: Any) -> Any:
    """A `tf.function` with these options, of a function that holds a model's variables, so that every model has its own.

    TensorFlow counts how often the same code is traced, and from the fifth model on warns of it as of a mistake. A partial has no code,
    so that each function counts for itself, and only one that is traced again and again is warned of.
    """
    return tf.function(functools.partial(function), **options)
