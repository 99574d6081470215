import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine, make_blobs
from sklearn.preprocessing import StandardScaler

from nvisa_tf.clustering import number_of_clusters as module
from nvisa_tf.clustering.number_of_clusters import find_number_of_clusters


def found_in(x, seed=0, **limits):
    x = np.asarray(x, np.float32)
    return find_number_of_clusters(lambda rows: x[rows], len(x), x.shape[1], seed, **limits)


def wine():
    return StandardScaler().fit_transform(load_wine().data)


@pytest.mark.parametrize(
    ("x", "true"),
    [
        (make_blobs(500, centers=5, n_features=8, random_state=0)[0], 5),
        (make_blobs([500, 150, 60, 40], n_features=8, random_state=0)[0], 4),  # of which modularity alone makes seven
        (np.random.default_rng(0).standard_normal((300, 8)), 1),
        (wine(), 3),
    ],
    ids=["blobs", "of unequal size", "one Gaussian", "wine"],
)
def test_known_numbers_are_found(x, true):
    found = found_in(x)
    assert found.chosen == true
    assert found.found.count(true) >= 4
    assert found.separation > 0.15 or true == 1


@pytest.mark.slow
def test_digits():
    assert 9 <= found_in(load_digits().data / 16).chosen <= 12


def test_limits_hold(monkeypatch):
    monkeypatch.setattr(module, "PARTS", 2)
    x = wine()
    assert found_in(x, fewest=5, most=8).chosen == 5  # nothing divides more than three, so as few as may be
    assert found_in(x, fewest=40, most=60).chosen >= 40  # which no usual resolution gives
    blobs = make_blobs(500, centers=5, n_features=8, random_state=0)[0]
    few = found_in(blobs, fewest=2, most=3)
    assert few.chosen == 3
    assert (few.fewest, few.most) == (2, 3)


def test_the_answer_repeats_and_depends_on_the_seed(monkeypatch):
    monkeypatch.setattr(module, "PARTS", 2)
    x = make_blobs(80, centers=3, random_state=1, cluster_std=2.0)[0]
    found = found_in(x)
    assert found_in(x) == found
    assert found_in(x, seed=1) != found


def test_parts_of_large_data_are_small(monkeypatch):
    monkeypatch.setattr(module, "LARGEST_PART", 60)
    seen = []
    x = make_blobs(1000, centers=2, random_state=0)[0].astype(np.float32)

    def examples(rows):
        seen.append(rows)
        return x[rows]

    find_number_of_clusters(examples, len(x), 2, 0)
    assert [len(rows) for rows in seen] == [60] * module.PARTS
    assert all((np.diff(rows) > 0).all() for rows in seen)
    assert len({tuple(rows) for rows in seen}) == module.PARTS
    seen.clear()
    monkeypatch.setattr(module, "LARGEST_VALUES", 2 * 40)
    find_number_of_clusters(examples, len(x), 2, 0)
    assert {len(rows) for rows in seen} == {40}


def test_what_was_found_is_plain_values():
    import json

    found = found_in(make_blobs(60, centers=2, random_state=0)[0], fewest=2, most=4)
    assert json.loads(json.dumps(found.as_dict())) == found.as_dict()
    assert found.as_dict()["found"] == list(found.found)


@pytest.mark.parametrize(
    ("n", "limits", "says"),
    [
        (19, {}, "There are 19 examples, too few"),
        (
            100,
            {"fewest": 90, "most": 95},
            "There are 100 examples, too few to find 90 clusters in parts of 80 of them; give a smaller range",
        ),
        (100, {"fewest": 1, "most": 5}, "from 1 to 5"),
        (100, {"fewest": 5, "most": 4}, "from 5 to 4"),
    ],
)
def test_what_cannot_be_found_is_said(n, limits, says):
    with pytest.raises(ValueError, match=says):
        found_in(np.random.default_rng(0).normal(size=(n, 3)), **limits)


def test_examples_that_are_all_the_same_are_refused():
    with pytest.raises(ValueError, match="All examples are the same"):
        found_in(np.ones((50, 3)))
