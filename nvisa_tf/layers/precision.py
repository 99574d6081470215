"""Whether a machine multiplies matrices in bfloat16 faster than in float32, and the options that depend on it."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

CPU_INFO = Path("/proc/cpuinfo")  # of Linux alone: elsewhere nothing is known, and float32 stays
CPU_FLAGS = {"amx_bf16", "avx512_bf16"}  # oneDNN, which multiplies for TensorFlow, has kernels for both; without them it emulates
AMPERE = (8, 0)  # the first compute capability whose tensor cores take bfloat16


def is_bfloat16_fast(cpu_flags: Collection[str], gpus: Sequence[tuple[int, int] | None]) -> bool:
    """Whether products of bfloat16 matrices are faster than those of float32 ones: what computes has instructions for them.

    Args:
      cpu_flags: of /proc/cpuinfo; they count where there is no GPU.
      gpus: the compute capability of each GPU that may be used; None of one that has none, such as AMD's.
    """
    if gpus:
        return all(capability is not None and tuple(capability) >= AMPERE for capability in gpus)
    return not CPU_FLAGS.isdisjoint(cpu_flags)


def flags_of(cpu_info: str) -> frozenset[str]:
    """The flags that every processor has in the text of /proc/cpuinfo; none in another text, as on Arm, whose line is `Features`."""
    lines = (line.partition(":") for line in cpu_info.splitlines())
    found = [frozenset(values.split()) for name, _, values in lines if name.strip() == "flags"]
    return frozenset.intersection(*found) if found else frozenset()


@functools.cache
def multiplies_bfloat16() -> bool:
    """`is_bfloat16_fast` of this machine, by the GPUs that TensorFlow sees, else by the processor."""
    gpus = [tf.config.experimental.get_device_details(gpu).get("compute_capability") for gpu in tf.config.get_visible_devices("GPU")]
    has_kernels = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() not in ("0", "false")
    try:
        flags = flags_of(CPU_INFO.read_text(encoding="ascii", errors="replace")) if has_kernels else frozenset[str]()
    except OSError:  # another system than Linux
        flags = frozenset()
    return is_bfloat16_fast(flags, gpus)


def decided(options: Mapping[str, Any], is_fast: bool) -> dict[str, Any]:
    """What an "auto" among options becomes, by name: the precision of passes without gradient, which there are where one is resampled.

    Args:
      options: by name; of a method without such passes, whatever they are.
      is_fast: whether bfloat16 is.
    """
    if options.get("forward_precision") != "auto":
        return {}
    return {"forward_precision": "bfloat16" if is_fast and options["decoder_gradient"] == "resampled" else "float32"}
