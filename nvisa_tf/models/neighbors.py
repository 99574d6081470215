"""TEMI, and the mutual information of neighbours: clusters of given features by linear heads on their principal components.

Shapes: B examples, D components, K clusters, d values of an example.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from nvisa_tf.config.neighbors import NeighborInformationOptions, NeighborOptions, TEMIOptions
from nvisa_tf.config.run import RunConfig
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.keras_model import ClusteringNetwork
from nvisa_tf.models.neighbor_heads import LinearClusters, NeighborStage
from nvisa_tf.models.neighbor_objective import TEMI, NeighborInformation, NeighborObjective
from nvisa_tf.models.stage import derived_seed


class NeighborNetwork(ClusteringNetwork):
    """Principal components and one linear head. Calling the model gives q(y|x), [B, n_clusters], of raw examples.

    A subclass names its options' class and its objective.

    Args:
      config: an instance of `options_class` (or its dict form) with `input_shape` set.
      seed: of the head's weights until training finds others.

    Raises:
      ValueError: `input_shape` is empty.
    """

    capabilities = frozenset({"embed"})
    options_class: ClassVar[type[NeighborOptions]]
    config: NeighborOptions

    def __init__(self, config: NeighborOptions | dict[str, Any], seed: int = 0, **kwargs: Any) -> None:
        config = config if isinstance(config, NeighborOptions) else self.options_class(**config)
        super().__init__(config, **kwargs)
        self.config, self.seed = config, seed
        self.clusters = LinearClusters(seed, config.input_dim, config.n_components, config.n_clusters)
        self.projection, self.cluster_head = self.clusters.projection, self.clusters.head
        self.build()

    def objective(self, options: Any) -> NeighborObjective:
        """What the heads are trained by."""
        raise NotImplementedError

    def build(self, input_shape: Any = None) -> None:
        """Make the scaling's weights; the others are there."""
        if not hasattr(self, "input_scale"):
            self.add_input_scaling()
            self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """q(y|x), [B, K]."""
        return self.clusters.probabilities(self.preprocess(x))

    def embedding(self, x: tf.Tensor) -> tf.Tensor:
        """The principal components of each raw example, [B, D]."""
        return self.projection(self.preprocess(x))

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """The heads."""
        options, train = self.options_of(config), config.train
        stage = NeighborStage(
            config.method,
            self.preprocess,
            self.clusters,
            data,
            objective=self.objective(options),
            n_heads=options.n_heads,
            n_neighbors=options.n_neighbors,
            by_direction=options.unit_length,
            seeds=[derived_seed(train.seed, use) for use in (2, 3, 4, 5)],
            begun=bool(train.init_from),
            keep={"model": self},
            batch_size=train.batch_size,
            epochs=train.epochs,
            learning_rate=train.learning_rate,
            xla=train.xla,
        )
        return [stage]

    def reconstruct(self, x: Any, batch_size: int = 1000) -> Any:
        """Not with linear heads.

        Raises:
          ValueError: always.
        """
        raise ValueError(f"{type(self).__name__} has no decoder, so it cannot give examples back.")

    def sample_prior(self, n: int, cluster: int | None = None, seed: int = 0) -> Any:
        """Not with linear heads.

        Raises:
          ValueError: always.
        """
        raise ValueError(f"{type(self).__name__} has no prior, so it cannot make examples.")

    def networks(self) -> list[Any]:
        """Components and head."""
        return [self.projection, self.cluster_head]

    def take_prior(self, other: Any) -> None:
        """There is none."""

    def shapes_of_weights(self) -> dict[str, Any]:
        """The options that the layers' shapes, and the meaning of what they take, depend on."""
        return {name: getattr(self.config, name) for name in ("n_clusters", "input_shape", "latent_dim", "unit_length")}


@keras.saving.register_keras_serializable(package="nvisa_tf")
class TEMINetwork(NeighborNetwork):
    """Trained by TEMI's loss, `nvisa_tf.models.neighbor_objective.TEMI`; arguments and errors as `NeighborNetwork`."""

    options_class = TEMIOptions

    def objective(self, options: Any) -> NeighborObjective:
        """TEMI's."""
        return TEMI(options.n_heads, options.n_clusters, options.temi_beta, options.teacher_momentum)


@keras.saving.register_keras_serializable(package="nvisa_tf")
class NeighborInformationNetwork(NeighborNetwork):
    """Trained by the mutual information of neighbours' clusters, `nvisa_tf.models.neighbor_objective.NeighborInformation`; as above."""

    options_class = NeighborInformationOptions

    def objective(self, options: Any) -> NeighborObjective:
        """IIC's, of neighbours."""
        return NeighborInformation(options.n_heads, options.n_clusters, options.balance_exponent)
