"""Training objectives, one file a method, pure functions of log-probabilities; `nvisa_tf.methods` lists them."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from nvisa_tf.methods import METHODS
from nvisa_tf.objectives.terms import Control, Estimate, LogProbs, resample
from nvisa_tf.objectives.vimco import BASELINES, VimcoTerms, importance_weighted_bound, vimco


def estimator(name: str) -> Callable[[LogProbs, Control], Estimate]:
    """The `estimate` function of a method in `nvisa_tf.methods.METHODS`.

    Raises:
      ValueError: no such method.
    """
    if name not in METHODS:
        raise ValueError(f"objective is {name!r}; it must be one of {', '.join(METHODS)}.")
    return importlib.import_module(f"nvisa_tf.objectives.{name}").estimate


__all__ = ["BASELINES", "Control", "Estimate", "LogProbs", "VimcoTerms", "estimator", "importance_weighted_bound", "resample", "vimco"]
