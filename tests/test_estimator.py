import copy
import pickle

import joblib
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nvisa_tf import Monitor, NVISAClustering, evaluate_bound, load_run
from nvisa_tf.cli import main

TINY = {
    "encoder_units": (16,), "posterior_units": 16, "decoder_units": (16,), "latent_dim": 2, "n_samples": 3,
    "epochs": 60, "batch_size": 32, "eps_halving_epochs": 15.0, "learning_rate": 1e-2,
    "ema_momentum": 0.9,
}  # fmt: skip
FAST = {"encoder_units": (8,), "decoder_units": (8,), "latent_dim": 2, "epochs": 1, "batch_size": 100}  # of ae_gmm


@pytest.fixture
def eagerly():
    """Without graphs, for many fits of no depth: tracing is nearly all of their time."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


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
    assert (clusterer.n_features_in_, clusterer.n_iter_, clusterer.seed_, clusterer.labels_.dtype) == (6, 60, 1, np.int64)
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
    with pytest.warns(ConvergenceWarning, match="probability under 0.8; try another n_clusters, more epochs"):
        assert pipeline.fit_predict(x).shape == (300,)


def test_a_fitted_one_is_copied_whole(fitted, tmp_path):
    x, _, clusterer = fitted
    joblib.dump(clusterer, tmp_path / "c.joblib")
    for copied in (pickle.loads(pickle.dumps(clusterer)), copy.deepcopy(clusterer), joblib.load(tmp_path / "c.joblib")):
        assert copied.model_ is not clusterer.model_
        np.testing.assert_array_equal(copied.predict_proba(x), clusterer.predict_proba(x))
        np.testing.assert_array_equal(copied.score_samples(x), clusterer.score_samples(x))
        np.testing.assert_array_equal(copied.labels_, clusterer.labels_)


def fast(x, **kwargs):
    return NVISAClustering(**{"n_clusters": 3, "method": "ae_gmm", "options": FAST, **kwargs}).fit(x)


def test_seeds(blobs, eagerly):
    x, _ = blobs
    zero = fast(x).predict_proba(x)
    np.testing.assert_array_equal(fast(x, random_state=np.int64(0)).predict_proba(x), zero)
    generator = np.random.RandomState(7)
    first, second = (fast(x, random_state=generator) for _ in range(2))
    assert first.seed_ != second.seed_
    np.testing.assert_array_equal(fast(x, random_state=np.random.RandomState(7)).predict_proba(x), first.predict_proba(x))
    np.testing.assert_array_equal(fast(x, random_state=first.seed_).predict_proba(x), first.predict_proba(x))
    assert fast(x, random_state=None).seed_ != fast(x, random_state=None).seed_


def test_numpys_scalars_are_numbers(blobs, eagerly):
    x, _ = blobs
    options = {
        "encoder_units": np.array([8]), "decoder_units": (np.int32(8),), "latent_dim": np.int16(2), "epochs": np.uint8(1),
        "batch_size": np.array(100), "xla": np.bool_(False), "learning_rate": np.float64(1e-3), "eval_epochs": np.float32(5),
    }  # fmt: skip
    found = fast(x, n_clusters=np.int64(3), options=options)
    np.testing.assert_array_equal(found.predict_proba(x), fast(x).predict_proba(x))


def test_what_is_shown(blobs, capsys):
    x, _ = blobs
    options = {**FAST, "epochs": 4}
    fast(x)
    assert capsys.readouterr() == ("", "")
    fast(x, verbose=1, options=options)
    out, lines = capsys.readouterr()
    assert not out
    assert "autoencoder: epoch 2 of 4: loss" in lines
    assert "\r" not in lines
    fast(x, verbose=2, options=options)
    bar = capsys.readouterr().err
    assert "autoencoder: 100%" in bar
    assert "12/12" in bar


def test_callbacks_are_told(blobs, eagerly):
    class Count(Monitor):
        steps, rows = 0, 0

        def on_progress(self, progress):
            self.steps += progress.steps_now

        def on_stage(self, row, stage):
            self.rows += 1

    x, _ = blobs
    counts = [Count(), Count()]
    fast(x, callbacks=counts)
    assert [(count.steps, count.rows) for count in counts] == [(3, 1)] * 2  # an epoch of 3 batches


def test_a_warm_start_goes_on(fitted):
    x, _, clusterer = fitted
    warm = copy.deepcopy(clusterer).set_params(warm_start=True, options={**TINY, "epochs": 5})
    moved = x + 1  # what is kept of the first fit is the scaling too
    before = warm.model_.scaled(x)
    first = warm.model_
    warm.fit(moved)
    assert warm.model_ is not first
    assert warm.n_iter_ == 5
    np.testing.assert_allclose(warm.model_.scaled(x), before, rtol=1e-6)
    np.testing.assert_array_equal(warm.labels_, clusterer.labels_)  # the clusters are the same, by the same numbers
    with pytest.raises(ValueError, match=r"^warm_start: the last fit has n_clusters 3 and this run 4; they must be the same\.$"):
        warm.set_params(n_clusters=4).fit(x)
    np.testing.assert_array_equal(warm.predict(moved), warm.labels_)  # the last fit stays
    assert first.report_metrics()["eps"] < warm.model_.report_metrics()["eps"] < 0.25


def test_a_warm_start_keeps_the_clusters_that_were_made_among_an_autoencoders_codes(blobs):
    x, _ = blobs
    options = {**FAST, "pretrain_epochs": 3, "epochs": 1}
    clusterer = NVISAClustering(3, method="dec", warm_start=True, options=options).fit(x)
    before = clusterer.predict_proba(x)
    clusterer.set_params(options={**options, "epochs": 0}, random_state=7).fit(x)
    np.testing.assert_array_equal(clusterer.predict_proba(x), before)


def test_with_unit_length_only_directions_count(blobs):
    x, _ = blobs
    clusterer = NVISAClustering(3, method="ae_gmm", options={**FAST, "unit_length": True}).fit(x)
    model, sizes = clusterer.model_, np.linspace(0.1, 30, len(x), dtype=np.float32)[:, None]
    np.testing.assert_allclose(model.preprocess(x), model.scaled(x), atol=1e-5)
    np.testing.assert_allclose(clusterer.predict_proba(sizes * x), clusterer.predict_proba(x), atol=1e-4)
    np.testing.assert_allclose((model.scaled(x)).mean(0), 0, atol=1e-5)
    with pytest.raises(ValueError, match="unit_length is for vectors"):
        NVISAClustering(3, method="ae_gmm", options={**FAST, "unit_length": True}).fit(x[:, :4].reshape(-1, 2, 2))


def test_a_search_is_not_warned_of_its_many_graphs(blobs, monkeypatch):
    """TensorFlow warns from the fifth trace of one code on."""
    x, y = blobs
    found = []
    monkeypatch.setattr(tf.get_logger(), "warning", lambda message, *args: found.append(message % args))
    search = GridSearchCV(
        NVISAClustering(method="ae_gmm", options={**FAST, "epochs": 30}),
        {"n_clusters": [2, 3, 4]},
        cv=KFold(2, shuffle=True, random_state=0),
        scoring=lambda clusterer, x, y: adjusted_rand_score(y, clusterer.predict(x)),
    )
    search.fit(x, y)
    assert search.best_params_ == {"n_clusters": 3}
    assert not found


def test_one_cluster_is_a_plain_autoencoder_with_a_density(blobs, eagerly):
    x, _ = blobs
    options = {**TINY, "epochs": 2}
    clusterer = NVISAClustering(1, preset="random_small", options=options).fit(x)
    np.testing.assert_allclose(clusterer.predict_proba(x), np.ones((300, 1)), rtol=1e-6)
    assert np.isfinite(clusterer.score(x))


def test_without_a_density_there_is_no_score():
    clusterer = NVISAClustering(method="ae_gmm")
    assert not hasattr(clusterer, "score_samples")
    with pytest.raises(AttributeError, match="has no attribute 'score'") as error:
        clusterer.score([[1.0]])
    assert "The method ae_gmm has no density of examples" in str(error.value.__cause__)


def test_vectors_start_from_clusters_by_default(make_blobs):
    """The hard part of an unequal table: from random weights its large cluster is cut in two."""
    x, y = make_blobs(200)
    rows = np.concatenate([np.flatnonzero(y == k)[:n] for k, n in enumerate((200, 20, 20))])
    clusterer = NVISAClustering(3, options={**TINY, "init_epochs": 150, "epochs": 5}).fit(x[rows])
    assert adjusted_rand_score(y[rows], clusterer.labels_) == 1
    pi = np.sort(clusterer.model_.prior.p_y().probs_parameter().numpy())
    assert pi[-1] > 0.5


def test_images_start_from_clusters_by_default(bar_images):
    x, y = bar_images
    clusterer = NVISAClustering(3, options={**TINY, "learning_rate": 1e-4, "init_epochs": 50, "epochs": 1}).fit(x)
    # An epoch at so low a rate teaches nothing, so the clusters are those of the start.
    assert adjusted_rand_score(y, clusterer.labels_) == 1


def test_the_number_of_clusters_is_found(make_blobs, eagerly):
    x = make_blobs(60)[0]
    options = {"encoder_units": (16,), "decoder_units": (16,), "latent_dim": 2, "epochs": 3}
    clusterer = NVISAClustering("auto", method="ae_gmm", options=options).fit(x)
    assert clusterer.n_clusters == "auto"  # parameters stay as they were given
    assert clusterer.n_clusters_ == clusterer.number_of_clusters_.chosen == clusterer.model_.config.n_clusters == 3
    assert clusterer.predict_proba(x).shape == (len(x), 3)
    found = clusterer.number_of_clusters_
    again = clusterer.set_params(warm_start=True).fit(x[: len(x) // 2])
    assert (again.n_clusters_, again.number_of_clusters_) == (3, found)
    assert NVISAClustering("2-4", method="ae_gmm", options=options).fit(x).number_of_clusters_.most == 4
    given = NVISAClustering(2, method="ae_gmm", options=options).fit(x)
    assert (given.n_clusters_, given.number_of_clusters_) == (2, None)
    with pytest.raises(ValueError, match="n_clusters is 5-8, and a warm start keeps the 3 clusters of the last fit"):
        clusterer.set_params(n_clusters="5-8").fit(x)
    with pytest.raises(ValueError, match="n_clusters is 'many'; it must be a whole number, auto, or a range such as 2-30"):
        NVISAClustering("many", options=options).fit(x)


def test_outliers_are_of_no_cluster(make_blobs, eagerly):
    x, _ = make_blobs(100)
    far = x.mean(0) + np.array([[0.0, 0, 0, 0, 0, 0], [60, 0, 0, 0, 0, 0]])  # between the clusters and beyond them
    given = {"options": {**FAST, "epochs": 10}, "method": "ae_gmm"}
    with_rate = NVISAClustering(3, outliers=0.02, **given).fit(np.concatenate([x, far]))
    assert list(with_rate.labels_[-2:]) == [-1, -1]
    assert (with_rate.labels_[:-2] == -1).mean() < 0.05
    np.testing.assert_array_equal(with_rate.predict(far), [-1, -1])
    np.testing.assert_array_equal(with_rate.predict(np.concatenate([x, far])), with_rate.labels_)
    kept = with_rate.labels_[:-2] >= 0
    plain = NVISAClustering(3, **given).fit(np.concatenate([x, far]))
    np.testing.assert_array_equal(plain.labels_[:-2][kept], with_rate.labels_[:-2][kept])
    assert plain.labels_.min() == 0
    assert plain.outlier_detector_ is None
    with pytest.raises(ValueError, match="outliers was None when the estimator was fitted; fit it again"):
        plain.set_params(outliers=0.02).predict(x)
    again = pickle.loads(pickle.dumps(with_rate))
    np.testing.assert_array_equal(again.predict(x), with_rate.labels_[:-2])


@pytest.mark.parametrize(
    ("kwargs", "change", "words"),
    [
        ({"n_clusters": 0}, None, "n_clusters is 0; it must be at least 1"),
        ({"n_clusters": 2.5}, None, "n_clusters is 2.5; it must be an int"),
        ({"random_state": -1}, None, "random_state is -1; it must be at least 0"),
        ({"random_state": "one"}, None, "random_state is 'one'; it must be an integer"),
        ({"verbose": 3}, None, "verbose is 3; it must be 0, 1 or 2"),
        ({"callbacks": [print]}, None, "each must be an nvisa_tf.Monitor"),
        ({"callbacks": Monitor()}, None, "it must be a list of nvisa_tf.Monitor objects"),
        ({"method": "dek"}, None, "method is 'dek'"),
        ({"preset": "ae_gmm"}, None, "The preset ae_gmm is of the method ae_gmm, and method is nvisa"),
        ({"options": {"n_clusters": 3}}, None, "options has n_clusters; give it to NVISAClustering as its parameter n_clusters"),
        ({"options": {"seed": 3}}, None, "as its parameter random_state"),
        ({"options": {"input_shape": (6,)}}, None, "input_shape, which is that of X"),
        ({"options": {"dataset": "mnist"}}, None, "dataset, which is for files, and X is in memory"),
        ({"options": {"keep_checkpoints": 9}}, None, "keep_checkpoints, which is for run directories"),
        ({"options": [("epochs", 3)]}, None, "options is a list; it must be a dictionary"),
        ({"preset": "fats"}, None, "There is no preset 'fats'"),
        ({"options": {"epoch": 3}}, None, "There is no option 'epoch'"),
        ({}, lambda x: np.where(x > 0, x, np.nan), "NaN or Inf"),
        ({}, lambda x: x[:, 0], "which have one axis"),
        ({"n_clusters": 500}, None, "300 examples for 500 clusters"),
        ({"outliers": 0.001}, None, r"outliers is 0\.001, a share of 300 examples; it must be at least 0\.0033"),
        ({"outliers": 1}, None, "outliers is 1; it must be a share of examples above 0 and below 1, such as 0.01, or None"),
        ({"outliers": True}, None, "outliers is True; it must be a share"),
        ({"outliers": "0.01"}, None, "outliers is '0.01'; it must be a share"),
    ],
)
def test_bad_input_is_one_sentence(make_blobs, kwargs, change, words):
    x, _ = make_blobs(100)
    with pytest.raises(ValueError, match=words):
        NVISAClustering(**{"options": TINY, **kwargs}).fit(change(x) if change else x)
