"""What learns before NVISA does: an autoencoder, a contrastive network, and what teaches q(y|x) clusters that were found.

Each has a `train_step` for `step_runner`.

Shapes: n examples, B of a batch, K clusters, D latent dimensions, P dimensions of a contrastive code.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.augmentation import Augmentation, augment
from nvisa_tf.data import Dataset
from nvisa_tf.model import NVISA
from nvisa_tf.networks import LayerFactory
from nvisa_tf.optimizer import FusedAdam

RATE = 1e-3  # Adam's, falling to 0 along a cosine
PROJECTION_UNITS, PROJECTION_DIM = 500, 64  # of the contrastive network's head
TEMPERATURE = 0.5  # of its similarities


class Learner:
    """Adam on some weights, its step and the running mean of the loss.

    Args:
      variables: the weights.
      total_steps: until the learning rate is 0.
      seed: of how images are changed, together with the step.
    """

    def __init__(self, variables: list[Any], total_steps: int, seed: int) -> None:
        self.variables, self._seed = variables, seed
        self.optimizer = FusedAdam(keras.optimizers.schedules.CosineDecay(RATE, total_steps))
        self.optimizer.build(variables)
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.loss = keras.metrics.Mean()

    def _step_seed(self) -> tf.Tensor:
        return tf.stack([tf.constant(self._seed, tf.int32), tf.cast(tf.convert_to_tensor(self.step), tf.int32)])

    def _learn(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        gradients = tape.gradient(loss, [v.value for v in self.variables], unconnected_gradients="zero")
        self.optimizer.apply(gradients, self.variables)
        self.loss.update_state(loss)
        self.step.assign_add(1)


class Autoencoder(Learner):
    """The model's trunk, a linear code head and the model's decoder, with a `train_step` for `step_runner`.

    It minimizes the squared error of the decoder's mean on the model's scale, halved and summed over an example's values; for a
    Bernoulli likelihood, minus the log-likelihood.

    Args:
      model: whose trunk and decoder are trained.
      seed: of the code head's weights.
      total_steps: until the learning rate is 0.
      augmentation: how the images that it sees, and is to give, are changed; None: not.
    """

    def __init__(self, model: NVISA, seed: int, total_steps: int, augmentation: Augmentation | None = None) -> None:
        self.model, self._augmentation = model, augmentation
        self.head = LayerFactory(seed, 0.0).dense(model.config.latent_dim, "code")
        self.head.build((None, model.encoder.output_shape[-1]))
        super().__init__(_weights_of(model.encoder, self.head, model.decoder.trunk, model.decoder.loc), total_steps, seed)

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Codes [B, D] of raw examples [B, *input_shape]."""
        return self.head(self.model.encoder(self.model.preprocess(x)))

    def codes(self, data: Dataset) -> np.ndarray:
        """Codes of a whole data set, float32 [n, D]."""
        return _encode_all(self.encode, data)

    def train_step(self, x: tf.Tensor) -> None:
        """One step of Adam on raw examples [B, *input_shape]."""
        if self._augmentation is not None:
            x = augment(x, self._step_seed(), self._augmentation)
        target = self.model.preprocess(x)
        with tf.GradientTape() as tape:
            mean = self.model.decoder(self.encode(x))[0]
            if self.model.config.likelihood == "bernoulli":
                each = tf.nn.sigmoid_cross_entropy_with_logits(target, mean)
            else:
                each = 0.5 * tf.square(target - mean)
            loss = tf.reduce_mean(tf.reduce_sum(each, 1))
        self._learn(tape, loss)


