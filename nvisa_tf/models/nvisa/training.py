"""NVISA's stages of training, its schedules, and what its data must be."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.config.nvisa import NVISAOptions, ScheduleOptions, StepOptions
from nvisa_tf.config.run import RunConfig, TrainConfig
from nvisa_tf.data import Dataset
from nvisa_tf.layers.augmentation import Augmentation
from nvisa_tf.layers.optimizer import FusedAdam
from nvisa_tf.layers.schedules import AnnealedLearningRate, StdAnnealing
from nvisa_tf.models import plateau
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.cluster_objective import CLUSTER_INFORMATION, held_out_information
from nvisa_tf.models.density import check_unit_interval
from nvisa_tf.models.pretraining import held_out_part
from nvisa_tf.models.stage import Stage, steps_per_epoch

if TYPE_CHECKING:
    from nvisa_tf.models.nvisa.model import NVISA

HELD_OUT = 2_000  # examples that are looked at to see whether training still pays, at most
# Checkpoints made until November 2026 have these names for the running means.
CHECKPOINT_NAMES = {"assignment_entropy": "entropy_y", "mean_assignment_entropy": "entropy_usage"}


def check_data(model: NVISA, train: Dataset) -> None:
    """Raise ValueError where a Bernoulli likelihood meets data that the model's scaling does not bring into [0, 1]."""
    if model.config.likelihood == "bernoulli":
        check_unit_interval(model, train)


def compile_for_training(model: NVISA, options: NVISAOptions, train: TrainConfig, per_epoch: int) -> None:
    """Compile `model` with the schedules and options of a run; `per_epoch` is steps an epoch."""
    schedule = StdAnnealing.from_epochs(
        max(options.eps_halving_epochs, 1 / per_epoch),
        per_epoch,
        start=options.eps_start,
        floor=options.eps_floor,
        mode=options.anneal_mode,
    )
    still = StdAnnealing.constant(options.eps_floor)
    rate = AnnealedLearningRate(
        train.learning_rate,
        halving_steps=options.lr_halving_epochs * per_epoch,
        annealing=None if options.anneal == "none" else schedule,
        eps_power=options.lr_eps_power,
        floor=options.lr_floor,
    )
    model.compile(
        FusedAdam(rate, global_clipnorm=options.clip_norm or None, use_ema=options.ema_momentum > 0, ema_momentum=options.ema_momentum),
        annealing_x=schedule if options.anneal in ("both", "x") else still,
        annealing_z=schedule if options.anneal in ("both", "z") else still,
        jit_compile=train.xla,
        **vars(options.step_options),
    )


def set_starting_eps(model: NVISA, options: ScheduleOptions) -> None:
    """Give the model eps_x and eps_z of the first step."""
    for name, eps in (("x", model.eps_x), ("z", model.eps_z)):
        eps.assign(options.eps_start if options.anneal in ("both", name) else options.eps_floor)


