"""What a command says of how it takes the data, before it trains."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvisa_tf.config.methods import asks_for_equal_sizes
from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Splits
from nvisa_tf.evaluation.outliers import far_out, without_direction
from nvisa_tf.io.run_directory import RunDirectory

LOOKED_AT = 10_000  # training examples at most, whether they are like those of the run that another one begins with


def remarks(config: RunConfig, splits: Splits, model: Any) -> list[str]:
    """What a person should know of how the data are taken."""
    found = []
    ends = np.stack([np.zeros(splits.train.shape, np.float32), np.ones(splits.train.shape, np.float32)])
    scale = np.diff(model.scaled(ends), axis=0)
    has_columns = not (splits.train.is_image or splits.train.origin.backbone or config.model.unit_length)
    if config.data.scaling == "auto" and has_columns and np.allclose(scale, scale.flat[0]):
        found.append("All values are scaled alike; if the vectors' columns have units of their own, add --scaling standardize.")
    options = config.options()
    if options.get("likelihood") == "bernoulli":
        found.append(f"Bernoulli likelihood of inputs {'cut at 0.5 to 0 or 1' if options.get('binarize') else 'in [0, 1] as they are'}.")
    if options.get("forward_precision") == "bfloat16":
        found.append("The decoder's passes without gradient multiply in bfloat16; for float32 add --forward-precision float32.")
    if options.get("lr_floor", 0.0) > config.train.learning_rate:
        floor, rate = options["lr_floor"], config.train.learning_rate
        found.append(
            f"The learning rate is {floor:g}, the least that lr_floor allows, and not {rate:g}; for less, add --lr-floor {rate:g}."
        )
    if splits.train.origin.backbone and asks_for_equal_sizes(config.method, options.get("init", "")):
        found.append("Clusters come out of about equal size; where your groups differ much in size, compare with --method ae_gmm.")
    if len(splits.train.shape) == 1:
        of_vectors = without_direction(splits.train) if config.model.unit_length else far_out(splits.train, model.scaled)
        found += [of_vectors] if of_vectors else []
    if config.train.init_from:
        from nvisa_tf.evaluation.novelty import Inputs

        known = RunDirectory.open(config.train.init_from).reference_file
        if known.is_file() and (warning := Inputs.load(known).warning(model, splits.train.spread(LOOKED_AT))):
            found.append(f"Of {config.train.init_from}: {warning}")
    return found
