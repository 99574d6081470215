import dataclasses
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf import (
    NVISA,
    Augmentation,
    Dataset,
    Monitor,
    RunConfig,
    StopReason,
    Trainer,
    TrainingDiverged,
    clustering_accuracy,
    input_scaling,
)
from nvisa_tf.config import StepOptions
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.nvisa import initialization
from nvisa_tf.models.nvisa.initialization import initialization_stages
from nvisa_tf.models.nvisa.training import compile_for_training

CONFIG = RunConfig().replace(
    {"epochs": 6, "batch_size": 32, "n_samples": 3, "eps_halving_epochs": 2, "eval_epochs": 2, "eval_samples": 5, "steps_per_call": 7}
)


class Log(Monitor):
    def __init__(self):
        self.progress, self.rows, self.messages = [], [], []

    def on_progress(self, progress):
        self.progress.append(progress)

    def on_evaluation(self, row, model, stage):
        self.rows.append(row)

    def on_message(self, message):
        self.messages.append(message)


@pytest.fixture
def data(blobs):
    return Dataset("blobs", *blobs)


def test_clusters_the_blobs(tiny_config, data):
    model = NVISA(tiny_config, seed=0)
    model.set_preprocessing(*input_scaling(data))
    config = CONFIG.replace(
        {
            "epochs": 120, "learning_rate": 3e-3, "eps_halving_epochs": 30, "anneal_mode": "exponential", "eval_epochs": 60,
            "n_samples": 5, "steps_per_call": 100,
        }
    )  # fmt: skip
    log = Log()
    assert Trainer(model, config, data, monitors=[log]).train() is StopReason.FINISHED
    assert clustering_accuracy(data.y, model.predict_clusters(data.x)) > 0.95
    assert log.rows[-1]["accuracy"] > 0.95
    assert log.rows[-1]["bound"] > log.rows[0]["bound"]


def test_evaluations_come_on_time_with_every_column(tiny_config, data):
    log = Log()
    trainer = Trainer(NVISA(tiny_config), CONFIG, data, monitors=[log])
    trainer.train()
    assert trainer.steps_per_epoch == 9
    assert [row["step"] for row in log.rows] == [18, 36, 54]
    assert [row["epoch"] for row in log.rows] == [2, 4, 6]
    row = log.rows[-1]
    assert {"kl_y", "kl_z", "log_p_x", "ess", "grad_norm", "held_out_iw_bound", "learning_rate", "used_clusters", "nmi", "ari"} <= set(row)
    assert row["loss"] == pytest.approx(row["l2"] - row["bound"], abs=1e-4)
    assert 1 <= row["ess"] <= 3
    assert row["eps_x"] == pytest.approx(0.25)  # that of the last step, in epoch 5
    assert [p.step for p in log.progress] == [7, 14, 18, 25, 32, 36, 43, 50, 54]


@pytest.mark.parametrize(("anneal", "expected"), [("both", (0.5, 0.5)), ("x", (0.5, 1e-4)), ("z", (1e-4, 0.5)), ("none", (1e-4, 1e-4))])
def test_either_std_is_annealed_alone(tiny_config, data, anneal, expected):
    model = NVISA(tiny_config)
    Trainer(model, CONFIG.replace({"epochs": 3, "eval_epochs": 3, "anneal": anneal}), data).train()
    assert (float(model.eps_x), float(model.eps_z)) == pytest.approx(expected)


def test_without_labels_there_are_no_scores(tiny_config, data):
    log = Log()
    Trainer(NVISA(tiny_config), CONFIG, dataclasses.replace(data, y=None), monitors=[log]).train()
    assert "accuracy" not in log.rows[-1]


def test_stops_on_request_and_on_time(tiny_config, data):
    log = Log()
    trainer = Trainer(NVISA(tiny_config), CONFIG, data, monitors=[log])
    log.on_progress = lambda progress: trainer.request_stop() if progress.step == 14 else None
    assert trainer.train() is StopReason.REQUESTED
    assert trainer.step == 14
    slow = Trainer(NVISA(tiny_config), CONFIG.replace({"max_minutes": 1e-9}), data)
    assert slow.train() is StopReason.TIME_LIMIT
    assert slow.step == 7


