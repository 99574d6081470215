"""LTVAE's facets: against the tree in NumPy, on data with two partitions, and resumed after a search of the structure."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from nvisa_tf import Dataset, Monitor, RunConfig, StopReason, Trainer, clustering_accuracy, load_run
from nvisa_tf.clustering.latent_tree import log_likelihood, padded, posteriors, unpadded
from nvisa_tf.clustering.metrics import majority_accuracy
from nvisa_tf.data import Splits
from nvisa_tf.models.ltvae.axes import change_axes, independent_axes
from nvisa_tf.models.ltvae.model import LTVAE
from nvisa_tf.runs.workflows import build_model, resume_run, score, start_run

OPTIONS = {
    "n_clusters": 3,
    "latent_dim": 4,
    "encoder_units": (16,),
    "decoder_units": (16,),
    "epochs": 20,
    "pretrain_epochs": 300,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "eval_epochs": 20.0,
    "eval_samples": 5,
    "structure_epochs": 10,
    "seed": 1,
}


class Crash(Exception):
    pass


class CrashAt(Monitor):
    """Ends the process, as far as a test can tell, at a step of the last stage."""

    def __init__(self, step):
        self.step = step

    def on_progress(self, progress):
        if progress.stage == "ltvae" and progress.step >= self.step:
            raise Crash


@pytest.fixture(scope="module")
def two():
    """Examples of two independent partitions of three classes each: the data set with the first one's labels, and both labels."""
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=(2, 400))
    corners = 2 * np.array([[1, 0, 0, 1], [0, 1, 0, -1], [0, 0, 1, 0.0]])
    x = np.concatenate([corners[labels[0]], corners[labels[1]]], 1) + 0.3 * rng.normal(size=(400, 8))
    return Dataset("two", x.astype(np.float32), labels[0]), labels


@pytest.fixture(scope="module")
def trained(two):
    config = RunConfig.of("ltvae", OPTIONS)
    trainer = Trainer(build_model(config, Splits(two[0], two[0], "")), config, two[0])
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def tree(trained):
    return unpadded({name: value.numpy() for name, value in trained.model.prior.parameters().items()})


def test_both_partitions_are_found(trained, two):
    data, labels = two
    model = trained.model
    assert model.n_facets == 2
    accuracies = np.array([[clustering_accuracy(y, model.predict_clusters(data.x, f)) for y in labels] for f in range(2)])
    assert max(min(accuracies[0, 0], accuracies[1, 1]), min(accuracies[0, 1], accuracies[1, 0])) > 0.95
    assert trained.stages[-1].report["axes"] == "independent"
    for cluster in range(3):
        found = model.predict_clusters(model.generate(50, cluster=cluster))
        assert np.mean(found == cluster) > 0.9
    states, _ = model.sample_prior(400, seed=2)
    np.testing.assert_allclose(np.bincount(states) / 400, np.bincount(model.predict_clusters(data.x)) / 400, atol=0.1)


def test_each_facet_is_answered_for(trained, tree, two):
    x = two[0].x[:50]
    model, z = trained.model, trained.model.embed(x).astype(np.float64)
    for f, expected in enumerate(posteriors(tree, z)):
        q = model.predict_proba(x, f)
        assert q.dtype == np.float32
        assert q.shape == (50, 3)
        np.testing.assert_allclose(q[:, : expected.shape[1]], expected, atol=2e-3)
    np.testing.assert_array_equal(model.predict_proba(x), model.predict_proba(x, 0))
    for facet in (2, -1):
        with pytest.raises(ValueError, match=f"facet is {facet}, and this model's partitions of the data are 0 to 1"):
            model.predict_clusters(x, facet)


def test_bound_and_density_of_a_tree(trained, tree, two):
    model, stage = trained.model, trained.stages[-1]
    raw = two[0].x[:20].astype(np.float32)
    x = model.preprocess(tf.constant(raw))
    noise = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    mean, sd = np.split(model.posterior(tf.constant(raw)).numpy().astype(np.float64), 2, axis=1)
    z = mean + sd * noise
    log_x = model.p_x(tf.constant(z, tf.float32)).log_prob(x).numpy()
    log_z = log_likelihood(tree, z)
    entropy = (0.5 * np.log(2 * np.pi * np.e * sd**2)).sum(1)
    np.testing.assert_allclose(stage.bound(x, tf.constant(noise)), log_x + log_z + entropy, rtol=1e-3, atol=5e-3)
    found = model.raw_log_weights(tf.constant(raw), tf.zeros([1, 20, 3]), tf.constant(noise[None]))
    np.testing.assert_allclose(found[0], log_x + log_z - stats.norm.logpdf(z, mean, sd).sum(1), rtol=1e-3, atol=5e-3)


def test_the_gradient_is_that_of_log_p(random_tree):
    """In z, against central differences of the tree in NumPy."""
    tree = random_tree(3, (-1, 0), (3, 2), (0, 0, 1), ((0,), (1, 2), (3,)), spread=0.7)
    model = LTVAE({**{name: OPTIONS[name] for name in ("n_clusters", "latent_dim", "encoder_units", "decoder_units")}, "input_shape": (8,)})
    model.prior.set_parameters(padded(tree, 2, 3))
    z = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    at = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(at)
        log_p = tf.reduce_sum(model.log_p_z(at))
    gradient = tape.gradient(log_p, at).numpy()
    for d in range(4):
        step = 1e-5 * (np.arange(4) == d)
        difference = (log_likelihood(tree, z + step) - log_likelihood(tree, z - step)) / 2e-5
        np.testing.assert_allclose(gradient[:, d], difference, rtol=1e-3, atol=1e-3)


