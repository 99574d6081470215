"""Clusters by mutual information: the networks, their consensus, and initializations by the trainer."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax
from scipy.stats import sem

from nvisa_tf import NVISA, Dataset, Monitor, NVISAConfig, RunConfig, RunDirectory, StopReason, Trainer, clustering_accuracy, input_scaling
from nvisa_tf.clustering.consensus import average, link, matching, shares
from nvisa_tf.clustering.mixtures import spread_rows
from nvisa_tf.layers.augmentation import Augmentation
from nvisa_tf.models import mutual_information
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.cluster_objective import held_out_information, objective
from nvisa_tf.models.mutual_information import (
    FINE,
    FINE_WEIGHT,
    HEADS,
    Candidate,
    MutualInformationStage,
    convolutions_for,
    of_best_heads,
    standard_error,
)
from nvisa_tf.models.nvisa import information, initialization
from nvisa_tf.models.pretraining import ContrastiveStage

CONFIG = NVISAConfig(input_shape=(8, 8), n_clusters=2, latent_dim=2, encoder_units=(32, 16), posterior_units=16, decoder_units=(16,))
RUN = RunConfig().replace(
    {
        "init": "mutual_information", "init_epochs": 60, "augment_shift": 0.3, "augment_brightness": 3.0, "batch_size": 100, "n_samples": 3,
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


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(initialization, "LEAST_STEPS", 100)
    monkeypatch.setattr(initialization, "AGREED_STEPS", 200)
    monkeypatch.setattr(information, "STEPS", 300)
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


def test_a_network_is_judged_by_its_two_best_heads():
    information = np.array([[[0.0, 0.9, 0.2], [0.3, 0.3, 0.1]], [[0.2, 0.1, 0.2], [0.3, 0.3, np.nan]]])
    np.testing.assert_allclose(of_best_heads(information), [[0.55, np.nan], [0.15, np.nan]])  # the second and third head of the first


def test_the_standard_error_is_scipys(rng):
    differences = rng.normal(size=30)
    assert standard_error(differences) == pytest.approx(sem(differences))
    assert standard_error(differences[:1]) == np.inf


def judged(monkeypatch, *information):
    """Networks that have these nats by their two best heads, on average over eight images, which differ between networks by 0.02."""
    spread = np.array([-0.7, 0.1, -0.5, -0.1, -0.3])
    of_images = 0.02 * np.random.default_rng(0).normal(size=(8, len(information)))
    of_images += np.array(information) - of_images.mean(0)
    monkeypatch.setattr(MutualInformationStage, "judge", lambda self: of_images[..., None] + spread)


def test_all_heads_of_taught_networks_are_matched_where_these_do_better_on_average(data, monkeypatch):
    stage = stage_of(data, forms=((True, True), (False, True), (False, False), (False, False)))
    judged(monkeypatch, 0.5, 0.55, 0.63, 0.425)  # one of the others is the best, and they do better by 0.0025, which may be chance
    found, of_others = stage.agreed(data)
    answers = [stage.answers(stage.candidates[index], data)[:, head] for index in (1, 0) for head in range(HEADS)]
    np.testing.assert_allclose(found, average(answers, [matching(answers[0], one) for one in answers]))
    np.testing.assert_allclose(of_others(data), found)
    assert 0.003 < stage.report.pop("standard_error") < 0.02
    assert stage.report == {
        "tries": {"one_0": 0.5, "one_1": 0.55, "one_2": 0.63, "one_3": 0.425}, "chosen": "one_1", "clusters": "matched",
        "heads": {"one_0": HEADS, "one_1": HEADS}, "means": {"from random weights": 0.5275, "taught contrastive clusters": 0.525},
    }  # fmt: skip
    images = stage.model.preprocess(tf.constant(data.x))
    log_p = stage.log_probabilities(stage.candidates[1], images).heads
    np.testing.assert_allclose(answers[0], np.exp(log_p[:, 0]), rtol=1e-4, atol=1e-6)


def test_a_network_that_diverged_is_neither_taken_nor_a_number_in_the_report(data, monkeypatch):
    stage = stage_of(data, forms=((True, True), (False, True), (False, False)))
    judged(monkeypatch, 0.2, np.nan, np.nan)
    found, _ = stage.agreed(data)
    assert stage.report["tries"] == {"one_0": 0.2, "one_1": None, "one_2": None}
    assert stage.report["means"] == {"taught contrastive clusters": 0.2}
    assert stage.report["heads"] == {"one_0": HEADS}
    assert np.isfinite(found).all()
    judged(monkeypatch, np.nan, np.nan, np.nan)
    with pytest.raises(ValueError, match="not finite; choose another init"):
        stage.agreed(data)


def test_fine_clusters_are_linked_where_networks_from_random_weights_do_better(data, monkeypatch):
    monkeypatch.setattr(mutual_information, "COMPARED", 150)
    stage = stage_of(data, forms=((True, True), (False, False), (True, False)))
    for _ in range(20):
        stage.train_step(tf.constant(data.x[:100]))
    judged(monkeypatch, 0.2, 0.3, 0.15)
    found, of_others = stage.agreed(data)
    assert stage.report["clusters"] == "linked"
    assert stage.report["means"] == {"from random weights": 0.225, "taught contrastive clusters": 0.2}
    assert stage.report["chosen"] == "one_1"
    assert stage.report["heads"] == {"one_1": HEADS, "one_2": HEADS}
    fine = [stage.answers(one, data, fine=True)[:, head] for one in stage.candidates[1:] for head in range(HEADS)]
    rows = spread_rows(400, 150, 0)
    clusters = link([p[rows] for p in fine], 2)
    np.testing.assert_allclose(found, average(fine, [shares(p[rows], clusters, 2) for p in fine]))
    np.testing.assert_allclose(of_others(data), found)
    # Where they cannot be linked to enough clusters, their other heads are matched.
    monkeypatch.setattr(mutual_information, "link", lambda *args: None)
    found, _ = stage.agreed(data)
    assert stage.report["clusters"] == "matched"
    answers = [stage.answers(one, data)[:, head] for one in stage.candidates[1:] for head in range(HEADS)]
    some = [p[rows] for p in answers]
    np.testing.assert_allclose(found, average(answers, [matching(some[0], p) for p in some]))


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


@pytest.mark.parametrize(("init", "stop_in"), [("best_information", "mutual_information"), ("contrastive_information", "distillation")])
def test_an_initialization_finds_bars_and_goes_on_after_a_stop_as_if_there_had_been_none(data, tmp_path, init, stop_in):
    config, runs = RUN.replace({"init": init}), [RunDirectory.create(tmp_path / name, RunConfig(), {}) for name in ("straight", "stopped")]
    straight = Trainer(model_of(data), config, data, run=runs[0])
    assert straight.train() is StopReason.FINISHED
    report = runs[0].init()
    assert report["method"] == init
    assert report["accuracy"] > 0.9
    assert report["distilled_accuracy"] == pytest.approx(report["accuracy"], abs=0.05)
    assert clustering_accuracy(data.y, straight.model.predict_clusters(data.x)) > 0.9

    stop = Stop(stop_in)
    stop.trainer = Trainer(model_of(data), config, data, run=runs[1], monitors=[stop])
    assert stop.trainer.train() is StopReason.REQUESTED
    assert stop.trainer.stage.name == stop_in
    again = Trainer(model_of(data), config, data, run=runs[1])
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
