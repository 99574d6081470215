"""The networks of an initialization that give clusters themselves: those that are tried, and the one that goes on.

No label is looked at. `nvisa_tf.models.mutual_information` has the network and its objective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nvisa_tf.config.nvisa import NVISAOptions
from nvisa_tf.config.run import TrainConfig
from nvisa_tf.layers.augmentation import Augmentation
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.mutual_information import TAUGHT_STEPS, MutualInformationStage
from nvisa_tf.models.pretraining import ContrastiveStage, held_out_part
from nvisa_tf.models.stage import derived_seed

if TYPE_CHECKING:
    from nvisa_tf.models.nvisa.model import NVISA

BATCH = 256  # over which H(y) is taken
TRIES, TRIED_STEPS = 3, 600  # networks from random weights, and steps of each, of which the best goes on
LEAST_STEPS = 1_000  # of the one that goes on
JUDGED = 5_000  # examples on which they are compared, at most


def information_tries(
    model: NVISA, data: TrainingData, options: NVISAOptions, train: TrainConfig, keep: dict[str, Any], taught_by: ContrastiveStage | None
) -> list[MutualInformationStage]:
    """`TRIES` networks from random weights of their own, trained for `TRIED_STEPS` each, and one that is taught clusters before.

    Args:
      model, data, options, train: as for `nvisa_tf.models.nvisa.initialization.initialization_stages`.
      keep: what later stages need of earlier ones, trackable objects by name.
      taught_by: whose clusters; None: there is no such network.
    """
    tries: list[MutualInformationStage] = []
    for number in range(TRIES + (taught_by is not None)):
        teacher = taught_by if number == TRIES else None
        tried = MutualInformationStage(
            f"mutual_information_{number + 1}" if teacher is None else "contrastive_information",
            model,
            data.train,
            seed=derived_seed(train.seed, 10 + number),
            shuffle_seed=derived_seed(train.seed, 20 + number),
            cluster_seed=derived_seed(train.seed, 3),
            taught_by=teacher,
            keep={**keep, **({} if taught_by is None else taught_by.parts()), **{one.name: one.network for one in tries}},
            epochs=1,
            least_steps=TRIED_STEPS + (0 if teacher is None else TAUGHT_STEPS),
            **_information_options(data, options, train),
        )
        tries.append(tried)
    return tries


def information_stage(
    model: NVISA, data: TrainingData, options: NVISAOptions, train: TrainConfig, keep: dict[str, Any], **begins_with: Any
) -> MutualInformationStage:
    """The network that gives the clusters; arguments as for `information_tries`, and what it begins with: tries, or taught_by."""
    return MutualInformationStage(
        "mutual_information",
        model,
        data.train,
        seed=derived_seed(train.seed, 8),
        shuffle_seed=derived_seed(train.seed, 9),
        cluster_seed=derived_seed(train.seed, 3),
        keep=keep,
        epochs=options.init_epochs,
        least_steps=LEAST_STEPS,
        stop_early=train.stop_early,
        **begins_with,
        **_information_options(data, options, train),
    )


def _information_options(data: TrainingData, options: NVISAOptions, train: TrainConfig) -> dict[str, Any]:
    return {
        "augmentation": Augmentation.from_config(options),
        "held_out": held_out_part(data, JUDGED),
        "batch_size": BATCH,
        "learning_rate": 1e-3,
        "xla": train.xla,
    }
