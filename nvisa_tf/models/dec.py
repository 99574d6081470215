"""DEC (Xie, Girshick & Farhadi, ICML 2016, arXiv 1511.06335) and IDEC (Guo et al., IJCAI 2017).

An autoencoder's codes are clustered by k-means. Then encoder and cluster centres are trained so that each example's soft assignment q
comes nearer to a target p, which is q made sharper and evened out over clusters. IDEC goes on with the autoencoder's loss beside that.

Shapes: n examples, B of a batch, K clusters, D latent dimensions.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.metrics import clustering_scores
from nvisa_tf.clustering.mixtures import fit_mixture
from nvisa_tf.config.dec import DECOptions, IDECOptions
from nvisa_tf.config.run import RunConfig, TrainConfig
from nvisa_tf.layers.augmentation import augment
from nvisa_tf.layers.networks import DTYPE, LayerFactory
from nvisa_tf.layers.optimizer import FusedAdam
from nvisa_tf.models.autoencoding import AutoencodingNetwork
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.keras_model import encode_all, weights_of
from nvisa_tf.models.pretraining import augmentation_of, rescale
from nvisa_tf.models.stage import GradientStage, derived_seed

MOMENTUM = 0.9  # of DEC's gradient descent


class Centres(keras.layers.Layer):
    """Cluster centres, the weight `loc` [K, D]; they start at 0, and are set before they are used."""

    def __init__(self, n_clusters: int, latent_dim: int) -> None:
        super().__init__(name="centres", dtype=DTYPE)
        self._shape = (n_clusters, latent_dim)

    def build(self, input_shape: Any = None) -> None:
        """Make the weight."""
        self.loc = self.add_weight(shape=self._shape, initializer="zeros", name="loc")
        self.built = True

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """log q of codes [B, D], [B, K]; see `log_assignment`."""
        return log_assignment(z, tf.convert_to_tensor(self.loc))


def log_assignment(z: tf.Tensor, centres: tf.Tensor) -> tf.Tensor:
    """log q_ij, where q_ij is proportional to 1 / (1 + |z_i - mu_j|^2): Student's t of one degree of freedom (equation 1).

    Args:
      z: codes [B, D].
      centres: [K, D].

    Returns:
      [B, K].
    """
    squares = tf.reduce_sum(tf.square(z[:, None] - centres), -1)
    return tf.nn.log_softmax(-tf.math.log1p(squares))


def target_distribution(q: np.ndarray) -> np.ndarray:
    """p_ij, proportional to q_ij^2 / f_j, where f_j is the sum of q_ij over all examples (equation 3); float64 [n, K] from [n, K]."""
    q = np.asarray(q, np.float64)
    weight = q**2 / q.sum(0)
    return weight / weight.sum(1, keepdims=True)


@keras.saving.register_keras_serializable(package="nvisa_tf")
class DEC(AutoencodingNetwork):
    """An encoder and cluster centres among its codes. Calling the model gives q(y|x), [B, n_clusters], of raw examples.

    The decoder is only there for the autoencoder that comes first: what it gives means nothing once the encoder was trained without it.

    Args:
      config: `DECOptions` (or their dict form) with `input_shape` set.
      seed: of the initial weights.

    Raises:
      ValueError: `input_shape` is empty.
    """

    capabilities = frozenset({"embed"})
    options_class = DECOptions
    prior: Any

    def make_parts(self, factory: LayerFactory) -> None:
        """The centres, in the prior's place."""
        self.prior = Centres(self.config.n_clusters, self.config.latent_dim)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """q(y|x), [B, K]."""
        return tf.exp(self.prior(self.embedding(x)))

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """The autoencoder, then encoder and centres."""
        options, train = self.options_of(config), config.train
        autoencoder = self.pretraining_stage(data, options, train)
        return [autoencoder, self.clustering_stage(data, options, train)]

    def clustering_stage(self, data: TrainingData, options: DECOptions, train: TrainConfig) -> DECStage:
        """The last stage."""
        weights = weights_of(self.encoder, self.code_head, self.prior)
        return DECStage("dec", self, data, options, train, weights, keras.optimizers.SGD(train.learning_rate, MOMENTUM))

    def reconstruct(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """Not with DEC.

        Raises:
          ValueError: always.
        """
        raise ValueError(f"{type(self).__name__} trains its encoder without a decoder, so it cannot give examples back.")

    def generate(self, n: int, cluster: int | None = None, seed: int = 0) -> np.ndarray:
        """Not with DEC or IDEC.

        Raises:
          ValueError: always.
        """
        raise ValueError(f"{type(self).__name__} has no distribution of codes, so it cannot draw examples.")

    def sample_prior(self, n: int, cluster: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Not with DEC or IDEC; raises ValueError."""
        raise ValueError(f"{type(self).__name__} has no distribution of codes, so it cannot draw any.")


@keras.saving.register_keras_serializable(package="nvisa_tf")
class IDEC(DEC):
    """DEC whose decoder is trained on: examples are also to be given back.

    Args:
      config: `IDECOptions` (or their dict form) with `input_shape` set.
      seed: of the initial weights.

    Raises:
      ValueError: `input_shape` is empty.
    """

    capabilities = frozenset({"embed", "reconstruct"})
    options_class = IDECOptions
    config: IDECOptions

    def clustering_stage(self, data: TrainingData, options: DECOptions, train: TrainConfig) -> DECStage:
        """The last stage."""
        weights = weights_of(self.encoder, self.code_head, self.prior, self.decoder)
        return IDECStage("idec", self, data, options, train, weights, FusedAdam(train.learning_rate))

    def reconstruct(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """What the decoder makes of the codes, in the data's own units, float32 [n, *input_shape]; errors as `predict_proba`."""
        return self.graph_functions(self.reconstruction, x, batch_size)


class DECStage(GradientStage):
    """Trains encoder and centres by KL(p || q), a batch's mean in nats (equation 2), the target p renewed every `target_steps` steps.

    p is of all examples, and held between two renewals. It ends where, from one renewal to the next, a smaller share of examples than
    `tolerance` got another likeliest cluster.

    Args:
      name: of the stage.
      model: whose encoder and centres are trained.
      data: what to learn from, and what is scored.
      options, train: of the run.
      weights: what is trained.
      optimizer: not built yet.
    """

    metric_groups: Mapping[str, Sequence[str]] = {**GradientStage.metric_groups, "clusters": ("changed_clusters",)}

    def __init__(
        self,
        name: str,
        model: DEC,
        data: TrainingData,
        options: DECOptions,
        train: TrainConfig,
        weights: list[Any],
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        super().__init__(
            name,
            np.arange(len(data.train), dtype=np.int32),
            weights,
            batch_size=train.batch_size,
            epochs=train.epochs,
            shuffle_seed=derived_seed(train.seed, 4),
            seed=derived_seed(train.seed, 5),
            optimizer=optimizer,
            xla=train.xla,
        )
        self.model, self._data, self._options, self._run_seed = model, data, options, train.seed
        self._augmentation = augmentation_of(options)
        self.refresh_steps = options.target_steps
        self._stopped = tf.Variable(0, dtype=tf.int64, trainable=False)  # the step at which clusters had settled; 0: they have not
        self._changed = tf.Variable(np.nan, dtype=tf.float32, trainable=False)

    # Made when they are first needed; init_scope, as that may be within a graph.

    @functools.cached_property
    def examples(self) -> tf.Variable:
        """All raw examples, on the device."""
        with tf.init_scope():
            return tf.Variable(np.asarray(self._data.train.x), trainable=False)

    @functools.cached_property
    def targets(self) -> tf.Variable:
        """p, float32 [n, K]."""
        with tf.init_scope():
            return tf.Variable(tf.zeros([len(self._data.train), self.model.config.n_clusters]), trainable=False)

    @functools.cached_property
    def clusters(self) -> tf.Variable:
        """The likeliest clusters at the last renewal, int32 [n]."""
        with tf.init_scope():
            return tf.Variable(tf.zeros([len(self._data.train)], tf.int32), trainable=False)

    @property
    def total_steps(self) -> int:
        """Where it ends: where clusters had settled, else after all epochs."""
        return int(self._stopped.numpy()) or self.most_steps

    def why_ended(self) -> str:
        """That clusters had settled, where they had."""
        stopped, changed = int(self._stopped.numpy()), float(self._changed.numpy())
        if not stopped:
            return ""
        return f"ended at step {stopped} of {self.most_steps}, as {changed:.2%} of the clusters changed since the target before"

    def begin(self) -> None:
        """Bring the codes to a standard deviation of 1, cluster them by k-means, the best of ten, and make the first target.

        A run with `init_from` and without an autoencoder goes on from the centres that it was given.

        Raises:
          ValueError: the codes are not finite, or all the same.
        """
        model, train, test = self.model, self._data.train, self._data.test
        self.report = {"method": self.name, "examples": len(train)}
        if self._options.has_autoencoder:
            codes = rescale(model.decoder, model.code_head, encode_all(model.embedding, train))
            self._data.tell(f"{self.name}: k-means of {len(codes)} codes")
            model.prior.loc.assign(fit_mixture(codes, model.config.n_clusters, "ae_kmeans", derived_seed(self._run_seed, 3)).means)
        self.renew()
        if test.y is not None:
            self.report.update(clustering_scores(test.y, model.predict_clusters(test.x))._asdict())

    def renew(self) -> np.ndarray:
        """Make the target of what the model answers now; the clusters before, int32 [n]."""
        q = encode_all(self.model.probabilities, self._data.train)
        before = self.clusters.numpy()
        self.targets.assign(target_distribution(q))
        self.clusters.assign(q.argmax(1))
        return before

    def refresh(self) -> None:
        """Renew the target, and end where hardly a cluster changed."""
        changed = float(np.mean(self.renew() != self.clusters.numpy()))
        self._changed.assign(changed)
        if changed < self._options.tolerance:
            self._stopped.assign(self.step)

    def train_step(self, batch: tf.Tensor) -> None:
        """One gradient step on the examples with these numbers, integers [B].

        With `augment` they are changed, and their targets are of them as they are (Guo et al., "Deep Embedded Clustering with Data
        Augmentation", ACML 2018).
        """
        x, p = tf.gather(self.examples, batch), tf.gather(self.targets, batch)
        if self._augmentation is not None:
            x = augment(x, self.step_seed(), self._augmentation, fused=self.fused)
        with tf.GradientTape() as tape:
            loss = self.loss_of(x, p)
        self.learn(tape, loss)

    def loss_of(self, x: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
        """The loss, a scalar, of raw examples [B, *input_shape] and their targets [B, K]."""
        return self.divergence(self.model.embedding(x), p)

    def divergence(self, z: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
        """KL(p || q), the mean over codes [B, D] and their targets [B, K]."""
        return tf.reduce_mean(tf.reduce_sum(p * (tf.math.log(tf.maximum(p, 1e-30)) - self.model.prior(z)), 1))

    def values(self) -> dict[str, float | int]:
        """Learning rate, skipped steps, and the share of clusters that changed between the last two targets."""
        return {**super().values(), "changed_clusters": float(self._changed.numpy())}

    def checkpointables(self) -> dict[str, Any]:
        """The model, the target and the clusters it is from, and where the stage ended."""
        own = {"model": self.model, "targets": self.targets, "clusters": self.clusters}
        return {**super().checkpointables(), **own, "stopped": self._stopped, "changed": self._changed}


class IDECStage(DECStage):
    """DEC's loss at `clustering_weight`, and beside it the mean squared error of a value on the model's scale (Guo et al., equation 6)."""

    model: IDEC

    def loss_of(self, x: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
        """As DEC's, with the decoder's error."""
        target = self.model.preprocess(x)
        z = self.model.embedding(x)
        error = tf.reduce_mean(tf.square(target - self.model.decoder(z)[0]))
        return error + self.model.config.clustering_weight * self.divergence(z, p)
