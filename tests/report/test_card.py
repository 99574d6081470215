"""What the model card says of a run."""

import numpy as np
import pytest

from nvisa_tf import Dataset, RunConfig
from nvisa_tf.data import Splits
from nvisa_tf.report.card import EQUAL_SIZES, LIMITS, NUMBER_GIVEN, card


@pytest.mark.parametrize(
    ("config", "is_told"),
    [
        (RunConfig(), False),
        (RunConfig().replace({"init": "neighbor_information"}), True),
        (RunConfig().replace({"init": "best_information"}), False),
        (RunConfig.of("temi"), True),
        (RunConfig.of("ae_gmm"), False),
    ],
)
def test_limits_name_equal_sizes_where_a_method_asks_for_them(make_run, config, is_told):
    data = Dataset("some", np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32))
    splits = Splits(data, data, "all 20")
    parts = {part["title"]: [text for _, text in part["rows"]] for part in card(make_run(splits, 2)[0], config, splits, {}, "row")}
    assert parts["Limits"] == [*LIMITS, NUMBER_GIVEN, *([EQUAL_SIZES] if is_told else [])]
