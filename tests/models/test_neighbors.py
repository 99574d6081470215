"""Heads that answer alike for neighbours; killed, resumed and exported they are tested by contract.py."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import mutual_info_score

from nvisa_tf import Dataset, RunConfig, StopReason, Trainer
from nvisa_tf.clustering.metrics import clustering_scores
from nvisa_tf.data import Splits
from nvisa_tf.models import neighbor_heads
from nvisa_tf.models.neighbor_objective import LEAST_PROBABILITY, MOMENTUM, TEMI, NeighborInformation, mutual_information, symmetric_joint
from nvisa_tf.runs.workflows import build_model


def log_probabilities(seed, n=7, heads=2, clusters=3):
    return tf.nn.log_softmax(tf.constant(np.random.default_rng(seed).normal(size=(n, heads, clusters)), tf.float64))


def in_double(objective):
    shape = objective.average.shape
    objective.average = tf.Variable(np.full(shape, 1 / np.prod(shape[1:])))
    return objective


def test_mutual_information_of_hard_clusters_is_scikit_learns():
    a, b = np.random.default_rng(0).integers(0, 3, (2, 50))
    both = np.concatenate([a, b]), np.concatenate([b, a])
    joint = symmetric_joint(tf.constant(np.eye(3)[a][:, None]), tf.constant(np.eye(3)[b][:, None]))
    np.testing.assert_allclose(mutual_information(joint), [mutual_info_score(*both)], rtol=1e-9)


@pytest.mark.parametrize("exponent", [1.0, 1.5])
def test_the_information_loss_is_that_of_the_paper(exponent):
    p, other = log_probabilities(0), log_probabilities(1)
    found, average = in_double(NeighborInformation(2, 3, exponent)).losses(p, other)
    for head in range(2):
        joint = np.exp(p[:, head]).T @ np.exp(other[:, head]) / 7
        joint = (joint + joint.T) / 2
        moved = MOMENTUM / 9 + (1 - MOMENTUM) * joint
        np.testing.assert_allclose(average[head], moved, rtol=1e-9)
        shares = moved.sum(1) + LEAST_PROBABILITY
        terms = np.log(moved + LEAST_PROBABILITY) - exponent * np.log(np.outer(shares, shares))
        np.testing.assert_allclose(found[head], -np.sum(joint * terms), rtol=1e-6)


def test_where_the_average_has_settled_the_gradient_is_that_of_the_mutual_information():
    p, other = log_probabilities(0), log_probabilities(1)
    objective = in_double(NeighborInformation(2, 3, 1.0))
    objective.average.assign(symmetric_joint(tf.exp(p), tf.exp(other)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(p)
        q = tf.nn.log_softmax(p)  # so that what is differentiated stays a distribution
        loss = tf.reduce_sum(objective.losses(q, other)[0])
        information = -tf.reduce_sum(mutual_information(symmetric_joint(tf.exp(q), tf.exp(other))))
    np.testing.assert_allclose(tape.gradient(loss, p), tape.gradient(information, p), atol=1e-6)


def test_temis_loss_is_that_of_the_paper():
    p, other, t, t_other = (log_probabilities(seed) for seed in range(4))
    objective = in_double(TEMI(2, 3, 0.6, 0.9))
    found, average = objective.losses(p, other, (t, t_other))
    p, other, t, t_other = (np.exp(one) for one in (p, other, t, t_other))
    shares = MOMENTUM / 3 + (1 - MOMENTUM) * 0.5 * (t + t_other).mean(0)
    np.testing.assert_allclose(average, shares, rtol=1e-9)
    weight = np.mean([np.sum(t[:, h] * t_other[:, h], 1) for h in range(2)], 0)
    for head in range(2):
        ways = [np.sum((a[:, head] * b[:, head]) ** 0.6 / (shares[head] + LEAST_PROBABILITY), 1) for a, b in ((p, t_other), (other, t))]
        np.testing.assert_allclose(found[head], -np.mean(weight * np.mean(np.log(ways), 0)), rtol=1e-6)
    with pytest.raises(ValueError, match="teacher"):
        objective.losses(log_probabilities(0), log_probabilities(1), None)


@pytest.fixture(scope="module")
def directions():
    """Vectors of any length about four directions of 12 dimensions, and which one each is about."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 600)
    x = 4 * np.eye(4, 12)[y] + 0.6 * rng.normal(size=(600, 12))
    return (x * rng.uniform(0.2, 5, size=(600, 1))).astype(np.float32), y


def trained(method, data, **options):
    x, y = data
    splits = Splits(Dataset("toy", x[:400], y[:400]), Dataset("toy", x[400:], y[400:]), "")
    own = {"n_clusters": 4, "unit_length": True, "n_heads": 4, "latent_dim": 256, "batch_size": 100, "learning_rate": 3e-3}
    config = RunConfig.of(method, {**own, "epochs": 2, **options})
    trainer = Trainer(build_model(config, splits), config, splits.train, splits.test)
    assert trainer.train() is StopReason.FINISHED
    return trainer


