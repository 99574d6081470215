"""Training objectives, one file a method, pure functions of log-probabilities; `nvisa_tf.config.objectives` lists them."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from nvisa_tf.config.objectives import OBJECTIVES
from nvisa_tf.models.nvisa.objectives.terms import Control, Estimate, LogProbs, resample
from nvisa_tf.models.nvisa.objectives.vimco import BASELINES, VimcoTerms, importance_weighted_bound, vimco


def estimator(name: str) -> Callable[[LogProbs, Control], Estimate]:
    """The `estimate` function of a method in `nvisa_tf.config.objectives.OBJECTIVES`.

    Raises:
      ValueError: no such method.
    """
    if name not in OBJECTIVES:
        raise ValueError(f"objective is {name!r}; it must be one of {', '.join(OBJECTIVES)}.")
    return importlib.import_module(f"nvisa_tf.models.nvisa.objectives.{name}").estimate


__all__ = ["BASELINES", "Control", "Estimate", "LogProbs", "VimcoTerms", "estimator", "importance_weighted_bound", "resample", "vimco"]
