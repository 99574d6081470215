"""Clusters by mutual information: the networks, and initializations by the trainer."""

import re

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from nvisa_tf import NVISA, Dataset, Monitor, NVISAConfig, RunConfig, RunDirectory, StopReason, Trainer, clustering_accuracy, input_scaling
from nvisa_tf.layers.augmentation import Augmentation
from nvisa_tf.models import mutual_information
from nvisa_tf.models.agreement import of_best_heads
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.cluster_objective import held_out_information, objective, times_changed
from nvisa_tf.models.mutual_information import (
    FINE,
    FINE_WEIGHT,
    HEADS,
    Candidate,
    MutualInformationStage,
    convolutions_for,
)
from nvisa_tf.models.nvisa import information, initialization
from nvisa_tf.models.pretraining import ContrastiveStage

CONFIG = NVISAConfig(input_shape=(8, 8), n_clusters=2, latent_dim=2, encoder_units=(32, 16), posterior_units=16, decoder_units=(16,))
RUN = RunConfig().replace(
    {
        "init": "mutual_information", "init_epochs": 30, "augment_shift": 0.3, "augment_brightness": 3.0, "batch_size": 100, "n_samples": 3,
        "eval_samples": 5, "epochs": 0, "steps_per_call": 10,
    }
)  # fmt: skip
STAGE = {"batch_size": 50, "epochs": 1, "shuffle_seed": 0, "learning_rate": 1e-3, "keep": {}, "augmentation": Augmentation(shift=0.3)}


@pytest.fixture(scope="module")
def data():
    """Upright and level bars, of any place and of a brightness that differs much more than bars do."""
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 200)
    x = rng.uniform(0, 0.02, (400, 8, 8))
    for image, level in zip(x, y, strict=True):
        at = rng.integers(1, 6)
        image[np.s_[at : at + 2, :] if level else np.s_[:, at : at + 2]] += 10 ** rng.uniform(-1, 0)
    return Dataset("bars", x.astype(np.float32), y)


@pytest.fixture(scope="module", autouse=True)
def graph_options_of_users():
    """TensorFlow's optimizer of graphs works, as it does elsewhere: which bars so few steps find hangs on rounding, and so on it."""
    options = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    tf.config.optimizer.set_experimental_options(options)


@pytest.fixture(autouse=True)
def few_steps_of_few_networks(monkeypatch):
    """One network from random weights, and one that is taught, in place of five: each takes seconds to compile."""
    monkeypatch.setitem(information.TRIED, "mutual_information", information.FROM_RANDOM_WEIGHTS[:1])
    monkeypatch.setitem(
        information.TRIED, "best_information", (information.FROM_RANDOM_WEIGHTS[0], information.FROM_CONTRASTIVE_CLUSTERS[1])
    )
    monkeypatch.setattr(initialization, "LEAST_STEPS", 50)
    monkeypatch.setattr(initialization, "AGREED_STEPS", 100)
    monkeypatch.setattr(information, "STEPS", 150)
    monkeypatch.setattr(mutual_information, "TAUGHT_STEPS", 40)
    monkeypatch.setattr(mutual_information, "FILTERS", 8)
    monkeypatch.setattr(mutual_information, "CONVOLUTIONAL_UNITS", (64,))


def model_of(data, config=CONFIG):
    model = NVISA(config, seed=0)
    model.set_preprocessing(*input_scaling(data))
    return model


def stage_of(data, seed=5, forms=((True, False), (False, False)), **options):
    model = model_of(data)
    candidates = [Candidate.made(model, i, f"one_{i}", *form) for i, form in enumerate(forms)]
    return MutualInformationStage(model, data, candidates=candidates, seed=seed, held_out=data.x, **{**STAGE, **options})


def weights_of_networks(stage):
    return [variable.numpy() for one in stage.candidates for variable in one.network.variables]


def test_networks_have_convolutions_or_the_widths_of_the_model(data):
    convolutional, dense = (Candidate.made(model_of(data), 3, "network", form, is_taught=True).network for form in (True, False))
    assert [type(layer).__name__ for layer in convolutional.layers].count("Conv2D") == 2
    assert convolutional.layers[-3].input.shape[1:] == (64,)
    assert [layer.units for layer in dense.layers if hasattr(layer, "units")] == [32, 16, 2 * HEADS]
    for one in (convolutional, dense):
        assert one(tf.zeros([3, 64])).shape == (3, 2 * HEADS)


