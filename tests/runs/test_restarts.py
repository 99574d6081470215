import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from sklearn.preprocessing import StandardScaler

from nvisa_tf import Dataset, RunConfig
from nvisa_tf.config.run import CRITERIA
from nvisa_tf.data import Splits
from nvisa_tf.runs.restarts import Restart, against_kmeans, as_csv, choose, jobs_of, rank_correlations, summary


def restart(seed, accuracy, **criteria):
    return Restart(seed, Path(f"runs/seed{seed}"), {**dict.fromkeys(CRITERIA, 0.5), **criteria}, accuracy)


FOUR = [
    restart(3, 0.6, held_out_iw_bound=-10.0, mean_pairwise_nmi=0.1),
    restart(4, 0.9, held_out_iw_bound=-12.0, mean_pairwise_nmi=0.4),
    restart(5, 0.7, held_out_iw_bound=-11.0, mean_pairwise_nmi=0.2),
    restart(6, 0.8, held_out_iw_bound=math.nan, mean_pairwise_nmi=0.3),
]


def test_the_largest_is_chosen_and_never_what_is_no_number():
    assert choose(FOUR, "mean_pairwise_nmi").seed == 4
    assert choose(FOUR, "held_out_iw_bound").seed == 3
    assert choose([FOUR[3], FOUR[0]], "held_out_iw_bound").seed == 3
    assert choose([FOUR[1], FOUR[2], FOUR[0]], "cluster_size_entropy").seed == 3  # of equals, the one with the best bound
    assert choose([FOUR[3], FOUR[1]], "cluster_size_entropy").seed == 4


def test_rank_correlation_is_spearmans():
    found = rank_correlations(FOUR[:3])
    assert found == {"mean_pairwise_nmi": pytest.approx(1.0), "held_out_iw_bound": pytest.approx(-1.0)}
    swapped = [*FOUR[:3], restart(7, 0.95, mean_pairwise_nmi=0.3)]  # ranks 1, 3, 2, 4 of accuracy against 1, 4, 2, 3 of agreement
    assert rank_correlations(swapped)["mean_pairwise_nmi"] == pytest.approx(1 - 6 * (0 + 1 + 0 + 1) / (4 * 15))
    assert rank_correlations(FOUR[:2]) == {}
    assert rank_correlations([r._replace(accuracy=None) for r in FOUR]) == {}
    assert rank_correlations([r._replace(accuracy=0.5) for r in FOUR]) == {}


def test_what_is_said_and_written():
    about = summary(FOUR, FOUR[1], "mean_pairwise_nmi")
    assert (about["seed"], about["accuracy"], about["best"], about["mean"]) == (4, 0.9, 0.9, pytest.approx(0.75))
    assert "accuracy" not in summary([r._replace(accuracy=None) for r in FOUR], FOUR[1], "mean_pairwise_nmi")
    rows = list(csv.DictReader(io.StringIO(as_csv(FOUR, FOUR[1]))))
    assert [row["chosen"] for row in rows] == ["0", "1", "0", "0"]
    assert (rows[1]["run"], rows[1]["mean_pairwise_nmi"], rows[1]["accuracy"]) == ("seed4", "0.4", "0.9")


def test_restarts_that_agree_less_than_kmeans_are_told_of(make_blobs, rng):
    x, y = make_blobs(50, spread=20.0)
    noise = 1e4 * rng.normal(size=(150, 4))  # which is all there is, unless k-means sees the columns as the models do
    data = Dataset("blobs", np.concatenate([x, noise], 1).astype(np.float32), y)
    config = RunConfig().replace({"n_clusters": 3})
    two = [restart(seed, None, mean_pairwise_nmi=0.4) for seed in (0, 2)]
    about, warnings = against_kmeans(two, Splits(data, data, ""), config)
    standardized = StandardScaler().fit_transform(data.x)
    clusters = [KMeans(3, n_init=1, random_state=seed).fit_predict(standardized) for seed in (0, 2)]
    expected = normalized_mutual_info_score(*clusters)
    assert expected > 0.5
    assert about == {"mean_pairwise_nmi": 0.4, "kmeans_mean_pairwise_nmi": pytest.approx(expected)}
    (warning,) = warnings
    assert f"agree less with each other (mean pairwise NMI 0.40) than k-means on the same inputs does ({expected:.2f}); try" in warning
    alike = [restart(seed, None, mean_pairwise_nmi=0.98) for seed in (0, 1)]
    assert against_kmeans(alike, Splits(data, data, ""), config)[1] == []


def test_jobs_differ_in_seed_and_folder_alone(tmp_path):
    jobs = jobs_of(RunConfig().replace({"seed": 7}), 3, tmp_path)
    assert [(job.seed, job.folder.name) for job in jobs] == [(7, "seed7"), (8, "seed8"), (9, "seed9")]
    assert {job.config.replace({"seed": 0}) for job in jobs} == {RunConfig()}
    with pytest.raises(ValueError, match="at least 2"):
        jobs_of(RunConfig(), 1, tmp_path)
    with pytest.raises(ValueError, match="max_minutes ends a single run"):
        jobs_of(RunConfig().replace({"max_minutes": 3.0}), 2, tmp_path)
