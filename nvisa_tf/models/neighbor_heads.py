"""Linear heads on principal components, trained so that each answers alike for neighbours; the one that tells the most answers.

Such heads are the usual way to cluster features of a pretrained network (Van Gansbeke et al., ECCV 2020, arXiv 2005.12320; Adaloglou et
al., BMVC 2023, arXiv 2303.17896). Many are trained beside each other, as each ends in another local optimum. No label is looked at but for
scores.

Shapes: n examples, B of a batch, d values of one, D components, H heads, K clusters.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from nvisa_tf.clustering.metrics import clustering_scores
from nvisa_tf.clustering.mixtures import spread_part, spread_rows
from nvisa_tf.clustering.neighbors import nearest_neighbors, principal_components
from nvisa_tf.data import Dataset
from nvisa_tf.data.dataset import of_unit_length
from nvisa_tf.layers.graphs import graph_of
from nvisa_tf.layers.networks import DTYPE, LayerFactory
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.keras_model import encode_all, weights_of
from nvisa_tf.models.neighbor_objective import NeighborObjective, mutual_information, symmetric_joint
from nvisa_tf.models.stage import AdamStage, derived_seed, steps_per_epoch

MAX_EXAMPLES = 60_000  # that are learned from, as the time of all pairs grows with their square
MAX_VALUES = 150_000_000  # of them, 600 MB: of long examples, as images, fewer are learned from
LEAST_STEPS = 1_000  # where there are epochs at all, and few examples make them short
CLUSTERED = 5_000  # examples among which each head's first clusters are looked for
JUDGED_PAIRS = 60_000  # of an example and a neighbour, by which heads are compared
JUDGED_VALUES = 4_000_000  # of probabilities at once, where they are
NEIGHBOR_INFORMATION = "neighbor_information"


class LinearClusters:
    """An affine map to codes and one from codes to the logits of clusters, as two Keras layers.

    Args:
      seed: of the second one's weights until there are others; the first one's are 0.
      input_dim, latent_dim, n_clusters: d, D and K.
    """

    def __init__(self, seed: int, input_dim: int, latent_dim: int, n_clusters: int) -> None:
        self.projection = keras.layers.Dense(latent_dim, dtype=DTYPE, kernel_initializer="zeros", name="projection", trainable=False)
        self.head = LayerFactory(seed, 0.0).dense(n_clusters, "cluster_head")
        self.projection.build((None, input_dim))
        self.head.build((None, latent_dim))

    def probabilities(self, scaled: tf.Tensor) -> tf.Tensor:
        """p(y|x), [B, K], of examples on the model's scale, [B, d]."""
        return tf.nn.softmax(self.head(self.projection(scaled)))

    def checkpointables(self) -> dict[str, Any]:
        """Both layers by name."""
        return {"projection": self.projection, "head": self.head}


