"""Stages that end early: a run that is stopped in any of them and resumed, streamed, against one that never was; and many together."""

import numpy as np
import pytest
from scipy.stats import entropy

from nvisa_tf import NVISA, Dataset, RunConfig, load_run
from nvisa_tf.data import Splits
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.models import plateau
from nvisa_tf.models.nvisa import initialization
from nvisa_tf.models.nvisa.training import NVISAStage
from nvisa_tf.models.pretraining import AutoencoderStage, held_out_part
from nvisa_tf.runs.jobs import Job, outcome
from nvisa_tf.runs.workflows import finish_run, resume_run
from nvisa_tf.training import Monitor, StopReason, Trainer, train_in_lockstep
from nvisa_tf.training.console import ConsoleMonitor

# 6 steps an epoch, a check every 50.
CONFIG = RunConfig().replace(
    {
        "input_shape": (6,), "encoder_units": (16,), "posterior_units": 16, "decoder_units": (16,), "n_clusters": 3, "latent_dim": 2,
        "n_samples": 3, "init": "ae_gmm", "init_epochs": 500, "epochs": 300, "batch_size": 50, "eval_epochs": 25.0, "eps_start": 0.25,
        "eps_floor": 0.25, "steps_per_call": 40, "checkpoint_minutes": 60.0, "eval_examples": 100, "eval_samples": 5, "stop_early": True,
        "ema_momentum": 0.9, "learning_rate": 1e-2,
    }
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _autoencoder_alone():
    """As an initialization, so that a stage that ends early comes before another that does."""

    def stages(model, data, options, train):
        length = {"epochs": options.init_epochs, "batch_size": train.batch_size, "learning_rate": 1e-2, "held_out": held_out_part(data)}
        return [AutoencoderStage(model, data.train, seed=1, shuffle_seed=2, **length)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initialization, "initialization_stages", stages)
        patch.setattr(plateau, "GAINED", 0.05)  # as blobs of six values gain for very long
        yield


@pytest.fixture(scope="module")
def data(make_blobs):
    return Dataset("blobs", *make_blobs(100))


class Told(Monitor):
    """Keeps what is told, and asks for a stop where `stop` says so."""

    def __init__(self, stop=lambda progress: False):
        self.stop, self.trainer, self.ends = stop, None, []

    def on_progress(self, progress):
        if self.stop(progress):
            self.trainer.request_stop()

    def on_stage_end(self, message):
        self.ends.append(message)
        if message.startswith("autoencoder"):
            self.initial = [weight.numpy() for weight in self.trainer.model.weights]


def trainer_of(data, run, told, config=CONFIG):
    told.trainer = Trainer(NVISA(config.model), config, data, run=run, monitors=[told])
    return told.trainer


def without_minutes(rows):
    return [{name: value for name, value in row.items() if name != "minutes"} for row in rows]


@pytest.fixture(scope="module")
def straight(data, tmp_path_factory):
    told = Told()
    trainer = trainer_of(data, RunDirectory.create(tmp_path_factory.mktemp("straight") / "run", CONFIG, {}), told)
    assert trainer.train() is StopReason.FINISHED
    return trainer, told


def test_both_stages_end_early_and_say_so(straight):
    trainer, told = straight
    autoencoder, nvisa = trainer.stages
    for stage, limit in ((autoencoder, 3_000), (nvisa, 1_800)):
        assert 400 <= int(stage.step) == stage.total_steps < stage.most_steps == limit
    assert int(nvisa.step) % 50 == 0
    assert [message.split(" of ")[0].rsplit(" ", 1)[0] for message in told.ends] == [
        "autoencoder: ended at epoch",
        "nvisa: ended at epoch",
    ]
    assert told.ends[0].endswith("% of held-out loss")
    assert "of the clusters changed in the last quarter, and the bound of a value gained" in told.ends[1]
    assert trainer.run.init()["ended_early"] == {"autoencoder": told.ends[0].removeprefix("autoencoder: ")}
    stages, metrics = trainer.run.stages(), trainer.run.metrics()
    assert int(stages[-1]["step"]) == int(autoencoder.step)
    assert float(stages[-1]["learning_rate"]) < 1e-4
    assert float(stages[-1]["held_out_loss"]) <= float(stages[0]["held_out_loss"])
    assert int(metrics[-1]["step"]) == int(nvisa.step)
    assert float(metrics[-1]["changed_clusters"]) < 0.002


def test_a_stage_that_paid_to_its_limit_says_so(data):
    told = Told()
    trainer = trainer_of(data, None, told, CONFIG.replace({"init_epochs": 20, "epochs": 3}))
    assert trainer.train() is StopReason.FINISHED
    assert told.ends == ["autoencoder: went to its limit, epoch 20", "nvisa: went to its limit, epoch 3"]


def test_stopped_before_and_in_the_cool_down_and_in_the_last_stage_streamed_it_ends_the_same(data, straight, tmp_path):
    run = RunDirectory.create(tmp_path / "run", CONFIG, {})
    stops = [
        lambda p: (p.stage, p.step) == ("autoencoder", 190),
        lambda p: p.stage == "autoencoder" and p.total_steps < 3_000 and p.step < p.total_steps,
        lambda p: (p.stage, p.step) == ("nvisa", 340),
    ]
    streamed = CONFIG.replace({"pipeline": "stream"})
    for number, stop in enumerate(stops):
        trainer = trainer_of(data, run, Told(stop), streamed)
        if number:
            trainer.resume()
        assert trainer.train() is StopReason.REQUESTED
    last = Told()
    trainer = trainer_of(data, run, last, streamed)
    assert trainer.resume() == 340
    assert trainer.train() is StopReason.FINISHED
    other, told = straight
    assert last.ends == told.ends[1:]
    for a, b in zip(other.model.weights, trainer.model.weights, strict=True):
        np.testing.assert_array_equal(b.numpy(), a.numpy(), err_msg=a.path)
    for a, b in zip(other.model.optimizer.variables, trainer.model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(b.numpy(), a.numpy(), err_msg=a.path)
    assert without_minutes(run.metrics()) == without_minutes(other.run.metrics())
    assert without_minutes(run.stages()) == without_minutes(other.run.stages())
    assert run.init()["ended_early"] == other.run.init()["ended_early"]
    # Resumed at its end it has nothing to do.
    again = trainer_of(data, run, Told(), streamed)
    assert again.resume() == again.total_steps < again.stage.most_steps
    assert again.train() is StopReason.FINISHED


def test_the_model_of_before_the_last_stage_stays_and_answers_for_the_run_as_it_was(data, straight):
    trainer, told = straight
    run = trainer.run
    finish_run(trainer, CONFIG, Splits(data, data, "blobs"))
    kept, config, before = load_run(run.path / "initialization.keras")
    for a, b in zip(told.initial, kept.weights, strict=True):
        is_eps = b.path.endswith(("eps_x", "eps_z"))  # at which it is scored: that of the last stage's first step
        np.testing.assert_array_equal(b.numpy(), CONFIG.model.eps_start if is_eps else a, err_msg=b.path)
    assert config == run.config()
    assert run.init()["model"] == "initialization.keras"
    sizes = np.bincount(kept.predict_clusters(data.x), minlength=kept.config.n_clusters)
    assert run.init()["cluster_size_entropy"] == pytest.approx(entropy(sizes), abs=1e-5)
    assert before.report() == run.init()  # and not the trained model's scores
    assert before.metrics() == []
    assert not before.reference_file.exists()
    assert not np.array_equal(load_run(run.path)[0].embed(data.x), kept.embed(data.x))
    assert "ended_early" in run.report()
    assert outcome(Job("run", 0, run.config(), run.path)).status == "done"
    with pytest.raises(ValueError, match=r"what the run began with; give .* to go on"), before.locked():
        pass
    with pytest.raises(ValueError, match=r"as it had stopped paying; epochs is a limit, so start a new run, with --init-from"):
        resume_run(run, run.config().replace({"epochs": 400}), Splits(data, data, "blobs"))
    run.initialization_file.unlink()
    with pytest.raises(ValueError, match=r"has no initialization.keras, which runs keep that train on from an initialization"):
        RunDirectory.open(run.path / "initialization.keras")


def test_random_weights_are_not_kept(data, tmp_path):
    config = CONFIG.replace({"init": "random", "epochs": 1, "stop_early": False})
    run = RunDirectory.create(tmp_path / "run", config, {})
    trainer_of(data, run, Told(), config).train()
    assert "model" not in run.init()
    assert not run.initialization_file.exists()


def test_of_those_that_go_together_each_ends_by_itself(data, monkeypatch):
    checks = {3: 2, 4: 4}
    monkeypatch.setattr(NVISAStage, "has_stopped_paying", lambda stage, found: found.count > checks[stage._seed])
    monkeypatch.setattr(
        "nvisa_tf.training.lockstep._runner", lambda trainers: lambda n: [trainer.run_steps(n) for trainer in trainers] and None
    )
    config = CONFIG.replace({"init": "random", "epochs": 60, "ema_momentum": 0.0})
    together = [Trainer(NVISA(config.model, seed=seed), config.replace({"seed": seed}), data) for seed in checks]
    assert train_in_lockstep(together) == [StopReason.FINISHED, StopReason.FINISHED]
    assert [trainer.step for trainer in together] == [100, 200]


def test_the_console_shows_the_nearer_end(capsys):
    from nvisa_tf.training import Progress

    console = ConsoleMonitor("a", bar=True)
    console.on_progress(Progress("autoencoder", 40, 3_000, 1.0, {}, 0, 1.0, 40))
    console.on_progress(Progress("autoencoder", 80, 500, 2.0, {}, 0, 2.0, 40))
    assert console._bar.total == 500
    console.close()
    console.on_stage_end("autoencoder: ended at epoch 50 of 100")
    assert capsys.readouterr().err.endswith("a: autoencoder: ended at epoch 50 of 100\n")
