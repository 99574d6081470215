"""The two protocols of the package: what a clustering model is, and what a stage of its training is.

The trainer, run directories, TensorBoard, reports, commands, the estimator, restarts and export know these and no model's class.

Shapes: n examples, B of a batch, K clusters, D dimensions of the embedding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.config.networks import ModelConfig
from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Array, Dataset


class TrainingData(NamedTuple):
    """What a model's stages are made from.

    Attributes:
      train: what to learn from; its labels are not looked at.
      test: what is held out, or the same; its labels, where there are any, score and do nothing else.
      tell: is told in a sentence what goes on between the steps.
    """

    train: Dataset
    test: Dataset
    tell: Callable[[str], None] = lambda message: None


@runtime_checkable
class TrainingStage(Protocol):
    """A part of training that the trainer drives, checkpoints and resumes; a model has one or several, one after another.

    `nvisa_tf.models.stage.Stage` has what most of them share.

    Attributes:
      name: a word for the folder of its checkpoints and for people, such as "autoencoder".
      step: steps done, an int64 variable among the checkpointables.
      total_steps: where it ends, as far as is known: a check may bring the end nearer; 0: there is nothing to train, only to compute in
        `begin`.
      most_steps: where it ends at the latest.
      stretch: how many times as long as its epochs that is, where these have too few steps; evaluations are as much farther apart.
      check_steps: how many steps lie between two calls of `check`, the first of which comes before the first step; 0: it is never called.
      batch_size: examples a step.
      x: what batches are taken from, [n, ...].
      shuffle_seed: of the order of the examples; epoch e has the permutation of (shuffle_seed, e).
      refresh_steps: how many steps lie between two calls of `refresh`; 0: it is never called.
      metric_groups: the names in `metrics`, `values` and `held_out` by their group in TensorBoard.
      report: plain values for the run's report, as far as they are known.
    """

    name: str
    step: tf.Variable
    most_steps: int
    stretch: float
    batch_size: int
    x: Array
    shuffle_seed: int
    refresh_steps: int
    metric_groups: Mapping[str, Sequence[str]]
    report: dict[str, Any]

    @property
    def total_steps(self) -> int:
        """See above."""
        ...

    @property
    def check_steps(self) -> int:
        """See above."""
        ...

    def begin(self) -> None:
        """Compute what the first step needs from what earlier stages left; not called on a stage that a checkpoint brought back.

        Raises:
          ValueError: the data, or what earlier stages left, cannot be used.
        """
        ...

    def train_step(self, batch: tf.Tensor) -> Any:
        """One gradient step on a batch of `x`, [B, ...]; every draw derives from the seed and `step`. It runs in a `tf.function`."""
        ...

    def refresh(self) -> None:
        """What is computed from all data every `refresh_steps` steps, such as targets, a mixture or a tree's structure."""
        ...

    def check(self) -> None:
        """Look whether the stage still pays, every `check_steps` steps, and end it soon where it does not."""
        ...

    def why_ended(self) -> str:
        """Why it ends before `most_steps`, in a clause, "" where it does not."""
        ...

    def finish(self) -> None:
        """What is computed once after the last step."""
        ...

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """Running values since the last reset, by name."""
        ...

    def values(self) -> dict[str, float | int]:
        """What is so at present and cheap to ask, by name, such as the learning rate."""
        ...

    def progress(self) -> dict[str, float]:
        """The two or three numbers of `metrics` and `values` that a person wants to see after every call."""
        ...

    def held_out(self, x: np.ndarray) -> dict[str, float]:
        """Scores on raw held-out examples [n, *input_shape] that need no labels, by name."""
        ...

    def nonfinite_steps(self) -> tuple[int, int]:
        """Steps whose loss or gradient was not finite, and which changed no weight: in all, and in a row at the end."""
        ...

    def checkpointables(self) -> dict[str, Any]:
        """Everything that a checkpoint must hold for the stage, and those after it, to go on exactly: trackable objects by name."""
        ...

    def averages_in_place(self) -> contextlib.AbstractContextManager[None]:
        """The model with the moving averages of its weights, where there are any, until the end."""
        ...

    def keep_averages(self) -> None:
        """Make these averages, where there are any, the weights for good."""
        ...


@runtime_checkable
class VectorizableStage(Protocol):
    """What a stage has beside if many of its kind can be trained in one program by `nvisa_tf.training.vectorized`."""

    def alike(self) -> Any:
        """A value that is equal for stages that can share a program, whose seeds and weights may differ."""
        ...

    def state(self) -> list[Any]:
        """All variables that a step reads or writes."""
        ...

    def noise(self, n_examples: int, step: tf.Tensor) -> Any:
        """The random numbers of a step, nested tensors or None."""
        ...

    def step_on(self, batch: tf.Tensor, noise: Any, select: bool) -> None:
        """`train_step` with given random numbers; `select`: choose between old and new values instead of branching."""
        ...


