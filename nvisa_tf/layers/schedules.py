"""Std annealing: the schedule of the number that is added to a standard deviation.

sigma' = softplus(s) + eps, with eps falling from 1 towards 1e-4 (Li et al., IJCNN 2020, "Std annealing").
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="nvisa_tf")
class StdAnnealing:
    """eps as a function of the global step.

    eps(step) = max(floor, start * 2 ** -(step / halving_steps)), where the mode "staircase" takes the
    whole part of step / halving_steps, so eps halves at marks, and "exponential" does not, so it
    falls a little at every step.

    Args:
      halving_steps: steps in which eps halves; at least 1. Multiply epochs by steps an epoch, or
        use `from_epochs`.
      start: eps at step 0.
      floor: smallest eps.
      mode: "staircase" (the paper's) or "exponential".

    Raises:
      ValueError: an unknown mode, halving_steps < 1, or not 0 <= floor <= start.
    """

    def __init__(self, halving_steps: float, start: float = 1.0, floor: float = 1e-4, mode: str = "staircase") -> None:
        if mode not in ("staircase", "exponential"):
            raise ValueError(f"mode is {mode!r}; it must be staircase or exponential.")
        if halving_steps < 1:
            raise ValueError(f"halving_steps is {halving_steps}; it must be at least 1.")
        if not 0 <= floor <= start:
            raise ValueError(f"floor is {floor} and start is {start}; they must satisfy 0 <= floor <= start.")
        self.halving_steps = float(halving_steps)
        self.start = float(start)
        self.floor = float(floor)
        self.mode = mode

    @classmethod
    def from_epochs(cls, halving_epochs: float, steps_per_epoch: int, **kwargs: Any) -> StdAnnealing:
        """The same schedule with its half-life in epochs."""
        return cls(halving_epochs * steps_per_epoch, **kwargs)

    @classmethod
    def constant(cls, eps: float) -> StdAnnealing:
        """No annealing: eps at every step."""
        return cls(1.0, start=eps, floor=eps)

    def __call__(self, step: Any) -> tf.Tensor:
        """eps at `step` (an integer, a scalar tensor or variable), a float32 scalar tensor."""
        # float64 because float32 counts steps exactly only up to 2 ** 24.
        halvings = tf.cast(step, tf.float64) / self.halving_steps
        if self.mode == "staircase":
            # A mark at 1.1 * 3 steps must not slip a step through rounding.
            halvings = tf.floor(halvings + 1e-9)
        return tf.cast(tf.maximum(self.start * tf.pow(tf.constant(0.5, tf.float64), halvings), self.floor), tf.float32)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"halving_steps": self.halving_steps, "start": self.start, "floor": self.floor, "mode": self.mode}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> StdAnnealing:
        """The inverse of `get_config`; files made until November 2026 have other words for the modes."""
        mode = {"step": "staircase", "geometric": "exponential"}.get(config["mode"], config["mode"])
        return cls(**{**config, "mode": mode})


@keras.saving.register_keras_serializable(package="nvisa_tf")
class AnnealedLearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that halves at marks and falls with eps.

    lr(step) = max(floor, base * 2 ** -floor(step / halving_steps) * (eps(step) / eps(0)) ** eps_power)

    The gradient grows as eps falls, so a rate tied to eps keeps the late steps stable.

    Args:
      base: rate at step 0.
      halving_steps: steps between halvings (the paper: 300 epochs); 0 for none.
      annealing: the `StdAnnealing` that the rate follows, or None.
      eps_power: exponent of the tie; 0 for none.
      floor: smallest rate.
    """

    def __init__(
        self,
        base: float,
        halving_steps: float = 0.0,
        annealing: StdAnnealing | None = None,
        eps_power: float = 0.0,
        floor: float = 0.0,
    ) -> None:
        super().__init__()
        self.base = base
        self.halving_steps = halving_steps
        self.annealing = annealing
        self.eps_power = eps_power
        self.floor = floor

    def __call__(self, step: Any) -> tf.Tensor:
        """The learning rate at `step`, a float32 scalar tensor."""
        rate = tf.constant(self.base, tf.float32)
        if self.halving_steps:
            rate *= StdAnnealing(self.halving_steps, floor=0.0)(step)
        if self.annealing is not None and self.eps_power:
            rate *= tf.pow(self.annealing(step) / self.annealing.start, self.eps_power)
        return tf.maximum(rate, self.floor)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the annealing serialized."""
        return {
            "base": self.base,
            "halving_steps": self.halving_steps,
            "annealing": keras.saving.serialize_keras_object(self.annealing),
            "eps_power": self.eps_power,
            "floor": self.floor,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AnnealedLearningRate:
        """The inverse of `get_config`."""
        annealing = keras.saving.deserialize_keras_object(config["annealing"])
        return cls(**{**config, "annealing": annealing})


class FlooredDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is multiplied by `factor` every `decay_steps` steps, and never falls below `floor`.

    Args:
      base: rate at step 0.
      decay_steps: at least 1.
      factor: from 0 to 1.
      floor: smallest rate.
    """

    def __init__(self, base: float, decay_steps: int, factor: float, floor: float = 0.0) -> None:
        super().__init__()
        self._decay = keras.optimizers.schedules.ExponentialDecay(base, decay_steps, factor, staircase=True)
        self._floor = floor

    def __call__(self, step: Any) -> tf.Tensor:
        """The learning rate at `step`, a float32 scalar tensor."""
        return tf.maximum(tf.cast(self._decay(step), tf.float32), self._floor)