def test_a_network_that_is_not_taught_has_fine_clusters_too_which_count_for_less(data):
    stage = stage_of(data, forms=((False, False),), augmentation=Augmentation(rotation=0.0, shift=1e-9))
    candidate, images = stage.candidates[0], stage.model.preprocess(tf.constant(data.x[:50]))
    before = candidate.network.get_weights()
    found = stage.log_probabilities(candidate, images, training=True)
    assert (found.heads.shape, found.fine.shape) == ((50, HEADS, 2), (50, HEADS, 2 * FINE))
    for log_p in found:
        np.testing.assert_allclose(np.exp(log_p).sum(-1), 1, rtol=1e-5)
    assert stage_of(data, forms=((True, True),)).log_probabilities(stage.candidates[0]._replace(is_taught=True), images).fine is None
    candidate.network.set_weights(before)
    stage.train_step(tf.constant(data.x[:50]))
    of_heads, of_fine = (objective(log_p, log_p).numpy().sum() for log_p in found)
    assert float(stage.loss.result()) == pytest.approx(of_heads + FINE_WEIGHT * of_fine, rel=1e-4)


@pytest.mark.parametrize(("shape", "filters"), [((8, 8), (8, 16)), ((28, 28), (8, 16)), ((64, 40, 3), (8, 16, 32)), ((3, 2), (8, 16))])
def test_images_are_halved_until_they_are_small(shape, filters):
    assert convolutions_for(shape) == filters


def test_a_step_moves_all_weights_and_the_moments_and_is_repeated_by_its_seed(data):
    first, second = stage_of(data), stage_of(data)
    before = weights_of_networks(first)
    for stage in (first, second):
        stage.train_step(tf.constant(data.x[:50]))
    for variable, other, value in zip(weights_of_networks(first), weights_of_networks(second), before, strict=True):
        np.testing.assert_array_equal(variable, other)
        assert not np.array_equal(variable, value) or value.ndim == 1  # a bias before normalization has no gradient
    other = stage_of(data, seed=6)
    other.train_step(tf.constant(data.x[:50]))
    assert float(other.loss.result()) != float(first.loss.result())  # its images are changed otherwise


def test_no_network_depends_on_what_else_is_tried(data):
    both, alone = stage_of(data), stage_of(data, forms=((True, False),))
    for stage in (both, alone):
        stage.train_step(tf.constant(data.x[:50]))
    for mine, theirs in zip(both.candidates[0].network.variables, alone.candidates[0].network.variables, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_networks_are_judged_each_by_its_own_answers(data):
    stage = stage_of(data)
    for one in stage.candidates:
        one.network.layers[-1].kernel.assign(one.network.layers[-1].kernel * 100)  # sure answers, each network's own
    found = stage.judge()
    assert found.shape == (400, 2, HEADS)
    assert np.abs(found[:, 0] - found[:, 1]).max() > 0.1  # far beyond rounding
    for one, expected in zip(stage.candidates, found.swapaxes(0, 1), strict=True):
        mine = held_out_information(
            lambda scaled, one=one: stage.log_probabilities(one, scaled).heads, stage.model.preprocess, data.x, STAGE["augmentation"]
        )
        np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-3)


def test_fine_heads_answer_for_held_out_images_and_their_changes(data):
    stage = stage_of(data, forms=((True, True), (True, False), (False, False)))
    of_images, of_changed = stage.held_out_fine([2, 1])
    assert [p.shape for p in of_images] == [(400, 2 * FINE)] * 2 * HEADS
    assert [p.shape for p in of_changed] == [(400 * times_changed(400), 2 * FINE)] * 2 * HEADS
    expected = [stage.answers(stage.candidates[index], data, fine=True)[:, head] for index in (2, 1) for head in range(HEADS)]
    np.testing.assert_allclose(of_images, expected, atol=1e-5)
    assert np.abs(np.reshape(of_changed, [2 * HEADS, -1, 400, 2 * FINE])[:, 0] - of_images).max() > 1e-3
    stage = stage_of(data, forms=((False, False),), augmentation=Augmentation(rotation=0.0, shift=1e-9))
    of_images, of_changed = stage.held_out_fine([0])
    np.testing.assert_allclose(of_changed, np.tile(of_images, [1, times_changed(400), 1]), atol=1e-4)