@pytest.mark.parametrize("method", ["neighbor_information", "temi"])
def test_directions_are_found_whatever_the_length(method, directions, monkeypatch):
    monkeypatch.setattr("nvisa_tf.models.neighbor_heads.LEAST_STEPS", 100)
    trainer = trained(method, directions)
    model, stage = trainer.model, trainer.stages[0]
    x, y = directions
    assert clustering_scores(y[400:], model.predict_clusters(x[400:])).accuracy > 0.97
    assert stage.report["accuracy"] == clustering_scores(y[400:], model.predict_clusters(x[400:])).accuracy
    assert model.embed(x).shape == (600, 12)  # no more components than values, and the option stays as it was given
    assert (model.config.latent_dim, trainer.config.model.latent_dim) == (256, 256)
    np.testing.assert_allclose(model.predict_proba(7 * x), model.predict_proba(x), atol=1e-4)
    # The head that answers is the one that judged best, and what it is judged by is right.
    information = stage.judge()
    of_best = stage.probabilities(Dataset("toy", x[:400]))
    heads = tf.exp(stage.log_probabilities(stage._heads, stage.codes)).numpy()
    np.testing.assert_allclose(of_best, heads[:, information.argmax()], atol=1e-5)
    rows = np.repeat(np.arange(400), stage.neighbors.shape[1])
    pairs = heads[rows, 0], heads[stage.neighbors.numpy().reshape(-1), 0]
    joint = (pairs[0].T @ pairs[1] + pairs[1].T @ pairs[0]) / (2 * len(rows))
    np.testing.assert_allclose(information[0], mutual_information(joint[None].astype(np.float64))[0], rtol=1e-4)


def test_training_makes_the_clusters_of_neighbours_tell_more(directions, monkeypatch):
    monkeypatch.setattr("nvisa_tf.models.neighbor_heads.LEAST_STEPS", 100)
    x = np.random.default_rng(1).normal(size=directions[0].shape).astype(np.float32) + 0.5 * directions[0]
    seen = []
    judge = neighbor_heads.NeighborStage.judge
    monkeypatch.setattr(neighbor_heads.NeighborStage, "judge", lambda self: seen.append(judge(self)) or seen[-1])
    trained("neighbor_information", (x, directions[1]))
    assert (seen[-1] > seen[0] + 0.1).all()


def test_with_init_from_the_first_head_begins_as_the_other_run_ended(directions, monkeypatch):
    monkeypatch.setattr("nvisa_tf.models.neighbor_heads.LEAST_STEPS", 1)
    x, _ = directions
    run = trained("neighbor_information", directions, epochs=1)
    first = run.model
    stage = neighbor_heads.NeighborStage(
        "toy",
        first.preprocess,
        first.clusters,
        run.stages[0]._data,
        objective=NeighborInformation(2, 4, 1.3),
        n_heads=2,
        n_neighbors=5,
        by_direction=True,
        seeds=[0, 1, 2, 3],
        begun=True,
        batch_size=100,
        epochs=1,
        learning_rate=1e-3,
    )
    before = first.predict_proba(x[:400])
    stage.begin()
    np.testing.assert_allclose(tf.exp(stage.log_probabilities(stage._heads, stage.codes))[:, 0], before, atol=1e-6)


def test_nvisa_begins_with_the_clusters_of_the_heads(directions, monkeypatch):
    monkeypatch.setattr("nvisa_tf.models.nvisa.initialization.LEAST_STEPS", 300)
    monkeypatch.setattr("nvisa_tf.models.neighbor_heads.LEAST_STEPS", 100)
    options = {"init": "neighbor_information", "init_epochs": 1, "latent_dim": 4, "encoder_units": (32,), "decoder_units": (32,)}
    x, y = directions
    splits = Splits(Dataset("toy", x[:400], y[:400]), Dataset("toy", x[400:], y[400:]), "")
    config = RunConfig().replace({**options, "n_clusters": 4, "unit_length": True, "posterior_units": 32, "epochs": 0, "batch_size": 50})
    trainer = Trainer(build_model(config, splits), config, splits.train, splits.test)
    assert trainer.train() is StopReason.FINISHED
    assert [stage.name for stage in trainer.stages] == ["autoencoder", "neighbor_information", "distillation", "nvisa"]
    report = trainer.stages[2].report
    assert report["method"] == "neighbor_information"
    assert report["accuracy"] > 0.97
    assert report["distilled_accuracy"] > 0.95
    agreed = trainer.model.predict_clusters(x[:400]) == trainer.stages[1].probabilities(splits.train).argmax(1)
    assert agreed.mean() > 0.97


def test_few_examples_are_evaluated_as_often_as_many(directions):
    """Of 400 examples in one batch 1,000 steps are a hundred times the ten epochs that the preset names."""
    x, y = directions
    data = Dataset("toy", x[:400], y[:400])
    config = RunConfig.of(
        "temi", {"n_clusters": 4, "n_heads": 2, "batch_size": 512, "epochs": 10, "eval_epochs": 2.0, "steps_per_call": 1_000}
    )
    wanted = Trainer(build_model(config, Splits(data, data, "")), config, data).steps_wanted()
    assert next(wanted) == 100  # the best head is looked up as often as after an epoch, and 200 steps lie between evaluations


@pytest.mark.parametrize("centres", [[[0.0], [10.0], [20.0]], [[0, 0], [9, 0], [0, 9], [-9, -9]]], ids=["one column", "one group amidst"])
@pytest.mark.parametrize("method", ["neighbor_information", "temi"])
def test_groups_that_differ_by_distance_alone_are_found_without_unit_length(centres, method, monkeypatch):
    monkeypatch.setattr("nvisa_tf.models.neighbor_heads.LEAST_STEPS", 200)
    y = np.repeat(np.arange(len(centres)), 100)
    x = (np.array(centres, np.float64)[y] + np.random.default_rng(0).normal(size=(len(y), len(centres[0])))).astype(np.float32)
    data = Dataset("toy", x, y)
    config = RunConfig.of(method, {"n_clusters": len(centres), "n_heads": 8, "learning_rate": 3e-3, "epochs": 2})
    trainer = Trainer(build_model(config, Splits(data, data, "")), config, data)
    trainer.train()
    assert clustering_scores(y, trainer.model.predict_clusters(x)).accuracy > 0.97
