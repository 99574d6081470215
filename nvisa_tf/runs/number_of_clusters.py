"""The number of clusters of data, as a run's model would see them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nvisa_tf.clustering.number_of_clusters import NumberOfClusters, find_number_of_clusters
from nvisa_tf.config.number_of_clusters import Limits
from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Dataset, input_scaling
from nvisa_tf.data.dataset import scaled


def number_of_clusters(
    data: Dataset, config: RunConfig, limits: Limits, tell: Callable[[str], None] = lambda text: None
) -> tuple[RunConfig, NumberOfClusters]:
    """The configuration with the number of clusters among the training examples, and how it was found; no label is looked at.

    Args:
      data: what to learn from.
      config: of the run, whose scaling, unit_length and seed are taken.
      limits: what the number may be.
      tell: as for `find_number_of_clusters`.

    Raises:
      ValueError: nothing divides the examples; and as `find_number_of_clusters`.
    """
    unit_length = config.model.unit_length
    scale, shift = input_scaling(data, config.data.scaling, unit_length)

    def seen(rows: np.ndarray) -> np.ndarray:
        return scaled(np.asarray(data.x[rows], np.float32), scale, shift, unit_length)

    found = find_number_of_clusters(seen, len(data), int(np.prod(data.shape)), config.train.seed, limits.fewest, limits.most, tell)
    if found.chosen < 2:
        each = ", ".join(map(str, found.found))
        raise ValueError(
            f"{data.name}: nothing is seen that divides the examples (clusters found in {len(found.found)} random parts of them: {each}); "
            "give n_clusters a number, or a range such as 2-10."
        )
    return config.replace({"n_clusters": found.chosen}), found