def test_a_network_whose_fine_heads_are_not_finite_is_not_judged(data):
    stage = stage_of(data, forms=((True, False), (False, False)))
    bias = stage.candidates[1].network.layers[-1].bias
    bias.assign(np.r_[np.zeros(2 * HEADS), np.full(2 * HEADS * FINE, np.nan)])
    found = stage.judge()
    assert np.isfinite(found[:, 0]).all()
    assert np.isnan(found[:, 1]).all()
    assert list(stage.choose_answer(data).report()["heads"]) == ["one_0"]


def test_heads_are_taught_the_clusters_of_equal_size_and_then_no_more(data, rng):
    config = RUN.model
    contrastive = ContrastiveStage(model_of(data), data, seed=1, augmentation=Augmentation.from_config(config), keep={}, batch_size=100,
                                   epochs=1, shuffle_seed=0, learning_rate=1e-3)  # fmt: skip
    stage = stage_of(data, taught_by=contrastive, augmentation=Augmentation(rotation=0.0, shift=1e-9), forms=((False, True),))
    stage.begin()
    network = stage.candidates[0].network
    before = network.get_weights()
    batch = tf.constant(data.x[:50])
    codes = contrastive.encode(batch).numpy().astype(np.float64)
    target = softmax(codes @ stage._centres.numpy() + stage._biases.numpy(), -1)
    assert abs(target.mean(0) - 0.5).max() < 0.2  # clusters of equal size
    log_p = stage.log_probabilities(stage.candidates[0], stage.model.preprocess(batch), training=True).heads.numpy().astype(np.float64)
    network.set_weights(before)
    stage.train_step(batch)
    expected = -2 * (target[:, None] * log_p).sum(-1).mean(0).sum()  # images that are not changed, twice
    assert float(stage.loss.result()) == pytest.approx(expected, rel=1e-3)
    network.set_weights(before)
    stage.step.assign(mutual_information.TAUGHT_STEPS)
    stage.loss.reset_state()
    stage.train_step(batch)
    assert float(stage.loss.result()) == pytest.approx(objective(log_p, log_p).numpy().sum(), rel=1e-3)


def test_a_network_answers_for_some_images_at_a_time_as_for_all(data, monkeypatch):
    stage = stage_of(data)
    expected = stage.answers(stage.candidates[0], data)
    sizes, log_probabilities = [], MutualInformationStage.log_probabilities
    monkeypatch.setattr(mutual_information, "VALUES_AT_ONCE", 150 * 64)
    monkeypatch.setattr(
        MutualInformationStage,
        "log_probabilities",
        lambda self, one, x, **options: sizes.append(x.shape[0]) or log_probabilities(self, one, x, **options),
    )
    np.testing.assert_allclose(stage.answers(stage.candidates[0], data), expected, atol=1e-6)
    assert max(size for size in sizes if size) == 150


def test_probabilities_that_are_not_finite_are_refused(data):
    stage = stage_of(data)
    stage.candidates[1].network.layers[0].kernel.assign(np.full((64, 32), np.nan))
    with pytest.raises(ValueError, match="not finite; choose another init"):
        stage.answers(stage.candidates[1], data)


class Stop(Monitor):
    """Asks for a stop in a stage."""

    def __init__(self, stage):
        self.stage, self.trainer = stage, None

    def on_progress(self, progress):
        if progress.stage == self.stage:
            self.trainer.request_stop()


def initialized(data, init, folder):
    """A trainer that has found the bars by an initialization."""
    run = RunDirectory.create(folder, RunConfig(), {})
    trainer = Trainer(model_of(data), RUN.replace({"init": init}), data, run=run)
    assert trainer.train() is StopReason.FINISHED
    report = run.init()
    assert report["method"] == init
    assert report["accuracy"] > 0.9
    assert report["distilled_accuracy"] == pytest.approx(report["accuracy"], abs=0.05)
    assert clustering_accuracy(data.y, trainer.model.predict_clusters(data.x)) > 0.9
    return trainer


@pytest.mark.slow  # the next test has such a network beside one from random weights
def test_networks_that_were_taught_contrastive_clusters_find_bars(data, tmp_path):
    initialized(data, "contrastive_information", tmp_path / "run")