class Teacher(Learner):
    """Teaches q(y|x) responsibilities while the mean of q(z|y,x) stays the code, with a `train_step` for `step_runner`.

    The loss is the cross-entropy plus half the squared distance of the mean, at the likeliest y, from the code.

    Args:
      model: whose trunk and heads are trained.
      x: raw examples [n, *input_shape].
      responsibilities: [n, K].
      codes: [n, D].
      total_steps: until the learning rate is 0.
      seed: of how the images are changed.
      augmentation: how they are, for q(y|x) to be taught the same of the changed; None: it is taught of the images as they are alone.
    """

    def __init__(
        self,
        model: NVISA,
        x: np.ndarray,
        responsibilities: np.ndarray,
        codes: np.ndarray,
        total_steps: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.model, self._augmentation = model, augmentation
        self._x = tf.Variable(x, trainable=False)
        self._targets = tf.Variable(np.asarray(responsibilities, np.float32), trainable=False)
        self._codes = tf.Variable(np.asarray(codes, np.float32), trainable=False)
        super().__init__(_weights_of(model.encoder, model.cluster_head, model.latent_head), total_steps, seed)

    def train_step(self, rows: tf.Tensor) -> None:
        """One step of Adam on the examples with these numbers, integers [B]."""
        target, x = tf.gather(self._targets, rows), tf.gather(self._x, rows)
        changed = None
        if self._augmentation is not None:
            changed = self.model.preprocess(augment(x, self._step_seed(), self._augmentation))
        with tf.GradientTape() as tape:
            h = self.model.encoder(self.model.preprocess(x))
            q_y = self.model.q_y(h)
            code = self.model.q_z(h, tf.argmax(target, -1)).mean()
            entropy = tf.nn.softmax_cross_entropy_with_logits(target, q_y.logits)
            if changed is not None:
                logits = self.model.cluster_head(self.model.encoder(changed))
                entropy += tf.nn.softmax_cross_entropy_with_logits(target, logits)
            loss = tf.reduce_mean(entropy + 0.5 * tf.reduce_sum(tf.square(code - tf.gather(self._codes, rows)), 1))
        self._learn(tape, loss)


class ContrastiveNetwork(Learner):
    """A network of its own whose codes, of length 1, are alike for one image however it is changed, and unlike for different images.

    Its trunk is of the model's filters and widths, with a head of one hidden layer. The loss is NT-Xent (Chen et al., ICML 2020,
    equation 1): each of the 2 B changed images of a batch is to find the other one of the same image by cosine similarity over
    `TEMPERATURE`.

    Args:
      model: whose input, its scaling, filters and widths are taken; it is not changed.
      seed: of the weights, and of how the images are changed.
      total_steps: until the learning rate is 0.
      augmentation: how far they are.
    """

    def __init__(self, model: NVISA, seed: int, total_steps: int, augmentation: Augmentation) -> None:
        self.model, self._augmentation = model, augmentation
        factory, config = LayerFactory(seed, 0.0), model.config
        self._trunk = factory.trunk(config.input_shape, config.encoder_filters, (*config.encoder_units, PROJECTION_UNITS), "contrastive")
        self._head = factory.dense(PROJECTION_DIM, "projection")
        self._head.build((None, PROJECTION_UNITS))
        super().__init__(_weights_of(self._trunk, self._head), total_steps, seed)

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Codes [B, P] of raw examples [B, *input_shape]."""
        return tf.math.l2_normalize(self._head(self._trunk(self.model.preprocess(x))), 1)

    def codes(self, data: Dataset) -> np.ndarray:
        """Codes of a whole data set, float32 [n, P]."""
        return _encode_all(self.encode, data)

    def train_step(self, x: tf.Tensor) -> None:
        """One step of Adam on raw images [B, *input_shape]."""
        seeds = tf.unstack(tf.random.split(self._step_seed(), 2))
        views = tf.concat([augment(x, seed, self._augmentation) for seed in seeds], 0)
        rows = tf.range(2 * tf.shape(x)[0])
        with tf.GradientTape() as tape:
            codes = self.encode(views)
            similarities = tf.linalg.set_diag(codes @ tf.transpose(codes) / TEMPERATURE, tf.fill([tf.size(rows)], -1e9))
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.roll(rows, tf.size(rows) // 2, 0), similarities))
        self._learn(tape, loss)


def _encode_all(encode: Any, data: Dataset) -> np.ndarray:
    function = tf.function(encode, reduce_retracing=True, autograph=False)
    return np.concatenate([function(tf.constant(x)).numpy() for _, x in data.chunks()])


def _weights_of(*layers: Any) -> list[Any]:
    return [weight for layer in layers for weight in layer.trainable_weights]
