import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nvisa_tf import NVISAClustering, evaluate_bound, load_run
from nvisa_tf.cli import main

TINY = {
    "encoder_units": (16,), "posterior_units": 16, "decoder_units": (16,), "latent_dim": 2, "n_samples": 3,
    "epochs": 60, "batch_size": 32, "eps_halving_epochs": 15.0, "learning_rate": 1e-2,
    "ema_momentum": 0.9,
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted(make_blobs):
    x, y = make_blobs(100)
    return x, y, NVISAClustering(3, preset="random_small", random_state=1, options=TINY).fit(x)


def test_it_clusters_new_examples(fitted):
    x, y, clusterer = fitted
    assert adjusted_rand_score(y, clusterer.labels_) > 0.9
    np.testing.assert_array_equal(clusterer.predict(x), clusterer.labels_)
    np.testing.assert_array_equal(clusterer.predict_proba(x).argmax(1), clusterer.labels_)
    assert clusterer.transform(x).shape == (300, 2)
    assert clusterer.n_features_in_ == 6
    scores = clusterer.score_samples(np.concatenate([x[:5], 50 * x[:5]]))
    assert scores[:5].min() > scores[5:].max() + 100
    assert clusterer.score(x) == evaluate_bound(clusterer.model_, x)
    with pytest.raises(ValueError, match="NaN or Inf, the first in example 3"):
        clusterer.score_samples(np.where(np.arange(300)[:, None] == 3, np.nan, x))


def test_it_is_what_the_command_line_trains(fitted, tmp_path):
    x, _, clusterer = fitted
    np.save(tmp_path / "x.npy", x)
    words = [
        "train",
        "--dataset",
        tmp_path / "x.npy",
        "--out",
        tmp_path / "r",
        "--split",
        "all",
        "--n-clusters",
        3,
        "--seed",
        1,
        "--preset",
        "random_small",
    ]
    words += [word for name, value in TINY.items() for word in ("--" + name.replace("_", "-"), np.ravel(value)[0])]
    assert main._dispatch(main._parse(["nvisa-tf", *map(str, words)])) == 0
    # The averages of the weights cluster, in both.
    np.testing.assert_array_equal(load_run(tmp_path / "r")[0].predict_proba(x), clusterer.predict_proba(x))


def test_it_is_an_estimator_like_others(fitted):
    x, _, clusterer = fitted
    again = clone(clusterer).set_params(n_clusters=2)
    assert (again.get_params()["n_clusters"], again.get_params()["options"]) == (2, TINY)
    with pytest.raises(NotFittedError):
        again.predict(x)
    short = {**TINY, "epochs": 1}
    pipeline = make_pipeline(StandardScaler(), NVISAClustering(3, preset="random_small", options=short))
    assert pipeline.fit_predict(x).shape == (300,)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clusterer)).predict(x), clusterer.labels_)


def test_vectors_start_from_clusters_by_default(make_blobs):
    """The hard part of an unequal table: from random weights its large cluster is cut in two."""
    x, y = make_blobs(200)
    rows = np.concatenate([np.flatnonzero(y == k)[:n] for k, n in enumerate((200, 20, 20))])
    clusterer = NVISAClustering(3, options={**TINY, "init_epochs": 150, "epochs": 5}).fit(x[rows])
    assert adjusted_rand_score(y[rows], clusterer.labels_) == 1
    pi = np.sort(clusterer.model_.prior.p_y().probs_parameter().numpy())
    assert pi[-1] > 0.5


def test_images_start_from_a_map_by_default(bar_images):
    x, y = bar_images
    clusterer = NVISAClustering(3, options={**TINY, "learning_rate": 1e-4, "init_epochs": 50, "epochs": 1}).fit(x)
    # An epoch at so low a rate teaches nothing, so the clusters are those of the start.
    assert adjusted_rand_score(y, clusterer.labels_) == 1


@pytest.mark.parametrize(
    ("kwargs", "change", "words"),
    [
        ({"n_clusters": 1}, None, "n_clusters is 1; it must be at least 2"),
        ({"preset": "fats"}, None, "There is no preset 'fats'"),
        ({"options": {"epoch": 3}}, None, "There is no option 'epoch'"),
        ({}, lambda x: np.where(x > 0, x, np.nan), "NaN or Inf"),
        ({}, lambda x: x[:, 0], "1 axes"),
        ({"n_clusters": 500}, None, "300 examples for 500 clusters"),
    ],
)
def test_bad_input_is_one_sentence(make_blobs, kwargs, change, words):
    x, _ = make_blobs(100)
    with pytest.raises(ValueError, match=words):
        NVISAClustering(**{"options": TINY, **kwargs}).fit(change(x) if change else x)
