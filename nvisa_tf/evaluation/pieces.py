"""Examples piece by piece, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nvisa_tf.data import Dataset

PIECE_VALUES = 4_000_000  # 16 MB as float32, of which there are a few copies
PIECE_EXAMPLES = 10_000


def pieces(data: Dataset) -> Iterator[np.ndarray]:
    """Raw examples [b, *shape] in order, at most `PIECE_EXAMPLES` of them and about `PIECE_VALUES` values."""
    step = max(1, min(PIECE_EXAMPLES, PIECE_VALUES // int(np.prod(data.shape))))
    for start in range(0, len(data), step):
        yield np.asarray(data.x[start : start + step])