def test_an_initialization_finds_bars_and_goes_on_after_a_stop_as_if_there_had_been_none(data, tmp_path):
    straight = initialized(data, "best_information", tmp_path / "straight")
    config, run = RUN.replace({"init": "best_information"}), RunDirectory.create(tmp_path / "stopped", RunConfig(), {})
    stop = Stop("mutual_information")  # the contract of all methods has stops in the stages that other initializations have too
    stop.trainer = again = Trainer(model_of(data), config, data, run=run, monitors=[stop])
    assert again.train() is StopReason.REQUESTED
    assert again.stage.name == "mutual_information"
    again = Trainer(model_of(data), config, data, run=run)
    assert 0 < again.resume() < again.total_steps
    assert again.train() is StopReason.FINISHED
    for mine, theirs in zip(straight.model.weights, again.model.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_training_is_judged_by_the_same_measure_before_and_after(data, tmp_path):
    run = RunDirectory.create(tmp_path / "run", RunConfig(), {})
    config = RUN.replace({"init": "mutual_information", "epochs": 2, "eval_epochs": 1.0, "augment": True, "eps_start": 0.25})
    model = model_of(data)
    Trainer(model, config, data, run=run).train()
    before, after = run.init()["held_out_cluster_information"], float(run.metrics()[-1]["held_out_cluster_information"])

    def answer(scaled):
        return tf.math.log(model.q_y(model.encoder(scaled)).probs_parameter())[:, None]

    expected = held_out_information(answer, model.preprocess, data.x, Augmentation.from_config(config.model)).mean()
    assert after == pytest.approx(expected, rel=1e-4)
    assert before != after
    assert before == pytest.approx(after, abs=0.1)


def test_the_networks_are_checked_by_what_they_are_compared_by(data):
    stage = stage_of(data, stop_early=True)
    expected = of_best_heads(stage.judge()).mean(0)
    stage.check()
    assert stage.checks.last == pytest.approx(-expected.mean())
    assert stage.values()["held_out_cluster_information"] == pytest.approx(expected.mean())
    stage.candidates[1].network.layers[0].kernel.assign(np.full((64, 32), np.nan))  # one that diverged does not count
    assert stage.measure() == pytest.approx(-expected[0])
    stage.candidates[0].network.layers[-1].kernel.assign(stage.candidates[0].network.layers[-1].kernel * np.nan)
    assert np.isnan(stage.measure())


def test_the_networks_stop_where_comparison_finds_them_no_better(data, monkeypatch, tmp_path):
    monkeypatch.setattr(information, "EPOCHS", 2_000)
    monkeypatch.setitem(information.TRIED, "mutual_information", ((False, False),))
    run = RunDirectory.create(tmp_path / "run", RunConfig(), {})
    trainer = Trainer(model_of(data), RUN.replace({"init": "mutual_information", "stop_early": True}), data, run=run)
    assert trainer.train() is StopReason.FINISHED
    stage = trainer.stages[1]
    assert 500 <= int(stage.step) == stage.total_steps < stage.most_steps == 2_000
    ended = run.init()["ended_early"]["mutual_information"]
    assert re.search(r"the last quarter before its cool-down brought [01]\.\d% of held-out cluster information", ended)
    found = [float(row["held_out_cluster_information"]) for row in run.stages() if row["stage"] == "mutual_information"]
    assert found[0] < found[-1] < np.log(2)
    assert run.init()["accuracy"] > 0.9


def test_a_tenth_of_the_examples_is_kept_for_comparison_and_more_of_few(data):
    assert [information.judged_of(n) for n in (1, 20, 300, 1_000, 1_437, 10_000, 60_000, 10**6)] == [
        1,
        5,
        75,
        100,
        143,
        1_000,
        5_000,
        5_000,
    ]
    config = RUN.model
    stages = initialization.initialization_stages(model_of(data), TrainingData(data, data), config, RUN.train)
    assert (len(stages[1].x), len(stages[1]._held_out)) == (300, 100)


def test_the_stages_come_in_order(data):
    def names(init):
        config = RUN.replace({"init": init})
        return [s.name for s in initialization.initialization_stages(model_of(data), TrainingData(data, data), config.model, config.train)]

    assert names("mutual_information") == ["autoencoder", "mutual_information", "distillation"]
    assert names("contrastive_information") == ["autoencoder", "contrastive", "mutual_information", "distillation"]
    assert names("best_information") == ["autoencoder", "contrastive", "mutual_information", "distillation"]