def test_diverging_training_ends_with_what_to_try(tiny_config, data):
    broken = dataclasses.replace(data, x=np.where(np.arange(6) == 2, 1e30, data.x).astype(np.float32))
    model = NVISA(tiny_config)
    before = [w.numpy() for w in model.trainable_variables]
    with pytest.raises(
        TrainingDiverged, match=r"the last 14 steps was not finite, at epoch 1\.6 of stage nvisa, eps 1, .*; try another scaling"
    ):
        Trainer(model, CONFIG.replace({"max_nonfinite_steps": 10}), broken).train()
    for a, b in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_fewer_examples_than_clusters(tiny_config, data):
    with pytest.raises(ValueError, match="2 examples for 3 clusters"):
        Trainer(NVISA(tiny_config), CONFIG, data.take(slice(0, 2)))


def test_examples_that_hardly_differ(tiny_config, data):
    """Looked for until there are as many different ones as clusters, however far behind these are."""
    few = np.repeat(data.x[:2], 1500, axis=0)
    with pytest.raises(ValueError, match="The 3,000 examples have 2 different values, for 3 clusters"):
        Trainer(NVISA(tiny_config), CONFIG, Dataset("few", few))
    with pytest.raises(ValueError, match="The 1,500 examples are all the same"):
        Trainer(NVISA(tiny_config), CONFIG, Dataset("same", few[:1500]))
    Trainer(NVISA(tiny_config), CONFIG, Dataset("enough", np.concatenate([few, data.x[2:3]])))


def test_draws_are_those_of_the_configuration_whoever_made_the_model(tiny_config, data):
    def trained(model_seed, seed):
        model = NVISA(tiny_config, seed=model_seed)
        for variable in model.trainable_variables:
            variable.assign(tf.ones_like(variable) / 10)
        Trainer(model, CONFIG.replace({"seed": seed}), data).train()
        return [w.numpy() for w in model.trainable_variables]

    first, same, other = trained(0, 3), trained(7, 3), trained(0, 4)
    assert all((a == b).all() for a, b in zip(first, same, strict=True))
    assert not all((a == b).all() for a, b in zip(first, other, strict=True))


def test_nothing_to_resume(tiny_config, data):
    with pytest.raises(ValueError, match="nothing to resume"):
        Trainer(NVISA(tiny_config), CONFIG, data).resume()


def test_unused_time_is_not_slept(tiny_config, data):
    trainer = Trainer(NVISA(tiny_config), CONFIG.replace({"epochs": 2}), data)
    started = time.monotonic()
    trainer.train()
    assert 0 < trainer.minutes <= (time.monotonic() - started) / 60


def test_images_are_changed_as_the_options_say_in_training_and_in_distillation(rng, tmp_path, monkeypatch):
    far = {"augment_rotation": 3.0, "augment_shift": 0.1, "augment_scale": 0.2, "augment_shear": 0.3, "augment_brightness": 0.4}
    config = RunConfig().replace({**far, "augment": True, "consistency_weight": 2.0, "input_shape": (4, 4), "encoder_units": (8,)})
    model = NVISA(config.model)
    compile_for_training(model, config.model, config.train, per_epoch=3)
    assert model.gradient_step.augmentation == (3.0, 0.1, 0.2, 0.3, 0.4)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.gradient_step.augmentation._asdict() == {name.removeprefix("augment_"): value for name, value in far.items()}
    assert Augmentation() == Augmentation.from_config(StepOptions())

    given = []
    monkeypatch.setattr(initialization, "augment", lambda x, seed, how, **_: given.append(how) or tf.cast(x, tf.float32))
    data = Dataset("noise", rng.uniform(size=(20, 4, 4)).astype(np.float32))
    options = config.replace({"init": "ae_gmm"}).model
    *_, distillation = initialization_stages(model, TrainingData(data, data), options, config.train)
    distillation.train_step(tf.range(20))
    assert given[0] == model.gradient_step.augmentation