class ExportSignature(NamedTuple):
    """A function that exported files offer.

    Attributes:
      function: of tensors by position, as `inputs` names them, to a dictionary of tensors by name.
      inputs: the shape of each without the first axis, which is any number, and its dtype; "example": that of the data's raw examples.
      generates: whether it draws examples, rather than answering for given ones.
    """

    function: Callable[..., dict[str, tf.Tensor]]
    inputs: Mapping[str, tuple[tuple[int, ...], str]]
    generates: bool = False


@runtime_checkable
class ClusteringModel(Protocol):
    """A model that puts examples into clusters. Inputs `x` are raw examples [n, *input_shape]; scaling is inside.

    Every method that takes `x` raises ValueError where the shape is another one or a value is not finite.

    Attributes:
      config: its networks' configuration, with `input_shape` and `n_clusters`.
      capabilities: which of "embed", "reconstruct", "generate" and "density" it has; the methods of the others raise.
    """

    config: Any
    capabilities: frozenset[str]

    @property
    def n_facets(self) -> int:
        """How many partitions of the data it has; training may change it."""
        ...

    def check_data(self, train: Dataset, options: Any) -> None:
        """Raise ValueError where the training data do not suit the model or its options."""
        ...

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """The parts of training, in order. Cheap: what takes time is for `TrainingStage.begin`."""
        ...

    def answering_state(self, options: Any) -> tuple[dict[str, Any], Callable[[], None]]:
        """What of the last stage's checkpoint the model needs to answer, by name, and what to call once it is restored."""
        ...

    def take_weights(self, other: Any, source: str) -> None:
        """Begin with the weights and the input scaling of another model of the method, which is from `source`, for a person.

        Raises:
          ValueError: the two differ in an option that the weights depend on; nothing is changed.
        """
        ...

    def take_autoencoder(self, other: Any, source: str) -> None:
        """Begin with the autoencoder and the input scaling of a model of any method; arguments and errors as `take_weights`."""
        ...

    def set_preprocessing(self, scale: Any, shift: Any = 0.0) -> None:
        """Make the model see x * scale + shift. Both broadcast to [input_dim], x flattened."""
        ...

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Raw examples [n, *input_shape] on the model's scale, of the same shape."""
        ...

    def on_scale(self, x: tf.Tensor) -> tf.Tensor:
        """`scaled` in a graph, of operators that LiteRT has: [B, *input_shape] raw -> [B, d] float32."""
        ...

    def predict_proba(self, x: Any, facet: int = 0) -> np.ndarray:
        """The probability of each cluster, float32 [n, K]."""
        ...

    def predict_clusters(self, x: Any, facet: int = 0) -> np.ndarray:
        """The likeliest cluster, int64 [n]."""
        ...

    def embed(self, x: Any) -> np.ndarray:
        """Where examples lie in the latent space, float32 [n, D]."""
        ...

    def reconstruct(self, x: Any) -> np.ndarray:
        """What the decoder makes of the embedding, in the data's units, float32 [n, *input_shape]."""
        ...

    def generate(self, n: int, cluster: int | None = None, seed: int = 0) -> np.ndarray:
        """n draws from the model, or from one of its clusters, in the data's units, float32 [n, *input_shape]."""
        ...

    def sample_prior(self, n: int, cluster: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The clusters int32 [n] and the latent points float32 [n, D] that `generate` decodes."""
        ...

    def score_samples(self, x: Any, n_samples: int | None = None, seed: int = 0, *, return_std: bool = False) -> Any:
        """A lower bound of log p(x), nats, float64 [n]; with `return_std` a pair of that and its standard error, nats, float64 [n].

        It depends on an example's own values and the seed, and neither on its place nor on its neighbours. `n_samples`: draws an
        example; None: as many as a small standard error takes, within limits.
        """
        ...

    def signatures(self) -> dict[str, ExportSignature]:
        """The functions that exported files offer; "cluster" is always among them."""
        ...

    def report_metrics(self) -> dict[str, float | int]:
        """What of its present state belongs into a report, plain values."""
        ...

    def save(self, path: Any) -> None:
        """Write a .keras file."""
        ...


def check_n_clusters(config: ModelConfig, train: Dataset) -> None:
    """Raise ValueError where there are fewer examples than clusters, or fewer that differ."""
    count = config.n_clusters
    if len(train) < count:
        there = "is 1 example" if len(train) == 1 else f"are {len(train)} examples"
        raise ValueError(f"There {there} for {count} clusters; use more examples or fewer clusters.")
    different: set[bytes] = set()
    for _, x in train.chunks():
        for example in x:  # of most data few are looked at
            different.add(example.tobytes())
            if len(different) == count:
                return
    what = "are all the same" if len(different) == 1 else f"have {len(different)} different values"
    raise ValueError(f"The {len(train):,} examples {what}, for {count} clusters; use other examples or fewer clusters.")
