"""The rule that ends a stage, on curves whose course is known; what checks keep; the rate; what a stage makes of them."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf.data import Dataset
from nvisa_tf.layers.augmentation import Augmentation
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.nvisa.model import NVISA
from nvisa_tf.models.plateau import (
    Checks,
    ConstantThenCosine,
    before_last_quarter,
    gain_of_last_quarter,
    has_settled,
    has_stopped_paying,
    steps_between_checks,
)
from nvisa_tf.models.pretraining import AutoencoderStage, ContrastiveStage, held_out_part
from nvisa_tf.models.stage import AdamStage

CHECKS = np.arange(2_000)


def end_of(curve):
    """At which check the rule ends a stage with these measures; None: never."""
    return next((c for c in range(1, len(curve) + 1) if has_stopped_paying(curve[:c])), None)


def test_a_curve_ends_where_its_last_quarter_brings_a_hundredth():
    # 1 / (1 + t) loses a quarter of itself in every last quarter, however late, so it always pays.
    assert end_of(1 / (1 + CHECKS)) is None
    # exp(-t/20) to a floor of 1 from 10: before t the last quarter brought 9 exp(-t/20) (exp(t/80) - 1) of about 1.
    t = np.arange(8, 2_000)
    gains = 9 * np.exp(-t / 20) * (np.exp((t - (3 * t) // 4) / 20) - 1)
    expected = t[np.argmax(gains / (1 + 9 * np.exp(-((3 * t) // 4) / 20)) < 0.01)] + 1
    assert 100 < expected < 300
    assert end_of(1 + 9 * np.exp(-CHECKS / 20)) == expected


def test_neither_scale_nor_an_unreachable_floor_changes_the_end():
    curve = np.exp(-CHECKS / 30)
    ends = {end_of(scale * (1 + 9 * curve)) for scale in (1e-6, 1.0, 1e6)}
    assert len(ends) == 1
    # Where most of the measure is a floor, what was gained is what counts: the same end for whatever floor.
    assert end_of(100 + curve) == end_of(10_000 + curve) > 9


def test_a_bad_check_decides_nothing_and_a_rising_curve_ends():
    curve = 1 / (1 + CHECKS[:200])
    spiked = curve.copy()
    spiked[[50, 100, 101]] = 5.0
    assert end_of(spiked) is None
    assert end_of(np.concatenate([curve[:20], 1 + CHECKS[:60] / 10])) == 27  # best at 19 <= 3 (c - 1) // 4
    noisy = np.where(CHECKS[:200] % 7 == 3, np.nan, curve)
    assert end_of(noisy) is None


def test_too_few_checks_decide_nothing_and_a_measure_that_stays_0_ends():
    assert end_of(np.ones(8)) is None
    assert end_of(np.ones(9)) == 9
    assert end_of(np.zeros(9)) == 9
    assert end_of(np.full(50, np.nan)) is None
    falling = np.exp(-CHECKS / 20)
    assert end_of(falling - 1) == end_of(falling + 99) is not None  # minus an information falls below 0
    assert gain_of_last_quarter([4.0, 4.0, 4.0, 4.0, 3.0]) == np.inf  # nothing before, so all that was gained is new


def test_where_a_quarter_begins_and_how_often_is_checked():
    assert [before_last_quarter(c) for c in (1, 2, 5, 6, 9)] == [0, 0, 3, 3, 6]
    assert [steps_between_checks(n) for n in (1, 99, 469)] == [50, 50, 234]


def test_clusters_and_bound_settle_together():
    assert has_settled(9, 0.0019, 0.0049)
    assert not has_settled(8, 0.0, 0.0)
    assert not has_settled(9, 0.002, 0.0)
    assert not has_settled(9, 0.0, 0.005)
    assert not has_settled(9, np.nan, 0.0)
    assert has_settled(9, 0.0, -1.0)


def test_checks_compare_the_clusters_of_a_quarter_ago_and_keep_no_more(rng):
    checks, history = Checks(50), []
    assert np.isnan(checks.changed_of_last_quarter())
    for c in range(1, 40):
        history.append(rng.integers(0, 3, 20))
        checks.add(float(c), history[-1])
        assert checks.count == c
        assert checks.last == c
        if c > 1:
            assert checks.changed_of_last_quarter() == np.mean(history[before_last_quarter(c)] != history[-1])
    assert len(checks.checkpointables()["clusters"].numpy()) == 39 - before_last_quarter(39)
    checks.stopped.assign(500)
    checks.add(40.0)
    np.testing.assert_array_equal(checks.measures, np.arange(1, 12))  # of steps 0 to 500


def test_a_checkpoint_holds_checks_of_any_number(tmp_path, rng):
    checks = Checks(50)
    for c in range(7):
        checks.add(float(c), rng.integers(0, 3, 20))
    path = tf.train.Checkpoint(**checks.checkpointables()).write(str(tmp_path / "checks"))
    again = Checks(50)
    again.add(9.0, np.zeros(20, int))
    tf.train.Checkpoint(**again.checkpointables()).read(path).assert_consumed()
    np.testing.assert_array_equal(again.measures, checks.measures)
    assert again.changed_of_last_quarter() == checks.changed_of_last_quarter()


def test_the_rate_stays_and_falls_in_the_quarter_after_the_stop_or_the_last_fifth():
    stopped = tf.Variable(0, dtype=tf.int64)
    rate = ConstantThenCosine(0.1, 1_000, stopped)

    def at(*steps):
        return [float(rate(tf.constant(step, tf.int64))) for step in steps]

    np.testing.assert_allclose(at(0, 500, 800, 900, 1_000), [0.1, 0.1, 0.1, 0.05, 0], atol=1e-8)
    stopped.assign(402)  # and 100 more
    np.testing.assert_allclose(at(0, 402, 427, 452, 502, 700), [0.1, 0.1, 0.05 * (1 + np.cos(np.pi / 4)), 0.05, 0, 0], atol=1e-8)


class Slope(AdamStage):
    """One number that goes to 3; its measure is given."""

    def __init__(self, measures, **options):
        self.variable = keras.Variable(0.0)
        self.given = iter(measures)
        stage = {"batch_size": 10, "epochs": 100, "shuffle_seed": 0, "seed": 0, "learning_rate": 0.1, "stop_early": True}
        super().__init__("slope", np.zeros([100, 1], np.float32), [self.variable], **{**stage, **options})

    def train_step(self, batch):
        with tf.GradientTape() as tape:
            loss = tf.square(self.variable.value - 3.0)
        self.learn(tape, loss)

    def measure(self):
        return next(self.given)


def run(stage):
    """What the trainer does: a check before the first step and at every mark."""
    step = tf.function(stage.train_step)
    stage.check()
    rates = []
    while int(stage.step) < stage.total_steps:
        rates.append(stage.values()["learning_rate"])
        step(tf.zeros([10, 1]))
        if int(stage.step) % stage.check_steps == 0:
            stage.check()
    return rates


def test_a_stage_ends_a_quarter_after_it_stopped_paying_and_says_why():
    stage = Slope([4.0, 3.0, 2.0] + 18 * [1.0])
    assert (stage.most_steps, stage.total_steps, stage.check_steps) == (1_000, 1_000, 50)
    rates = run(stage)
    # The best is check 2; of 9 checks, which are needed, the last quarter begins at check 6.
    assert int(stage.step) == stage.total_steps == 500
    assert set(np.float32(rates[:401])) == {np.float32(0.1)}
    assert all(a > b for a, b in itertools.pairwise(rates[400:]))
    assert rates[-1] < 1e-4
    assert stage.why_ended() == "ended at epoch 50 of 100, as the last quarter before its cool-down brought 0.0% of held-out loss"
    assert stage.values()["held_out_loss"] == 1.0
    assert float(stage.variable.value) == pytest.approx(3, abs=0.1)


def test_a_stage_that_pays_goes_on_to_its_limit_and_no_stage_ends_before_its_least_steps():
    paying = Slope(0.5 ** np.arange(30))
    run(paying)
    assert (int(paying.step), paying.why_ended()) == (1_000, "")
    slow = Slope(np.ones(30), least_steps=570)
    run(slow)
    assert int(slow.step) == 750
    late = Slope(np.ones(30), least_steps=800)  # its cool-down begins there anyway
    run(late)
    assert (int(late.step), late.why_ended()) == (1_000, "")


def test_without_it_there_are_no_checks_and_the_cosine_is_that_of_before():
    stage = Slope([], stop_early=False)
    assert (stage.check_steps, stage.total_steps, "checks" in stage.checkpointables()) == (0, 1_000, False)
    assert "held_out_loss" not in stage.values()
    stage.optimizer.iterations.assign(500)
    assert stage.values()["learning_rate"] == pytest.approx(0.05)


def test_networks_are_measured_on_what_is_held_out_unchanged_or_always_changed_alike(rng):
    from nvisa_tf import NVISAConfig

    config = NVISAConfig(input_shape=(8, 8), n_clusters=2, latent_dim=2, encoder_units=(16,), posterior_units=16, decoder_units=(16,))
    x = rng.uniform(0, 1, (40, 8, 8)).astype(np.float32)
    data, held_out = Dataset("train", x[:20]), x[20:]
    stage = {"batch_size": 6, "epochs": 10, "shuffle_seed": 0, "learning_rate": 1e-2, "held_out": held_out, "augmentation": Augmentation()}
    model = NVISA(config)
    autoencoder = AutoencoderStage(model, data, seed=0, **stage)
    mean = np.asarray(model.decoder(autoencoder.encode(held_out))[0], float)
    expected = (0.5 * (held_out.reshape(20, -1) - mean) ** 2).sum(1).mean()
    assert autoencoder.measure() == pytest.approx(expected, rel=1e-5)
    contrastive = ContrastiveStage(model, data, seed=0, keep={}, **stage)
    before = contrastive.measure()
    assert 0 < before < np.log(2 * 6)  # a piece has five images, and ten codes
    contrastive.step.assign(5)
    assert contrastive.measure() == before
    contrastive.train_step(tf.constant(x[:6]))
    assert contrastive.measure() != before
    with pytest.raises(ValueError, match="give held_out"):
        AutoencoderStage(model, data, seed=0, **{**stage, "held_out": None}).measure()


def test_what_is_held_out_is_spread_evenly_and_all_of_it_where_it_is_little():
    test = Dataset("test", np.arange(25, dtype=np.float32)[:, None])
    train = Dataset("train", np.zeros([3, 1], np.float32))
    np.testing.assert_array_equal(held_out_part(TrainingData(train, test), 10)[:, 0], np.arange(0, 25, 3))
    assert len(held_out_part(TrainingData(train, test), 25)) == 25
    assert len(held_out_part(TrainingData(train, train))) == 3
