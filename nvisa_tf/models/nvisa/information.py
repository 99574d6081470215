"""The networks of an initialization that give clusters themselves: those that are tried.

No label is looked at. `nvisa_tf.models.mutual_information` has the networks and their objective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nvisa_tf.clustering.mixtures import spread_rows
from nvisa_tf.config.nvisa import NVISAOptions
from nvisa_tf.config.run import TrainConfig
from nvisa_tf.layers.augmentation import Augmentation
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.mutual_information import Candidate, MutualInformationStage
from nvisa_tf.models.pretraining import ContrastiveStage
from nvisa_tf.models.stage import derived_seed

if TYPE_CHECKING:
    from nvisa_tf.models.nvisa.model import NVISA

BATCH = 256  # over which H(y) is taken
EPOCHS, STEPS = 8, 500  # of every network, the steps at least; the epochs at most where it may end early
JUDGED = 5_000  # training examples that networks are compared by and do not learn from, at most
LEAST_JUDGED = 100  # of these if that is a quarter of all examples or less, as fewer say little
# What is tried: (whether it is convolutional, whether it is taught the clusters of contrastive codes first). Dense networks from random
# weights are not: on small sets they end surest where their clusters are not the best.
FROM_RANDOM_WEIGHTS = ((True, False),) * 3
FROM_CONTRASTIVE_CLUSTERS = ((False, True), (True, True))
TRIED = {
    "mutual_information": FROM_RANDOM_WEIGHTS,
    "contrastive_information": FROM_CONTRASTIVE_CLUSTERS,
    "best_information": FROM_RANDOM_WEIGHTS + FROM_CONTRASTIVE_CLUSTERS,
}


def information_stage(
    model: NVISA, data: TrainingData, options: NVISAOptions, train: TrainConfig, keep: dict[str, Any], taught_by: ContrastiveStage | None
) -> MutualInformationStage:
    """The stage that trains the networks that the initialization tries.

    Args:
      model, data, options, train: as for `nvisa_tf.models.nvisa.initialization.initialization_stages`.
      keep: what later stages need of earlier ones, trackable objects by name.
      taught_by: whose codes have the clusters that some networks are taught.
    """
    candidates = []
    for number, (is_convolutional, is_taught) in enumerate(TRIED[options.init]):
        name = f"{'convolutional' if is_convolutional else 'dense'}_{'contrastive' if is_taught else number + 1}"
        candidates.append(Candidate.made(model, derived_seed(train.seed, 10 + number), name, is_convolutional, is_taught))
    held_out = np.zeros(len(data.train), bool)
    held_out[spread_rows(len(held_out), judged_of(len(held_out)), derived_seed(train.seed, 20))] = True
    return MutualInformationStage(
        model,
        data.train.take(~held_out),
        candidates=candidates,
        taught_by=taught_by,
        cluster_seed=derived_seed(train.seed, 3),
        seed=derived_seed(train.seed, 8),
        shuffle_seed=derived_seed(train.seed, 9),
        augmentation=Augmentation.from_config(options),
        held_out=np.asarray(data.train.take(held_out).x),
        keep=keep,
        batch_size=BATCH,
        epochs=EPOCHS,
        least_steps=STEPS,
        learning_rate=1e-3,
        stop_early=train.stop_early,
        xla=train.xla,
    )


def judged_of(n: int) -> int:
    """How many of n training examples the networks are compared by: a tenth, within limits."""
    return max(1, min(JUDGED, max(n // 10, min(n // 4, LEAST_JUDGED))))
