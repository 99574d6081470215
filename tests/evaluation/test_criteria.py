import math

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from nvisa_tf.evaluation.criteria import SILHOUETTE_EXAMPLES, agreement, entropy_of_sizes, separation


def test_agreement_is_the_mean_nmi_with_the_others():
    rng = np.random.default_rng(0)
    good = np.repeat(np.arange(4), 50)
    renamed, noisy, random = (good + 1) % 4, np.where(rng.random(200) < 0.2, 0, good), rng.integers(0, 4, 200)
    found = agreement([good, renamed, noisy, random])
    nmi = normalized_mutual_info_score
    assert found[2] == pytest.approx((nmi(noisy, good) + nmi(noisy, renamed) + nmi(noisy, random)) / 3)
    assert found[0] == pytest.approx(found[1])
    assert found[3] < found[2] < found[0]
    assert agreement([good]) == [0.0]
    collapsed = np.zeros(200, int)
    assert agreement([collapsed, collapsed, good]) == [0.0, 0.0, 0.0]


def test_separation_by_hand():
    """Two tight pairs: within 0.2, to the other pair 10 on average."""
    embedding = np.array([[0.0], [0.2], [10.0], [10.2]])
    a, b = (10.1 - 0.2) / 10.1, (9.9 - 0.2) / 9.9
    assert separation(embedding, np.array([0, 0, 1, 1])) == pytest.approx((a + b) / 2)
    assert separation(embedding, np.array([0, 1, 0, 1])) < 0
    assert separation(embedding, np.zeros(4, int)) == -1
    assert separation(embedding, np.arange(4)) == -1


def test_separation_of_many_examples_looks_at_an_even_part():
    n = 2 * SILHOUETTE_EXAMPLES + 2
    embedding = np.where(np.arange(n) % 3 == 0, np.nan, 1.0)[:, None] * np.arange(n)[:, None]  # every third is looked at
    with pytest.raises(ValueError, match="NaN"):
        separation(embedding, np.arange(n) % 2)
    embedding = np.nan_to_num(embedding, nan=0.0)
    embedding[np.arange(n) % 3 != 0] = np.nan
    assert -1 <= separation(embedding, np.arange(n) % 2) <= 1


def test_entropy_of_sizes():
    assert entropy_of_sizes(np.repeat(np.arange(4), 3), 4) == pytest.approx(math.log(4))
    assert entropy_of_sizes(np.zeros(5, int), 4) == 0
    assert entropy_of_sizes(np.array([0, 0, 0, 1]), 3) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
