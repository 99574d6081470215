import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from nvisa_tf.evaluation.criteria import SILHOUETTE_EXAMPLES, kmeans_agreement, mean_pairwise_nmi, silhouette


def test_mean_pairwise_nmi_is_with_the_others(rng):
    good = np.repeat(np.arange(4), 50)
    renamed, noisy, random = (good + 1) % 4, np.where(rng.random(200) < 0.2, 0, good), rng.integers(0, 4, 200)
    found = mean_pairwise_nmi([good, renamed, noisy, random])
    nmi = normalized_mutual_info_score
    assert found[2] == pytest.approx((nmi(noisy, good) + nmi(noisy, renamed) + nmi(noisy, random)) / 3)
    assert found[0] == pytest.approx(found[1])
    assert found[3] < found[2] < found[0]
    assert mean_pairwise_nmi([good]) == [0.0]
    collapsed = np.zeros(200, int)
    assert mean_pairwise_nmi([collapsed, collapsed, good]) == [0.0, 0.0, 0.0]


def test_kmeans_agrees_with_itself_where_there_are_clusters_and_not_where_there_are_none(make_blobs, rng):
    x, _ = make_blobs(50, spread=20.0)
    assert kmeans_agreement(x[::2], x[1::2], 3, [0, 1, 2]) == pytest.approx(1.0)
    noise = rng.uniform(size=(200, 30))
    one, other = (KMeans(8, n_init=1, random_state=seed).fit(noise[:100]).predict(noise[100:]) for seed in (4, 5))
    found = kmeans_agreement(noise[:100], noise[100:], 8, [4, 5])
    assert found == pytest.approx(normalized_mutual_info_score(one, other))
    assert found < 0.9


def test_silhouette_by_hand():
    """Two tight pairs: within 0.2, to the other pair 10 on average."""
    embedding = np.array([[0.0], [0.2], [10.0], [10.2]])
    a, b = (10.1 - 0.2) / 10.1, (9.9 - 0.2) / 9.9
    assert silhouette(embedding, np.array([0, 0, 1, 1])) == pytest.approx((a + b) / 2)
    assert silhouette(embedding, np.array([0, 1, 0, 1])) < 0
    assert silhouette(embedding, np.zeros(4, int)) == -1
    assert silhouette(embedding, np.arange(4)) == -1


def test_silhouette_of_many_examples_looks_at_an_even_part():
    n = 2 * SILHOUETTE_EXAMPLES + 2
    embedding = np.where(np.arange(n) % 3 == 0, np.nan, 1.0)[:, None] * np.arange(n)[:, None]  # every third is looked at
    with pytest.raises(ValueError, match="NaN"):
        silhouette(embedding, np.arange(n) % 2)
    embedding = np.nan_to_num(embedding, nan=0.0)
    embedding[np.arange(n) % 3 != 0] = np.nan
    assert -1 <= silhouette(embedding, np.arange(n) % 2) <= 1