def test_a_search_without_a_step_changes_nothing(trained):
    """And it is the same each time."""
    stage = trained.stages[-1]
    while stage.search().steps:
        stage.refresh()
    before = [variable.numpy() for variable in (*stage.em.variables, *stage.model.prior.weights)]
    stage.refresh()
    for variable, value in zip((*stage.em.variables, *stage.model.prior.weights), before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert stage.search().bic == stage.search().bic
    assert stage.values()["facets"] == 2


def state_of(trainer):
    return [variable.numpy() for variable in (*trainer.model.variables, *trainer.stages[-1].em.variables)]


def test_resumed_after_a_search_it_ends_the_same(two, tmp_path):
    """Killed after the structure was searched again, with steps on it behind, and before the next search."""
    splits = Splits(two[0], two[0], "")
    options = {"pretrain_epochs": 60, "structure_epochs": 4, "epochs": 9, "learning_rate": 1e-2, "seed": 2}
    config = RunConfig.of("ltvae", {**OPTIONS, **options, "steps_per_call": 20, "checkpoint_minutes": 0.0})
    whole = Trainer(build_model(config, splits), config, two[0])
    structures, last, prior = [], whole.stages[-1], whole.model.prior

    def noted(search):
        search()
        structures.append(np.concatenate([np.ravel(value) for value in (prior.member, prior.together)]))

    for name in ("begin", "refresh"):
        setattr(last, name, functools.partial(noted, getattr(last, name)))
    assert whole.train() is StopReason.FINISHED
    trainer = start_run(config, splits, str(tmp_path / "run"), monitors=[CrashAt(80)])
    with pytest.raises(Crash):
        trainer.train()
    assert not np.array_equal(structures[0], structures[1])  # what the checkpoint has to bring back
    assert whole.model.n_facets == 2
    resumed = resume_run(trainer.run, trainer.config, splits)
    assert resumed.step == 68  # of 48, where the second search was, and 96
    assert resumed.train() is StopReason.FINISHED
    for mine, its in zip(state_of(resumed), state_of(whole), strict=True):
        np.testing.assert_array_equal(mine, its)
    again = load_run(trainer.run.path)[0]  # from its last checkpoint
    assert again.n_facets == whole.model.n_facets
    for f in range(again.n_facets):
        np.testing.assert_array_equal(again.predict_proba(two[0].x, f), whole.model.predict_proba(two[0].x, f))


def test_each_facet_is_scored(trained, two):
    data, labels = two
    model = trained.model
    report = score(model, Splits(data, data, ""), trained.config, 3)
    assert report["n_facets"] == len(report["facets"]) == 2
    for f, found in enumerate(report["facets"]):
        clusters = model.predict_clusters(data.x, f)
        assert found["accuracy"] == clustering_accuracy(labels[0], clusters)
        assert found["majority_accuracy"] == majority_accuracy(labels[0], clusters)
        assert sum(found["cluster_sizes"]) == len(data)
    assert report["accuracy"] == report["facets"][0]["accuracy"]
    assert report["accuracy_of_best_facet"] == max(found["accuracy"] for found in report["facets"]) > 0.95
    unlabelled = Dataset("two", data.x, None)
    bare = score(model, Splits(unlabelled, unlabelled, ""), trained.config, 3)
    assert [set(found) for found in bare["facets"]] == [{"cluster_sizes"}] * 2
    assert "accuracy_of_best_facet" not in bare


def test_other_axes_change_no_reconstruction(trained, two):
    x = two[0].x[:20]
    model = LTVAE(trained.model.config, seed=4)
    before, codes = model.reconstruct(x), model.embed(x)
    matrix, shift = np.random.default_rng(0).normal(size=(4, 4)), np.arange(4.0)
    change_axes(model.decoder, model.code_head, matrix, shift)
    np.testing.assert_allclose(model.embed(x), (codes - shift) @ matrix.T, atol=1e-4)
    np.testing.assert_allclose(model.reconstruct(x), before, atol=1e-3)


def test_independent_axes_take_sums_apart():
    rng = np.random.default_rng(0)
    sources = rng.choice([-1.0, 0.0, 1.0], size=(2000, 3)) + 0.1 * rng.normal(size=(2000, 3))
    mixed = sources @ rng.normal(size=(3, 3)) + 5
    matrix, shift = independent_axes(mixed, 0)
    found = np.abs(np.corrcoef(((mixed - shift) @ matrix.T).T, sources.T)[:3, 3:])
    assert np.sort(found, 1)[:, -1].min() > 0.98
    assert sorted(found.argmax(1)) == [0, 1, 2]
    again, _ = independent_axes(mixed, 0)
    np.testing.assert_array_equal(again, matrix)
    flat, _ = independent_axes(np.column_stack([mixed[:, :2], np.zeros(2000)]), 0)  # a dimension that is not used
    assert np.isfinite(flat).all()
    assert np.linalg.matrix_rank(flat) == 3