def stages(model: NVISA, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
    """The initialization's stages, if it is not random, and NVISA's own."""
    from nvisa_tf.models.nvisa.initialization import initialization_stages  # scikit-learn, which random weights do not need

    options = config.model
    if not isinstance(options, NVISAOptions):
        raise ValueError(f"NVISA is trained by the options of the method nvisa, and the configuration is of {config.method}.")
    before = [] if options.init == "random" else initialization_stages(model, data, options, config.train)
    held_out = held_out_part(data, HELD_OUT) if config.train.stop_early else None
    return [*before, NVISAStage(model, data.train, options, config.train, held_out)]


def answering_state(model: NVISA, options: NVISAOptions) -> tuple[dict[str, Any], Callable[[], None]]:
    """The model; where it is averaged, its optimizer too, whose averages then become the weights."""
    if not options.ema_momentum:
        return {"model": model}, lambda: None
    compile_for_training(model, options, TrainConfig(), 1)  # for an optimizer with averages
    return {"model": model, "optimizer": model.optimizer}, lambda: model.optimizer.finalize_variable_values(model.trainable_variables)


class NVISAStage(Stage):
    """Training by the objective, with std annealing: the model's `train_step` on raw examples.

    Args:
      model: it is compiled here.
      data: what to learn from.
      options: NVISA's.
      train: the run's.
      held_out: raw examples [n, *input_shape] on whose clusters and bound it ends where these have settled; None: `epochs` are its end.
    """

    metric_groups: Mapping[str, Sequence[str]] = {
        "bound": ("bound", "loss", "log_p_x", "kl_y", "kl_z", "l2", "consistency", "held_out_iw_bound"),
        "annealing": ("eps_x", "eps_z", "learning_rate"),
        "gradient": ("grad_norm", "ess", "nonfinite_steps"),
        "clusters": ("assignment_entropy", "mean_assignment_entropy", "changed_clusters", CLUSTER_INFORMATION),
    }

    def __init__(self, model: NVISA, data: Dataset, options: NVISAOptions, train: TrainConfig, held_out: np.ndarray | None = None) -> None:
        length: dict[str, Any] = {"epochs": train.epochs, "stop_early": held_out is not None}
        super().__init__("nvisa", data.x, batch_size=train.batch_size, shuffle_seed=train.seed, **length)
        self._model, self._options, self._seed, self._held_out = model, options, train.seed, held_out
        model.rng_seed.assign(train.seed)  # every draw of the run is the configuration's, whoever made the model
        compile_for_training(model, options, train, steps_per_epoch(len(data), train.batch_size))
        self.step = model.step

    def begin(self) -> None:
        """Set the eps of the first step, at which the model of before is scored, so that the bounds of both can be compared."""
        if self.total_steps:
            set_starting_eps(self._model, self._options)

    def train_step(self, batch: tf.Tensor) -> Any:
        """The model's."""
        return self._model.train_step(batch)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """The model's running means."""
        return self._model.trackers

    def values(self) -> dict[str, float | int]:
        """eps, the learning rate, and the steps skipped."""
        model = self._model
        return {
            "eps_x": float(model.eps_x.numpy()),
            "eps_z": float(model.eps_z.numpy()),
            "learning_rate": float(model.optimizer.learning_rate),
            "nonfinite_steps": int(model.skipped.numpy()),
            **({"changed_clusters": self.checks.changed_of_last_quarter()} if self.checks else {}),
        }

    def progress(self) -> dict[str, float]:
        """The bound and eps."""
        return {"bound": float(self._model.trackers["bound"].result()), "eps": float(self._model.eps_x.numpy())}

    def held_out(self, x: np.ndarray) -> dict[str, float]:
        """The importance-weighted bound; where training changes images, also what a changed image tells about the cluster."""
        found = {"held_out_iw_bound": float(self._model.score_samples(x, self._options.eval_samples, self._seed).mean())}
        if self._options.augment:
            model, augmentation = self._model, Augmentation.from_config(self._options)

            def answer(scaled: tf.Tensor) -> tf.Tensor:
                return tf.nn.log_softmax(model.q_y(model.encoder(scaled)).logits)[:, None]

            found[CLUSTER_INFORMATION] = float(held_out_information(answer, model.preprocess, x, augmentation).mean())
        return found

    def look(self, checks: plateau.Checks) -> None:
        """Keep clusters and bound of what is held out, as the model would answer if training ended here."""
        if self._held_out is None:
            raise ValueError("Nothing is held out that clusters and bound could be looked at; give held_out.")
        with self.averages_in_place():
            bound = self._model.score_samples(self._held_out, 1, self._seed).mean()
            checks.add(-bound / self._model.config.input_dim, self._model.predict_clusters(self._held_out))

    def has_stopped_paying(self, checks: plateau.Checks) -> bool:
        """Whether hardly a cluster changed in the last quarter of the steps, and the bound hardly rose."""
        return plateau.has_settled(checks.count, checks.changed_of_last_quarter(), self._gained(checks))

    def _gained(self, checks: plateau.Checks) -> float:
        """What the bound of an input value gained in the last quarter of the steps, nats."""
        return float(checks.measures[plateau.before_last_quarter(checks.count)] - checks.measures[-1])

    def reason(self, checks: plateau.Checks) -> str:
        """What hardly changed."""
        changed, gained = checks.changed_of_last_quarter(), self._gained(checks)
        return f"{changed:.1%} of the clusters changed in the last quarter, and the bound of a value gained {gained:.2g} nats"

    def nonfinite_steps(self) -> tuple[int, int]:
        """In all, and in a row at the end."""
        return int(self._model.skipped.numpy()), int(self._model.skipped_in_a_row.numpy())

    def checkpointables(self) -> dict[str, Any]:
        """The model, with its step and seed, its optimizer and its running means."""
        # A Keras metric is not trackable as such; its variables are.
        running = {CHECKPOINT_NAMES.get(name, name): [v.value for v in metric.variables] for name, metric in self._model.trackers.items()}
        found = {"checks": self.checks.checkpointables()} if self.checks else {}
        return {"model": self._model, "optimizer": self._model.optimizer, "metrics": running, **found}

    def averages_in_place(self) -> contextlib.AbstractContextManager[None]:
        """The model with the moving averages of its weights, where the options ask for them, until the end."""
        return self._model.optimizer.averages_in_place(self._model.trainable_variables)

    def keep_averages(self) -> None:
        """Make these averages, where the options ask for them, the weights for good."""
        self._model.optimizer.finalize_variable_values(self._model.trainable_variables)

    # One program for many; see `nvisa_tf.models.base.VectorizableStage`.

    def alike(self) -> tuple[Any, ...]:
        """The model's configuration, the step's options and its number."""
        return self._model.config, self._step_options, int(self.step.numpy())

    @property
    def _step_options(self) -> StepOptions:
        return self._model.gradient_step.options

    def state(self) -> list[Any]:
        """All variables that a step reads or writes."""
        model = self._model
        return list({id(v): v for v in (*model.variables, *model.optimizer.variables, *model.metrics_variables)}.values())

    def noise(self, n_examples: int, step: tf.Tensor) -> Any:
        """The random numbers of a step."""
        return self._model.gradient_step.noise(n_examples, tf.convert_to_tensor(self._model.rng_seed), step)

    def step_on(self, batch: tf.Tensor, noise: Any, select: bool) -> None:
        """A step with given random numbers."""
        self._model.gradient_step.apply(batch, noise, select)