class NeighborStage(AdamStage):
    """Finds components and neighbours, trains the heads, and gives the best one's weights to `clusters`.

    Every head begins with the clusters of a k-means of its own, in a random part of the codes. Which head is best is decided
    by the mutual information of the clusters of an example and a neighbour. That is looked up before the first step and once an epoch, or
    more seldom where few examples make it short, so that `clusters` always answers.

    Args:
      name: of the stage.
      preprocess: from raw examples [B, *input_shape] to the scale that `clusters` takes, [B, d].
      clusters: what is to answer.
      data: what is learned from, and what is scored.
      objective: of the pairs.
      n_heads, n_neighbors: H, and how many neighbours an example has at most; at most a quarter of a cluster of average size.
      by_direction: whether neighbours and first clusters are by direction from the mean alone, as suits features; else by distance.
      seeds: of the part that is learned from, of what is looked for in it, of the order, and of the draws of neighbours.
      begun: whether `clusters` holds weights already, which the first head then begins with.
      keep: what later stages need of earlier ones, trackable objects by name; it is checkpointed too.
      **stage: batch_size, epochs, learning_rate and xla, as for `AdamStage`.
    """

    metric_groups: Mapping[str, Sequence[str]] = {**AdamStage.metric_groups, "clusters": (NEIGHBOR_INFORMATION,)}

    def __init__(
        self,
        name: str,
        preprocess: Callable[[tf.Tensor], tf.Tensor],
        clusters: LinearClusters,
        data: TrainingData,
        *,
        objective: NeighborObjective,
        n_heads: int,
        n_neighbors: int,
        by_direction: bool,
        seeds: Sequence[int],
        begun: bool = False,
        keep: Mapping[str, Any] | None = None,
        **stage: Any,
    ) -> None:
        self._preprocess, self.clusters, self._data, self.objective = preprocess, clusters, data, objective
        self.n_heads, self._by_direction, self._begun, self._keep = n_heads, by_direction, begun, dict(keep or {})
        part_seed, self._find_seed, shuffle_seed, seed = seeds
        latent_dim, self._n_clusters = clusters.head.kernel.shape
        most = min(MAX_EXAMPLES, max(2 * self._n_clusters, MAX_VALUES // clusters.projection.kernel.shape[0]))
        self._part = spread_part(data.train, most, part_seed)
        n = len(self._part)
        self._n_neighbors = max(1, min(n_neighbors, n // (4 * self._n_clusters)))
        self._heads, self._teacher = (self._all_heads(latent_dim, name) for name in ("heads", "teacher"))
        least_steps = LEAST_STEPS if stage["epochs"] else 0
        rows = np.arange(n, dtype=np.int32)
        super().__init__(name, rows, weights_of(self._heads), seed=seed, shuffle_seed=shuffle_seed, least_steps=least_steps, **stage)
        self.refresh_steps = round(steps_per_epoch(n, self.batch_size) * self.stretch) if self.most_steps else 0
        self._information = tf.Variable(math.nan, trainable=False)  # of the best head, when that was last looked up
        self._joint = graph_of(self._joint_of, reduce_retracing=True, autograph=False)

    def _all_heads(self, latent_dim: int, name: str) -> keras.layers.Dense:
        layer = keras.layers.Dense(self.n_heads * self._n_clusters, dtype=DTYPE, kernel_initializer="zeros", name=name)
        layer.build((None, latent_dim))
        return layer

    # Made when they are first needed, which in a run that is past this stage is never; init_scope, as that may be within a graph.

    @functools.cached_property
    def codes(self) -> tf.Variable:
        """What the heads see, [n, D]."""
        with tf.init_scope():
            return tf.Variable(encode_all(lambda x: self.clusters.projection(self._preprocess(x)), self._part), trainable=False)

    @functools.cached_property
    def neighbors(self) -> tf.Variable:
        """The numbers of each example's neighbours, [n, n_neighbors]."""
        with tf.init_scope():
            return tf.Variable(tf.zeros([len(self._part), self._n_neighbors], tf.int32), trainable=False)

    def begin(self) -> None:
        """Find components, neighbours and each head's first clusters; nothing where there is nothing to train.

        Raises:
          ValueError: all examples are the same.
        """
        if not self.most_steps:
            return
        n, projection, head = len(self._part), self.clusters.projection, self.clusters.head
        if not self._begun:
            self._data.tell(f"principal components of {n:,} examples")
            found = principal_components(encode_all(self._preprocess, self._part), projection.units, self._find_seed)
            projection.set_weights([found.kernel, found.bias])
        self._data.tell(f"{self._n_neighbors} nearest neighbours of each of {n:,} examples")
        codes = self.codes.numpy()
        if self._by_direction:
            codes = of_unit_length(codes)
        self.neighbors.assign(nearest_neighbors(codes, self._n_neighbors))
        self._data.tell(f"first clusters of {self.n_heads} heads")
        centres = [first_centres(codes, self._n_clusters, self._find_seed, number) for number in range(self.n_heads)]
        kernels = [one.T for one in centres]
        # The nearest centre has the largest logit; of directions, that of the smallest angle.
        biases = [np.zeros(len(one), np.float32) if self._by_direction else -0.5 * np.square(one).sum(1) for one in centres]
        if self._begun:
            kernels[0], biases[0] = head.get_weights()
        for layer in (self._heads, self._teacher):
            layer.set_weights([np.concatenate(kernels, 1), np.concatenate(biases)])
        self.refresh()

    def log_probabilities(self, layer: keras.layers.Dense, codes: tf.Tensor) -> tf.Tensor:
        """log p(y|x) by all heads of a layer, [B, H, K]; codes: [B, D]."""
        return tf.nn.log_softmax(tf.reshape(layer(codes), [-1, self.n_heads, self._n_clusters]))

    def train_step(self, batch: tf.Tensor) -> None:
        """One step of Adam on the examples with these numbers, integers [B], and a neighbour of each."""
        drawn = tf.random.stateless_uniform(tf.shape(batch), self.step_seed(), 0, self._n_neighbors, tf.int32)
        others = tf.gather(tf.gather(self.neighbors, batch), drawn, batch_dims=1)
        codes = [tf.gather(self.codes, rows) for rows in (batch, others)]
        momentum = self.objective.teacher_momentum
        teacher = (
            None if momentum is None else (self.log_probabilities(self._teacher, codes[0]), self.log_probabilities(self._teacher, codes[1]))
        )
        with tf.GradientTape() as tape:
            of_examples, of_neighbors = (self.log_probabilities(self._heads, part) for part in codes)
            losses, average = self.objective.losses(of_examples, of_neighbors, teacher)
            loss = tf.reduce_sum(losses)

        def update() -> None:
            self.objective.average.assign(average)
            if momentum is not None:
                for its, new in zip(self._teacher.variables, self._heads.variables, strict=True):
                    its.assign(momentum * its + (1 - momentum) * new)

        self.learn(tape, loss, update)

    def refresh(self) -> None:
        """Give `clusters` the head whose clusters of an example and a neighbour have the most mutual information."""
        information = self.judge()
        best = int(information.argmax())
        self._information.assign(information[best])
        kernel, bias = self._heads.get_weights()
        columns = slice(best * self._n_clusters, (best + 1) * self._n_clusters)
        self.clusters.head.set_weights([kernel[:, columns], bias[columns]])

    def judge(self) -> np.ndarray:
        """The mutual information of the clusters of an example and a neighbour by each head, nats, float64 [H].

        Of all examples, each with as many neighbours, evenly chosen from the nearest to the farthest, as make `JUDGED_PAIRS` pairs.
        """
        n, neighbors = len(self._part), self.neighbors.numpy()
        times = min(self._n_neighbors, math.ceil(JUDGED_PAIRS / n))
        columns = ((np.arange(times) + 0.5) * self._n_neighbors / times).astype(int)
        at_once = max(1, JUDGED_VALUES // (self.n_heads * self._n_clusters))
        joint = np.zeros((self.n_heads, self._n_clusters, self._n_clusters))
        for column in columns:
            for start in range(0, n, at_once):
                rows = np.arange(start, min(start + at_once, n), dtype=np.int32)
                joint += len(rows) * self._joint(tf.constant(rows), tf.constant(neighbors[rows, column])).numpy().astype(np.float64)
        return np.asarray(mutual_information(joint / (n * len(columns))).numpy())

    def _joint_of(self, rows: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
        """The joint distribution of the clusters of these pairs, [H, K, K]."""
        p, of_neighbor = (tf.exp(self.log_probabilities(self._heads, tf.gather(self.codes, part))) for part in (rows, others))
        return symmetric_joint(p, of_neighbor)

    def finish(self) -> None:
        """Say what came of it, and score it where there are labels."""
        if not self.most_steps:
            return
        self.report = {
            "method": self.name,
            "examples": len(self._part),
            "neighbors": self._n_neighbors,
            "heads": self.n_heads,
            NEIGHBOR_INFORMATION: round(float(self._information.numpy()), 5),
        }
        test = self._data.test
        if test.y is not None:
            self.report.update(clustering_scores(test.y, self.probabilities(test).argmax(1))._asdict())

    def probabilities(self, data: Dataset) -> np.ndarray:
        """p(y|x) of raw examples by the best head, float32 [n, K]."""
        return encode_all(lambda x: self.clusters.probabilities(self._preprocess(x)), data)

    def values(self) -> dict[str, float | int]:
        """As of every stage with Adam, and the best head's information, nats."""
        return {**super().values(), NEIGHBOR_INFORMATION: float(self._information.numpy())}

    def progress(self) -> dict[str, float]:
        """The loss, and the best head's information, nats."""
        return {**super().progress(), NEIGHBOR_INFORMATION: float(self._information.numpy())}

    def checkpointables(self) -> dict[str, Any]:
        """The heads and the neighbours beside what trains them, and what is kept of earlier stages."""
        own = {"heads": self._heads, "teacher": self._teacher, "average": self.objective.average, "neighbors": self.neighbors}
        own |= {"information": self._information, "clusters": self.clusters.checkpointables()}
        return {**super().checkpointables(), **self._keep, **own}


@threadpool_limits.wrap(limits=1)  # its sums would depend on the number of threads
def first_centres(codes: np.ndarray, n_clusters: int, seed: int, number: int) -> np.ndarray:
    """Centres of k-means among at most `CLUSTERED` codes [n, D], float32 [K, D]: from one initialization, other ones by `number`."""
    rows = spread_rows(len(codes), CLUSTERED, derived_seed(seed, number))
    means = KMeans(n_clusters, n_init=1, random_state=derived_seed(seed, number)).fit(codes[rows]).cluster_centers_
    return np.asarray(means, np.float32)
