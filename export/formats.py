"""What can be exported, for the command line and for those who write it; loads nothing."""

from __future__ import annotations

FORMATS = ("saved_model", "tflite", "keras")
QUANTIZATIONS = ("none", "float16", "dynamic", "int8", "int8-io")
SIGNATURES = ("cluster", "embed", "generate")  # in every format by these names
