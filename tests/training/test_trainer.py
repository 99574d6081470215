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
    TrainConfig,
    Trainer,
    TrainingDiverged,
    clustering_accuracy,
    input_scaling,
)
from nvisa_tf.training import compile_for_training, initialization, learners
from nvisa_tf.training.initialization import Course

CONFIG = TrainConfig(epochs=6, batch_size=32, n_samples=3, eps_halving_epochs=2, eval_epochs=2, eval_samples=5, steps_per_call=7)


class Log(Monitor):
    def __init__(self):
        self.progress, self.rows, self.messages = [], [], []

    def on_progress(self, progress):
        self.progress.append(progress)

    def on_evaluation(self, row, model):
        self.rows.append(row)

    def on_message(self, message):
        self.messages.append(message)


@pytest.fixture
def data(blobs):
    return Dataset("blobs", *blobs)


def test_clusters_the_blobs(tiny_config, data):
    model = NVISA(tiny_config, seed=0)
    model.set_preprocessing(*input_scaling(data))
    config = dataclasses.replace(
        CONFIG,
        epochs=120,
        learning_rate=3e-3,
        eps_halving_epochs=30,
        anneal_mode="geometric",
        eval_epochs=60,
        n_samples=5,
        steps_per_call=100,
    )
    log = Log()
    assert Trainer(model, config, data, monitors=[log]).train() == ""
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
    assert {"kl_y", "kl_z", "log_p_x", "ess", "grad_norm", "test_bound", "learning_rate", "used_clusters", "nmi", "ari"} <= set(row)
    assert row["loss"] == pytest.approx(row["l2"] - row["bound"], abs=1e-4)
    assert 1 <= row["ess"] <= 3
    assert row["eps_x"] == pytest.approx(0.25)  # that of the last step, in epoch 5
    assert [p.step for p in log.progress] == [7, 14, 18, 25, 32, 36, 43, 50, 54]


@pytest.mark.parametrize(("anneal", "expected"), [("both", (0.5, 0.5)), ("x", (0.5, 1e-4)), ("z", (1e-4, 0.5)), ("none", (1e-4, 1e-4))])
def test_either_std_is_annealed_alone(tiny_config, data, anneal, expected):
    model = NVISA(tiny_config)
    Trainer(model, dataclasses.replace(CONFIG, epochs=3, eval_epochs=3, anneal=anneal), data).train()
    assert (float(model.eps_x), float(model.eps_z)) == pytest.approx(expected)


def test_without_labels_there_are_no_scores(tiny_config, data):
    log = Log()
    Trainer(NVISA(tiny_config), CONFIG, dataclasses.replace(data, y=None), monitors=[log]).train()
    assert "accuracy" not in log.rows[-1]


def test_stops_on_request_and_on_time(tiny_config, data):
    log = Log()
    trainer = Trainer(NVISA(tiny_config), CONFIG, data, monitors=[log])
    log.on_progress = lambda progress: trainer.request_stop("because") if progress.step == 14 else None
    assert trainer.train() == "because"
    assert trainer.step == 14
    slow = Trainer(NVISA(tiny_config), dataclasses.replace(CONFIG, max_minutes=1e-9), data)
    assert "minutes was reached" in slow.train()
    assert slow.step == 7


def test_diverging_training_ends_with_what_to_try(tiny_config, data):
    broken = dataclasses.replace(data, x=np.where(np.arange(6) == 2, 1e30, data.x).astype(np.float32))
    model = NVISA(tiny_config)
    before = [w.numpy() for w in model.trainable_variables]
    with pytest.raises(TrainingDiverged, match=r"last 14 steps .* epoch 1\.6, eps 1, learning rate 0\.001; try slower annealing"):
        Trainer(model, dataclasses.replace(CONFIG, max_skipped=10), broken).train()
    for a, b in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_fewer_examples_than_clusters(tiny_config, data):
    with pytest.raises(ValueError, match="2 examples for 3 clusters"):
        Trainer(NVISA(tiny_config), CONFIG, data.take(slice(0, 2)))


def test_draws_are_those_of_the_configuration_whoever_made_the_model(tiny_config, data):
    def trained(model_seed, seed):
        model = NVISA(tiny_config, seed=model_seed)
        for variable in model.trainable_variables:
            variable.assign(tf.ones_like(variable) / 10)
        Trainer(model, dataclasses.replace(CONFIG, seed=seed), data).train()
        return [w.numpy() for w in model.trainable_variables]

    first, same, other = trained(0, 3), trained(7, 3), trained(0, 4)
    assert all((a == b).all() for a, b in zip(first, same, strict=True))
    assert not all((a == b).all() for a, b in zip(first, other, strict=True))


def test_nothing_to_resume(tiny_config, data):
    with pytest.raises(ValueError, match="nothing to resume"):
        Trainer(NVISA(tiny_config), CONFIG, data).resume()


def test_unused_time_is_not_slept(tiny_config, data):
    trainer = Trainer(NVISA(tiny_config), dataclasses.replace(CONFIG, epochs=2), data)
    started = time.monotonic()
    trainer.train()
    assert 0 < trainer.minutes <= (time.monotonic() - started) / 60


def test_images_are_changed_as_the_options_say_in_training_and_in_what_teaches(tmp_path, monkeypatch):
    far = {"augment_rotation": 3.0, "augment_shift": 0.1, "augment_scale": 0.2, "augment_shear": 0.3, "augment_brightness": 0.4}
    config = RunConfig().replace({**far, "augment": True, "consistency": 2.0, "input_shape": (4, 4), "encoder_units": (8,)})
    model = NVISA(config.model)
    compile_for_training(model, config.train, per_epoch=3)
    assert model._step_options.augmentation == (3.0, 0.1, 0.2, 0.3, 0.4)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again._step_options.augmentation._asdict() == {name.removeprefix("augment_"): value for name, value in far.items()}
    assert Augmentation() == Augmentation.from_config(TrainConfig())

    given = []
    monkeypatch.setattr(learners, "augment", lambda x, seed, how: given.append(how) or tf.cast(x, tf.float32))
    data = Dataset("noise", np.random.default_rng(0).uniform(size=(20, 4, 4)).astype(np.float32))
    soft, codes = np.full((20, 10), 0.1), np.zeros((20, 10))
    assert initialization.teach(model, data, soft, codes, Course(config.train))
    assert given[0] == model._step_options.augmentation
