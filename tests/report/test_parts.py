"""The pure parts of the page: statistics, the map's places, curves, charts, colours and numbers."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.manifold import trustworthiness

from nvisa_tf.report.charts import NAMES, TREE, dendrogram, digits, line_chart, ticks
from nvisa_tf.report.colours import colour_rules
from nvisa_tf.report.curves import curves
from nvisa_tf.report.profiles import profiles
from nvisa_tf.report.projection import project
from nvisa_tf.report.text import beside, number, number_of_clusters, percent, score, stopped_paying, tried


def test_profiles_are_those_of_pandas():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(1e6, 1, 500), rng.random(500) < 0.3, np.full(500, 3.0), rng.exponential(1e-3, 500)])
    cluster = rng.integers(0, 3, 500)
    order = rng.permutation(500)
    pieces = [(order[i : i + 120], x[order[i : i + 120]]) for i in range(0, 500, 120)]
    found, frame = profiles(pieces, cluster, 4), pd.DataFrame(x)
    np.testing.assert_allclose(found.mean, frame.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.sd, frame.std(ddof=0), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.cluster_mean[:3], frame.groupby(cluster).mean(), rtol=1e-12)
    assert np.isnan(found.cluster_mean[3]).all()
    assert found.is_share.tolist() == [False, True, False, False]
    expected = (frame.groupby(cluster).mean() - frame.mean()) / frame.std(ddof=0)
    np.testing.assert_allclose(found.difference[:3, [0, 1, 3]], expected[[0, 1, 3]], rtol=1e-4, atol=1e-6)
    assert (found.difference[:, 2] == 0).all()
    assert (found.difference[3] == 0).all()


def test_distinctive_values_come_in_order():
    x = np.array([[0, 0, 5.0, 1], [0, 1, 5, 1], [1, 8, 5, 1], [1, 9, 5, 1]])
    found = profiles([(np.arange(4), x)], np.array([0, 0, 1, 1]), 2)
    assert found.distinctive(0, 6).tolist() == [0, 1]
    assert found.distinctive(0, 1).tolist() == [0]


@pytest.mark.parametrize(
    ("n", "d", "how"), [(300, 8, "t-SNE"), (5, 8, "PCA"), (1, 3, "PCA"), (5001, 4, "PCA"), (50, 2, "latent space"), (50, 1, "latent space")]
)
def test_the_map_keeps_neighbours_and_repeats(n, d, how):
    rng = np.random.default_rng(0)
    z = (rng.normal(0, 5, (4, d))[np.arange(n) % 4] + rng.normal(0, 0.5, (n, d))).astype(np.float32)
    flat, said = project(z)
    assert how in said
    assert flat.shape == (n, 2)
    assert flat.min() >= 0
    assert flat.max() <= 1
    np.testing.assert_array_equal(project(z)[0], flat)
    if n in (50, 300):
        assert trustworthiness(z, flat) > 0.9


def test_embeddings_that_are_all_the_same_are_in_the_middle():
    np.testing.assert_allclose(project(np.ones((40, 6)))[0], 0.5)


def test_one_far_out_does_not_crush_the_others():
    z = np.random.default_rng(0).normal(0, 1, (1000, 2))
    z[0] = 1e6
    flat, _ = project(z)
    assert flat[1:].std() > 0.08
    assert flat[0].max() == 1


def test_curves_are_what_the_files_have():
    metrics = [
        {"epoch": f"{e}", "bound": f"{-e}", "held_out_iw_bound": "nan" if e < 19 else "1", "accuracy": "0.5", "eps_x": "1", "eps_z": "1"}
        for e in range(20)
    ]
    names = ("autoencoder", "distillation")
    stages = [{"stage": name, "epoch": f"{e}", "minutes": "1", "loss": f"{e}", "extra": ""} for name in names for e in (1, 2)]
    found = {chart["title"]: chart["series"] for chart in curves(metrics, stages)}
    assert list(found) == ["Scores against the labels", "Bound of log p(x)", "Annealing", "autoencoder: loss", "distillation: loss"]
    assert [series["name"] for series in found["Bound of log p(x)"]] == ["training"]  # of the other there is one value
    assert found["Bound of log p(x)"][0]["y"] == [float(-e) for e in range(20)]
    assert found["Scores against the labels"][0]["y"] == [50.0] * 20
    assert [series["name"] for series in found["Annealing"]] == ["eps"]
    assert curves([], []) == []
    long = curves([{"epoch": f"{e}", "loss": f"{e}"} for e in range(5000)], [])[0]["series"][0]
    assert len(long["x"]) < 305
    assert (long["x"][0], long["x"][-1]) == (0, 4999)


def test_a_chart_is_drawn_to_scale():
    chart = {"title": "<Bound>", "unit": "nats", "series": [{"name": "a&b", "x": [0, 5, 10], "y": [1.0, 2.0, 3.0]}]}
    drawn = str(line_chart(chart, 0))
    assert "<Bound>" not in drawn
    assert "&lt;Bound&gt;" in drawn
    points = np.array([[float(v) for v in pair.split(",")] for pair in re.search(r'points="([^"]+)"', drawn)[1].split()])
    assert (np.diff(points[:, 0]) == np.diff(points[:, 0])[0]).all()
    np.testing.assert_allclose(np.diff(points[:, 1]), np.diff(points[:, 1])[0], atol=0.11)
    assert points[0, 1] > points[2, 1]
    # A first value that is far off does not set the scale; a last one does.
    for y, high in (([-1e6, *range(19)], 25), ([*range(19), 1e6], 2e6)):
        drawn = str(line_chart({"title": "", "unit": "", "series": [{"name": "", "x": list(range(20)), "y": y}]}, 0))
        shown = [float(text.replace(",", "")) for text in re.findall(r'<text class="tick end"[^>]*>([\d,.]+)</text>', drawn)]
        assert high / 4 < max(shown) <= high


@pytest.mark.parametrize(("low", "high"), [(1.32301, 1.32334), (-0.013, 0.041), (99_999.2, 99_999.9), (0, 10), (-1500, 20)])
def test_ticks_that_hardly_differ_have_labels_that_do(low, high):
    found = ticks(low, high, 4)
    labels = [number(tick, digits(found)) for tick in found]
    assert len(set(labels)) == len(found) > 1
    np.testing.assert_allclose([float(label.replace(",", "")) for label in labels], found, atol=0.01 * (found[1] - found[0]))


def test_ticks_are_round():
    assert ticks(0, 10, 4) == [0, 2.5, 5, 7.5, 10]
    np.testing.assert_allclose(ticks(-0.013, 0.041, 4), [0, 0.02, 0.04], atol=1e-12)
    assert ticks(3, 3, 4) == [3]


@pytest.mark.parametrize("n", [3, 10, 11, 64])
def test_clusters_next_to_each_other_differ_in_colour(n):
    light, dark = (re.findall(r"\.c(\d+) \{ --c: (#[0-9a-f]{6}); \}", part) for part in colour_rules(n).split("@media"))
    assert [int(k) for k, _ in light] == [int(k) for k, _ in dark] == list(range(n))
    for rules in (light, dark):
        rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for _, colour in rules])
        assert np.abs(np.diff(rgb, axis=0)).sum(1).min() > 60
        assert len({colour for _, colour in rules}) == n


def test_numbers_are_for_people():
    assert [number(v) for v in (0, 1280.0, -0.001234567, 1234567.8, 3.0, 1e12, float("nan"))] == [
        "0", "1,280", "-0.001235", "1,234,568", "3", "1.000e+12", "none",
    ]  # fmt: skip
    assert [percent(v) for v in (0, 1, 0.0004, 0.07, 0.125, 0.999, 0.99999, 0.96, 0.0999)] == [
        "0%", "100%", "under 0.1%", "7%", "12%", "99.9%", "over 99.9%", "96%", "10%",
    ]  # fmt: skip
    assert [score(v) for v in (1, 0.9999, 0.98876, -0.012)] == ["100%", "under 100%", "98.9%", "-1.2%"]
    assert [beside(746.893, 314.9), beside(13.0006, 0.8118), beside(2, 1e-9)] == ["747", "13.00", "2"]
    assert [beside(v, 314.9) for v in (314.9, 0.2)] == ["315", "0"]


def test_what_an_initialization_tried_is_told_best_first():
    init = {
        "tries": {"dense_1": 1.7, "convolutional_2": 1.8123}, "best": {"taught contrastive clusters": 1.7, "from random weights": 1.8123},
        "standard_error": 0.0312, "told_apart": True, "heads": {"convolutional_2": 3}, "clusters": "linked",
    }  # fmt: skip
    begin = "convolutional_2 1.812, dense_1 1.700 nats that a slightly changed image tells of the image's cluster; higher is better."
    kept = "It is measured on training images that these networks do not learn from."
    groups = "Networks from random weights have 1.812 at best and those that were taught contrastive clusters 1.700"
    clear = "; they differ by more than two standard errors of the difference (0.031 each), so the former answer alone."
    linked = "Taken are large clusters, linked from the small ones of the heads 3 of convolutional_2."
    assert tried(init) == f"{begin} {kept} {groups}{clear} {linked}"
    unclear = "; they differ by less than two standard errors of the difference (0.031 each), so both answer together."
    both = {**init, "told_apart": False, "clusters": "matched", "heads": {"dense_1": 2, "convolutional_2": 3}}
    matched = "Taken are the clusters, matched, of the heads 2 of dense_1, 3 of convolutional_2."
    assert tried(both) == f"{begin} {kept} {groups}{unclear} {matched}"
    before = {name: init[name] for name in ("tries", "heads", "clusters")} | {"means": init["best"], "standard_error": 0.0012}
    assert tried(before) == f"{begin} {kept} {groups.replace('at best', 'on average')}. {linked}"
    one = {**init, "tries": {"dense_1": None, "dense_2": 0.0}, "best": {"from random weights": 0.0}}
    del one["standard_error"], one["told_apart"]
    alone = begin.replace("convolutional_2 1.812, dense_1 1.700", "dense_2 0.000, dense_1 not finite")
    assert tried(one) == f"{alone} {kept} {linked}"
    assert tried({"method": "ae_umap"}) == tried({}) == tried({"tries": {}}) == ""  # the last of a version before


def test_stages_that_ended_before_their_limit_are_told_in_order():
    report = {"initialization": {"ended_early": {"autoencoder": "at epoch 3", "contrastive": "at epoch 5"}}, "ended_early": "at epoch 7"}
    assert stopped_paying(report) == "autoencoder at epoch 3; contrastive at epoch 5; training at epoch 7"
    assert stopped_paying(report["initialization"]) == "autoencoder at epoch 3; contrastive at epoch 5"  # of RUN/initialization.keras
    assert stopped_paying({"initialization": {}}) == stopped_paying({}) == ""


def test_a_dendrogram_has_a_line_for_each_cluster_and_a_bracket_for_each_join():
    names = ["a", "b", "<c>", "a name that is much too long to stand there", "e"]
    drawn = dendrogram([0, 2, 3], [[0, 2, 1.0], [1, 3, 4.0]], names)
    assert drawn.count("<polyline") == 2
    assert drawn.index(">&lt;c&gt;<") < drawn.index(">a<") < drawn.index(">a name that is much t…<")  # the leaves of a join are together
    assert 'aria-label="Which clusters join first: a with a name that is much too long to stand there; &lt;c&gt; with a, ' in drawn
    first, second = re.findall(r'points="([^"]*)"', drawn)
    right = [max(float(point.split(",")[0]) for point in points.split()) for points in (first, second)]
    assert (right[0] - NAMES) * 2 == pytest.approx(right[1] - NAMES) == TREE  # the root of the distance
    assert ">b<" not in drawn  # a cluster without examples


def test_the_number_of_clusters_in_words():
    found = {
        "chosen": 3,
        "found": [3, 3, 4, 3, 5],
        "fewest": None,
        "most": None,
        "separation": 0.264,
        "curve": [[2, 0.3, 0.1], [3, 0.51, 0.1]],
    }
    said = number_of_clusters({**found, "modularity_of_gaussian": 0.3})
    assert said == (
        "3 clusters: so many are found in 3 of 5 random parts of the data, and 4 or 5 in the others, which are plausible too. "
        "Between the two clusters that are the least apart the density falls by 26%. "
        "Modularity is 0.51; of one Gaussian of the same covariance it is 0.30."
    )
    same = number_of_clusters({**found, "modularity_of_gaussian": 0.3, "found": [3] * 5, "fewest": 2, "most": 3})
    assert same.startswith("3 clusters: so many are found in 5 of 5 random parts of the data. Between")
    assert same.endswith(" It was to be from 2 to 3.")
