"""A model whose clusters are groups of another model's clusters.

q(group|x) is the sum of q(y|x) over the group. Embedding, reconstruction and density are those of the other model, which is inside.

Shapes: n examples, B of a batch, K clusters, G groups.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import norm

from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Dataset
from nvisa_tf.layers.networks import DTYPE
from nvisa_tf.models.base import ClusteringModel, ExportSignature, TrainingData, TrainingStage

NOT_TRAINED = "A model of merged clusters is not trained; train the run that it was made from, and merge again."


def merged(model: ClusteringModel, groups: Sequence[Sequence[int]], weights: Sequence[float]) -> MergedClusters:
    """A model with groups of another one's clusters; where that has groups already, of the clusters in these. As `MergedClusters`."""
    if not isinstance(model, MergedClusters):
        return MergedClusters(model, groups, weights)
    return MergedClusters(
        model.base, [[k for group in joined for k in model.groups[group]] for joined in groups], model.weights_of_clusters
    )


@keras.saving.register_keras_serializable(package="nvisa_tf")
class MergedClusters(keras.Model):
    """Groups of a model's clusters, behind the protocol of any clustering model.

    Args:
      base: the model, of one partition.
      groups: the numbers of the base's clusters in each group, every cluster in one of them.
      weights: how large the base's clusters are, [K]; a draw from a group takes its clusters in these proportions.

    Raises:
      ValueError: groups that leave a cluster out or have it twice, fewer than two of them, weights of another number, or a base of
        several partitions.
    """

    def __init__(self, base: ClusteringModel, groups: Sequence[Sequence[int]], weights: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": DTYPE})
        n_clusters = base.config.n_clusters
        if sorted(k for group in groups for k in group) != list(range(n_clusters)) or not all(groups):
            raise ValueError(f"The groups are {[list(group) for group in groups]}; each of the {n_clusters} clusters must be in one.")
        if len(groups) < 2:
            raise ValueError("All clusters are in one group; leave two groups or more.")
        if len(weights) != n_clusters or min(weights) < 0:
            raise ValueError(f"The weights are {list(weights)}; they must be {n_clusters} numbers, none below 0.")
        if base.n_facets > 1:
            raise ValueError(f"The model has {base.n_facets} partitions of the data, and clusters of a single one can be merged.")
        self.base: Any = base
        self.groups = [sorted(int(k) for k in group) for group in groups]
        self.weights_of_clusters = [float(weight) for weight in weights]
        self.config = dataclasses.replace(base.config, n_clusters=len(groups))
        self.capabilities = base.capabilities
        self._membership = np.zeros((n_clusters, len(groups)), np.float32)
        for number, group in enumerate(self.groups):
            self._membership[group, number] = 1
        self.built = True

    @property
    def n_facets(self) -> int:
        """One partition."""
        return 1

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """q(group|x) of raw examples, [B, G]."""
        return self.base.signatures()["cluster"].function(x)["probabilities"] @ tf.constant(self._membership)

    # What the groups change.

    def predict_proba(self, x: Any, facet: int = 0) -> np.ndarray:
        """q(group|x), float32 [n, G]; errors as the base's."""
        return self.base.predict_proba(x, facet) @ self._membership

    def predict_clusters(self, x: Any, facet: int = 0) -> np.ndarray:
        """The likeliest group, int64 [n]; errors as the base's."""
        return self.predict_proba(x, facet).argmax(1)

    def sample_prior(self, n: int, cluster: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Groups int32 [n] and latent points float32 [n, D]; `cluster`: of this group alone. Errors as the base's."""
        if cluster is None:
            y, z = self.base.sample_prior(n, None, seed)
            return self._membership.argmax(1)[y].astype(np.int32), z
        z = self._of_group(n, cluster, lambda count, k: self.base.sample_prior(count, k, seed)[1], seed)
        return np.full(n, cluster, np.int32), z

    def generate(self, n: int, cluster: int | None = None, seed: int = 0) -> np.ndarray:
        """n examples, or of one group, in the data's units, float32 [n, *input_shape]; errors as the base's."""
        if cluster is None:
            return self.base.generate(n, None, seed)
        return self._of_group(n, cluster, lambda count, k: self.base.generate(count, k, seed), seed)

    def _of_group(self, n: int, group: int, draw: Callable[[int, int], np.ndarray], seed: int) -> np.ndarray:
        """n draws of a group, each of one of its clusters, by its weight."""
        if not 0 <= group < len(self.groups):
            raise ValueError(f"cluster is {group}; the clusters are 0 to {len(self.groups) - 1}.")
        members = self.groups[group]
        chosen = np.random.default_rng(seed).choice(len(members), max(n, 1), p=self._shares(group))
        drawn = {i: draw(int((chosen == i).sum()), members[i]) if n > 0 else draw(n, members[i]) for i in np.unique(chosen)}
        found = np.empty((n, *next(iter(drawn.values())).shape[1:]), np.float32)
        for i, values in drawn.items():
            found[chosen == i] = values
        return found

    def _shares(self, group: int) -> np.ndarray:
        weights = np.array([self.weights_of_clusters[k] for k in self.groups[group]])
        return weights / weights.sum() if weights.sum() else np.full(len(weights), 1 / len(weights))

    def signatures(self) -> dict[str, ExportSignature]:
        """The base's, with groups in place of clusters; of "generate" the noise is one number longer, which chooses a cluster."""
        found = dict(self.base.signatures())
        cluster = found["cluster"]

        def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
            probabilities = cluster.function(image)["probabilities"] @ tf.constant(self._membership)
            return {"cluster": tf.argmax(probabilities, -1, output_type=tf.int32), "probabilities": probabilities}

        found["cluster"] = cluster._replace(function=answer)
        if "generate" in found:
            found["generate"] = self._generating(found["generate"])
        return found

    def _generating(self, base: ExportSignature) -> ExportSignature:
        most = max(map(len, self.groups))
        members = np.array([[*group, *[group[-1]] * (most - len(group))] for group in self.groups], np.int32)
        # Above which values of a standard normal a later cluster is taken; Inf is none, and no file's arithmetic likes it.
        limits = np.full((len(self.groups), most), 100.0, np.float32)
        for number, group in enumerate(self.groups):
            limits[number, : len(group) - 1] = np.clip(norm.ppf(np.cumsum(self._shares(number))[:-1]), -100, 100)
        ((length,), dtype) = base.inputs["noise"]

        def generate(cluster: tf.Tensor, noise: tf.Tensor) -> dict[str, tf.Tensor]:
            above = tf.cast(noise[:, -1:] > tf.gather(tf.constant(limits), cluster), tf.int32)
            place = cluster * most + tf.reduce_sum(above, 1)
            return base.function(tf.gather(tf.constant(members.ravel()), place), noise[:, :-1])

        return base._replace(function=generate, inputs={**base.inputs, "noise": ((length + 1,), dtype)})

    # What they do not.

    def embed(self, x: Any) -> np.ndarray:
        """The base's embedding, float32 [n, D]."""
        return self.base.embed(x)

    def reconstruct(self, x: Any) -> np.ndarray:
        """The base's reconstructions, float32 [n, *input_shape]."""
        return self.base.reconstruct(x)

    def score_samples(self, x: Any, n_samples: int | None = None, seed: int = 0, *, return_std: bool = False) -> Any:
        """The base's bound of log p(x), which no grouping of clusters changes, nats, float64 [n]."""
        return self.base.score_samples(x, n_samples, seed, return_std=return_std)

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Raw examples on the model's scale, of the same shape."""
        return self.base.scaled(x)

    def on_scale(self, x: tf.Tensor) -> tf.Tensor:
        """`scaled` in a graph, [B, d]."""
        return self.base.on_scale(x)

    def set_preprocessing(self, scale: Any, shift: Any = 0.0) -> None:
        """Make the base see x * scale + shift."""
        self.base.set_preprocessing(scale, shift)

    def report_metrics(self) -> dict[str, float | int]:
        """The base's."""
        return self.base.report_metrics()

    # Training, of which there is none.

    def check_data(self, train: Dataset, options: Any) -> None:
        """Always raise ValueError."""
        raise ValueError(NOT_TRAINED)

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """Always raise ValueError."""
        raise ValueError(NOT_TRAINED)

    def answering_state(self, options: Any) -> tuple[dict[str, Any], Callable[[], None]]:
        """Always raise ValueError."""
        raise ValueError(NOT_TRAINED)

    def take_weights(self, other: Any, source: str) -> None:
        """Always raise ValueError."""
        raise ValueError(NOT_TRAINED)

    def take_autoencoder(self, other: Any, source: str) -> None:
        """Always raise ValueError."""
        raise ValueError(NOT_TRAINED)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values, the base serialized."""
        base = keras.saving.serialize_keras_object(self.base)
        return {**super().get_config(), "base": base, "groups": self.groups, "weights": self.weights_of_clusters}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The inverse of `get_config`."""
        return cls(**{**config, "base": keras.saving.deserialize_keras_object(config["base"], safe_mode=True)})
