"""Words that run directories of format 1 (nvisa-tf until November 2026) have in place of today's."""

from __future__ import annotations

from typing import Any

from nvisa_tf.config.run import parse_toml

OPTIONS = {"start_from": "init_from", "consistency": "consistency_weight", "max_skipped": "max_nonfinite_steps"}
VALUES = {("init", "kmeans"): "ae_kmeans", ("anneal_mode", "step"): "staircase", ("anneal_mode", "geometric"): "exponential"}
METRICS = {
    "entropy_y": "assignment_entropy",
    "entropy_usage": "mean_assignment_entropy",
    "entropy_sizes": "cluster_size_entropy",
    "test_bound": "held_out_iw_bound",
    "skipped": "nonfinite_steps",
}
REPORT = {
    "bound": "held_out_iw_bound",
    "bound_samples": "held_out_iw_bound_samples",
    "skipped": "nonfinite_steps",
    "confidence": "mean_max_probability",
    "unsure": "low_confidence_fraction",
    "unsure_under": "low_confidence_threshold",
    "init": "initialization",
    "start_accuracy": "distilled_accuracy",
}


def options_from_toml(text: str) -> dict[str, Any]:
    """Options by their names of today, from the config.toml of a run of format 1; it was always of the method nvisa.

    Raises:
      ValueError: not TOML.
    """
    found: dict[str, Any] = {}
    for key, value in parse_toml(text).items():
        found.update(value if isinstance(value, dict) else {key: value})
    today: dict[str, Any] = {}
    for name, value in found.items():
        today[OPTIONS.get(name, name)] = VALUES.get((name, value), value) if isinstance(value, str) else value
    return today


def renamed(values: Any, names: dict[str, str]) -> Any:
    """A dictionary, and those in it, with their keys renamed."""
    if not isinstance(values, dict):
        return values
    return {names.get(key, key): renamed(value, names) for key, value in values.items()}
