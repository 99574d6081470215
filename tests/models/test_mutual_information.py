"""Clusters by mutual information: the objective against NumPy, the transfer to a model exactly, and initializations by the trainer."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, softmax

from nvisa_tf import NVISA, Dataset, Monitor, NVISAConfig, RunConfig, RunDirectory, StopReason, Trainer, clustering_accuracy, input_scaling
from nvisa_tf.layers.augmentation import Augmentation
from nvisa_tf.models import mutual_information
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.mutual_information import HEADS, MutualInformationStage, give_network, network, objective
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
    for name in ("LEAST_STEPS", "TRIED_STEPS"):
        monkeypatch.setattr(information, name, 200)
    monkeypatch.setattr(mutual_information, "TAUGHT_STEPS", 40)


def model_of(data, config=CONFIG):
    model = NVISA(config, seed=0)
    model.set_preprocessing(*input_scaling(data))
    return model


def stage_of(data, name="mutual_information", seed=5, **options):
    return MutualInformationStage(name, model_of(data), data, seed=seed, held_out=data.x, **{**STAGE, **options})


def test_the_objective_is_the_change_less_the_weighted_mutual_information(rng):
    logits, changed = rng.normal(size=(2, 7, 3, 4))
    found = objective(*(tf.constant(log_softmax(part, -1)) for part in (logits, changed)))
    for head in range(3):
        p, q = softmax(logits[:, head], -1), softmax(changed[:, head], -1)
        usage = p.mean(0)
        expected = (p * np.log(p / q)).sum(1).mean() - 0.1 * (4 * -(usage * np.log(usage)).sum() - -(p * np.log(p)).sum(1).mean())
        assert float(found[head]) == pytest.approx(expected, rel=1e-10)


def test_the_answer_to_an_image_is_held_where_it_is_compared_with_a_changed_one(rng):
    log_p, log_changed = (tf.constant(log_softmax(part, -1)) for part in rng.normal(size=(2, 7, 1, 4)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([log_p, log_changed])
        both, alone = (tf.reduce_sum(objective(log_p, other)) for other in (log_changed, tf.stop_gradient(log_p)))
    np.testing.assert_allclose(tape.gradient(both, log_p), tape.gradient(alone, log_p), rtol=1e-9)
    np.testing.assert_allclose(tape.gradient(both, log_changed), -np.exp(log_p) / 7, rtol=1e-9)


@pytest.mark.parametrize("changes", [{}, {"encoder_filters": (4,)}, {"encoder_units": ()}], ids=str)
def test_a_model_takes_the_clusters_of_a_head_exactly(data, rng, changes):
    model = model_of(data, dataclasses.replace(CONFIG, **changes))
    trained_network = network(model, 3, "network")
    for variable in trained_network.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    x = model.preprocess(tf.constant(data.x[:9]))
    give_network(trained_network, 2, model.encoder, model.cluster_head)
    expected = tf.reshape(trained_network(x, training=False), [9, HEADS, 2])[:, 2]
    np.testing.assert_allclose(model.cluster_head(model.encoder(x)), expected, rtol=1e-4)


def test_a_step_moves_all_weights_and_the_moments_and_is_repeated_by_its_seed(data):
    first, second = stage_of(data), stage_of(data)
    before = [v.numpy() for v in first.network.variables]
    for stage in (first, second):
        stage.train_step(tf.constant(data.x[:50]))
    for variable, other, value in zip(first.network.variables, second.network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, other)
        assert not np.array_equal(variable, value) or "bias" in variable.path or "beta" in variable.path
    other = stage_of(data, seed=6)
    other.network.set_weights(before)
    other.train_step(tf.constant(data.x[:50]))
    assert float(other.loss.result()) != float(first.loss.result())  # its images are changed otherwise


def test_the_best_of_the_tries_goes_on_and_its_best_head_answers(data, monkeypatch):
    tries = [stage_of(data, f"try_{seed}", seed) for seed in range(3)]
    objectives = [np.array([0.3, 0.2]), np.array([0.4, 0.1]), np.array([0.2, 0.2])]
    judged = iter(objectives)
    monkeypatch.setattr(MutualInformationStage, "judge", lambda self, x: next(judged))
    best = stage_of(data, tries=tries)
    best.begin()
    for mine, theirs in zip(best.network.variables, tries[1].network.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert best.report == {"tries": {"try_0": 0.2, "try_1": 0.1, "try_2": 0.2}, "chosen": "try_1"}
    judged = iter([np.arange(HEADS)[::-1]])
    best.finish()
    log_p = best.log_probabilities(best.model.preprocess(tf.constant(data.x)))
    np.testing.assert_allclose(best.probabilities(data), np.exp(log_p[:, HEADS - 1]), rtol=1e-5)


def test_heads_are_taught_the_clusters_of_equal_size_and_then_no_more(data, rng):
    config = RUN.model
    contrastive = ContrastiveStage(model_of(data), data, seed=1, augmentation=Augmentation.from_config(config), keep={}, batch_size=100,
                                   epochs=1, shuffle_seed=0, learning_rate=1e-3)  # fmt: skip
    stage = stage_of(data, taught_by=contrastive, augmentation=Augmentation(rotation=0.0, shift=1e-9))
    stage.begin()
    before = stage.network.get_weights()
    batch = tf.constant(data.x[:50])
    codes = contrastive.encode(batch).numpy().astype(np.float64)
    target = softmax(codes @ stage._centres.numpy() + stage._biases.numpy(), -1)
    assert abs(target.mean(0) - 0.5).max() < 0.2  # clusters of equal size
    log_p = stage.log_probabilities(stage.model.preprocess(batch), training=True).numpy().astype(np.float64)
    stage.network.set_weights(before)
    stage.train_step(batch)
    expected = -2 * (target[:, None] * log_p).sum(-1).mean(0).sum()  # images that are not changed, twice
    assert float(stage.loss.result()) == pytest.approx(expected, rel=1e-3)
    stage.network.set_weights(before)
    stage.step.assign(mutual_information.TAUGHT_STEPS)
    stage.loss.reset_state()
    stage.train_step(batch)
    assert float(stage.loss.result()) == pytest.approx(objective(log_p, log_p).numpy().sum(), rel=1e-3)


def test_probabilities_that_are_not_finite_are_refused(data):
    stage = stage_of(data)
    stage.network.layers[0].kernel.assign(np.full((64, 32), np.nan))
    with pytest.raises(ValueError, match="not finite; choose another init"):
        stage.probabilities(data)


class Stop(Monitor):
    """Asks for a stop in a stage."""

    def __init__(self, stage):
        self.stage, self.trainer = stage, None

    def on_progress(self, progress):
        if progress.stage == self.stage:
            self.trainer.request_stop()


@pytest.mark.parametrize(
    ("init", "stop_in"), [("best_information", "contrastive_information"), ("contrastive_information", "mutual_information")]
)
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


def test_the_stages_come_in_order(data):
    def names(init):
        config = RUN.replace({"init": init})
        return [s.name for s in initialization.initialization_stages(model_of(data), TrainingData(data, data), config.model, config.train)]

    tries = [f"mutual_information_{number}" for number in (1, 2, 3)]
    assert names("mutual_information") == ["autoencoder", *tries, "mutual_information", "distillation"]
    assert names("contrastive_information") == ["autoencoder", "contrastive", "mutual_information", "distillation"]
    both = ["autoencoder", "contrastive", *tries, "contrastive_information", "mutual_information", "distillation"]
    assert names("best_information") == both
