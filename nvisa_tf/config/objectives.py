"""NVISA's objectives by name: what the configuration and --help say of them without loading TensorFlow.

A new objective is a line here and a file `models/nvisa/objectives/<name>.py` with a function `estimate`.
"""

from __future__ import annotations

from typing import NamedTuple


class Objective(NamedTuple):
    """What is known of an objective beforehand.

    Attributes:
      summary: what it does, what is biased, what it costs, when to choose it.
      min_samples: the smallest n_samples it works with.
      enumerates_y: every cluster gets n_samples draws of z; otherwise (y, z) is drawn n_samples times.
      reparameterizes_z: the gradient flows through z, so it needs the decoder's gradient of all samples.
      preset_samples: n_samples in presets; None: as the preset has it.
    """

    summary: str
    min_samples: int
    enumerates_y: bool = False
    reparameterizes_z: bool = False
    preset_samples: int | None = None


OBJECTIVES: dict[str, Objective] = {
    "vimco": Objective(
        "multi-sample bound, y and z by score function with leave-one-out baselines; unbiased, M decoder rows; the default", 2
    ),
    "enum_y": Objective("ELBO, y summed over K, z reparameterized; unbiased, K S decoder rows; the usual GMVAE", 1, True, True, 1),
    "nvil": Objective("ELBO, score function with a learned baseline; unbiased up to scale, M rows; for the ablation", 1),
    "iwae": Objective(
        "as enum_y, with S-sample importance weighting of z within each y; unbiased, K S rows, tighter bound", 1, True, True, 2
    ),
    "iwae_vimco": Objective("multi-sample bound, VIMCO for y, z reparameterized; unbiased, M rows back through z; large K", 2, False, True),
    "rws": Objective("reweighted wake-sleep (wake-phi): q follows the posterior; biased by O(1/M), M rows; collapses less", 2),
}
