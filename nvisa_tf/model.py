"""NVISA: the Gaussian-mixture VAE as a Keras model: networks, distributions, samples.

Shapes: B examples, M samples, K clusters, D latent dimensions, d = input_dim values an example.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf import distributions as dist
from nvisa_tf.config import ModelConfig
from nvisa_tf.draws import gumbel_noise, pick
from nvisa_tf.inference import ClusteringMixin
from nvisa_tf.learning import TrainingMixin
from nvisa_tf.networks import Decoder, LatentHead, LayerFactory, MixturePrior
from nvisa_tf.objectives import LogProbs
from nvisa_tf.particles import Evaluated, Noise, Particles, Proposal, row_chunks
from nvisa_tf.steps import METRICS, RunningMean


@keras.saving.register_keras_serializable(package="nvisa_tf")
class NVISA(ClusteringMixin, TrainingMixin, keras.Model):
    """Unsupervised clustering by a Gaussian-mixture VAE (Li et al., IJCNN 2020).

    Calling the model gives q(y|x), [B, n_clusters]. Inputs are raw examples, uint8 or float, of
    shape [B, *input_shape]; they are brought to the model's scale by x * input_scale + input_shift
    inside the graph (see `set_preprocessing`).

    `compile` takes what training needs; `fit` then trains with any Keras callback, and
    `nvisa_tf.Trainer` adds the compiled many-step loop, exact resume and run directories.

    Args:
      config: a `ModelConfig` (or its dict form) with `input_shape` set.
      seed: seed of the initial weights and of every draw in training.

    Raises:
      ValueError: `input_shape` is empty.
    """

    def __init__(self, config: ModelConfig | dict[str, Any], seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        config = config if isinstance(config, ModelConfig) else ModelConfig(**config)
        if not config.input_shape:
            raise ValueError("ModelConfig.input_shape is empty; set it to the shape of one example, such as (28, 28).")
        self.config = config
        self.seed = seed
        factory = LayerFactory(seed, config.l2)
        self.encoder = factory.trunk(config.input_shape, config.encoder_filters, config.encoder_units, "encoder")
        self.cluster_head = factory.dense(config.n_clusters, "cluster_head")
        conditioned = config.n_clusters if config.posterior == "full" else None
        self.latent_head = LatentHead(factory, config.posterior_units, config.latent_dim, conditioned)
        scale = config.decoder_scale if config.likelihood == "gaussian" else "none"
        self.decoder = Decoder(factory, config.latent_dim, config.decoder_units, config.input_shape, scale, config.decoder_filters)
        self.prior = MixturePrior(factory, config.n_clusters, config.latent_dim, config.learn_prior_weights)
        self.control_network = factory.scalar_mlp(config.input_dim, config.baseline_units, "control") if config.baseline_units else None
        self.trackers = {name: RunningMean(name=name) for name in METRICS}
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Make all weights; the configuration already fixes every shape."""
        if hasattr(self, "step"):
            return
        config = self.config
        self.cluster_head.build(self.encoder.output_shape)
        self.latent_head.build(self.encoder.output_shape)
        self.decoder.build((None, config.latent_dim))
        self.prior.build()

        def state(name: str, value: Any, dtype: str = "float32", shape: tuple[int, ...] = ()) -> Any:
            constant = keras.initializers.Constant(value)
            return self.add_weight(shape=shape, dtype=dtype, initializer=constant, trainable=False, name=name)

        self.input_scale = state("input_scale", 1.0, shape=(config.input_dim,))
        self.input_shift = state("input_shift", 0.0, shape=(config.input_dim,))
        self.eps_x = state("eps_x", 1.0)
        self.eps_z = state("eps_z", 1.0)
        self.step = state("step", 0, "int64")
        self.rng_seed = state("rng_seed", self.seed, "int64")
        self.skipped = state("skipped", 0, "int64")
        self.skipped_in_a_row = state("skipped_in_a_row", 0, "int64")
        if self.control_network is not None:
            self.control_mean = state("control_mean", float("nan"))  # not known yet
            self.control_variance = state("control_variance", 0.0)
        self.built = True

    def set_preprocessing(self, scale: Any, shift: Any = 0.0) -> None:
        """Make the model see x * scale + shift. Both broadcast to [input_dim], x flattened.

        Raises:
          ValueError: a scale or shift that is NaN or Inf (as those of data with such values are), or a scale of 0.
        """
        if not np.isfinite(scale).all() or not np.isfinite(shift).all() or not np.all(scale):
            raise ValueError("The scale and shift of the input must be finite, and no scale 0; look for NaN or Inf in the data.")
        self.input_scale.assign(np.broadcast_to(np.asarray(scale, np.float32), self.input_scale.shape))
        self.input_shift.assign(np.broadcast_to(np.asarray(shift, np.float32), self.input_shift.shape))

    # The distributions at given inputs.

    def preprocess(self, x: tf.Tensor) -> tf.Tensor:
        """[B, *input_shape] raw -> [B, d] float32 on the model's scale."""
        flat = tf.reshape(tf.cast(x, tf.float32), [-1, self.config.input_dim])
        scaled = flat * self.input_scale + self.input_shift
        return tf.cast(scaled >= 0.5, tf.float32) if self.config.binarize else scaled

    def q_y(self, h: tf.Tensor) -> Any:
        """q(y|x) from the trunk's features h, [B, H]."""
        return dist.posterior_y(self.cluster_head(h))

    def q_z(self, h: tf.Tensor, y: tf.Tensor) -> Any:
        """q(z|y, x). y: integers [..., B]; batch shape [..., B]."""
        loc, raw_scale = self.latent_head(h, tf.one_hot(y, self.config.n_clusters))
        eps = tf.convert_to_tensor(self.eps_z)
        return dist.posterior_z(loc, self._held(raw_scale, eps), eps)

    def p_x(self, z: tf.Tensor, precision: str = "float32") -> Any:
        """p(x|z) on the model's scale. z: [..., D]; batch shape [...]; the decoder's matrix products in `precision`."""
        return self._x_given(*self.decoder(z, precision=precision))

    def log_p_x(self, x: tf.Tensor, z: tf.Tensor, precision: str = "float32") -> tf.Tensor:
        """log p(x|z) in nats, [...]. x: [B, d] on the model's scale; z: [..., B, D]; precision as in `p_x`."""
        parameters = self.decoder(z, precision=precision)
        return dist.fused(lambda x: self._x_given(*parameters).log_prob(x), x)

    def _x_given(self, loc: tf.Tensor, raw_scale: tf.Tensor | None) -> Any:
        if self.config.likelihood == "bernoulli":
            return dist.bernoulli_x(loc)
        eps = tf.convert_to_tensor(self.eps_x)
        return dist.gaussian_x(loc, self._held(raw_scale, eps), eps)

    def _held(self, raw_scale: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
        return dist.hold_negligible(raw_scale, eps) if self.config.hold_scales else raw_scale

    def p_y(self) -> Any:
        """p(y)."""
        return dist.prior_y(self.prior.parameters()[0])

    def p_z(self) -> Any:
        """p(z), the mixture over clusters."""
        return dist.prior_z(*self.prior.parameters())

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """q(y|x), [B, K]."""
        return tf.nn.softmax(self.cluster_head(self.encoder(self.preprocess(x))))

    # Samples of (y, z) and their log-probabilities.

    def noise(self, n_examples: Any, n_samples: int, seed: tf.Tensor, enumerate_y: bool = False) -> Noise:
        """The random numbers of a proposal for so many examples.

        Args:
          n_examples: B.
          n_samples: M draws of (y, z) an example, or S of z for every y.
          seed: a stateless seed, integers [2].
          enumerate_y: take every y instead of drawing it.
        """
        seed_y, seed_z = tf.unstack(tf.random.split(seed, 2))
        n_clusters, dim = self.config.n_clusters, self.config.latent_dim
        if enumerate_y:
            return Noise(None, tf.random.stateless_normal([n_clusters, n_samples, n_examples, dim], seed_z))
        gumbel = gumbel_noise([n_samples, n_examples, n_clusters], seed_y)
        return Noise(gumbel, tf.random.stateless_normal([n_samples, n_examples, dim], seed_z))

    def propose(self, q_y: Any, noise: Noise) -> Proposal:
        """What no gradient flows through: y, drawn from q(y|x), batch [B], or every y, and the noise that z is made of."""
        if noise.gumbel is not None:
            return Proposal(pick(q_y.logits, noise.gumbel), noise.normal)
        n_clusters = self.config.n_clusters
        y = tf.broadcast_to(tf.range(n_clusters)[:, None, None], [n_clusters, 1, tf.shape(q_y.logits)[0]])
        return Proposal(y, noise.normal)

    def particles(self, h: tf.Tensor, q_y: Any, proposal: Proposal, reparameterize: bool = False) -> Particles:
        """The proposal's samples of z and all log-probabilities but log p(x|z).

        Args:
          h: the trunk's features, [B, H].
          q_y: q(y|x), batch [B].
          proposal: from `propose`.
          reparameterize: let the gradient flow through z = mu_z + sigma_z noise.
        """
        y = proposal.y
        q_z = self.q_z(h, y)
        z = dist.location_scale_sample(q_z, proposal.noise)
        z = z if reparameterize else tf.stop_gradient(z)
        logits, loc, raw_scale = self.prior.parameters()
        log_p_z = dist.prior_z_given_y(loc, raw_scale, y).log_prob(z)
        return Particles(y, z, dist.prior_y(logits).log_prob(y), log_p_z, q_y.log_prob(y), q_z.log_prob(z))

    def log_weights(self, x: tf.Tensor, n_samples: int, seed: tf.Tensor, max_rows: int | None = None) -> tf.Tensor:
        """log p(x, y_m, z_m) - log q(y_m, z_m|x), nats, [M, B].

        Args:
          x: [B, d] on the model's scale.
          n_samples: M.
          seed: integers [2].
          max_rows: the samples go in chunks of at most so many rows (samples times examples); None: all at once.
        """
        h = self.encoder(x)
        q_y = self.q_y(h)

        def evaluate(part: Proposal) -> Evaluated:
            draw = self.particles(h, q_y, part)
            return Evaluated(LogProbs(draw.log_p_y, draw.log_p_z, self.log_p_x(x, draw.z), draw.log_q_y, draw.log_q_z), draw.z)

        proposal = self.propose(q_y, self.noise(tf.shape(x)[0], n_samples, seed))
        chunks = None if max_rows is None else row_chunks(proposal, x.shape[0], max_rows)
        found = (evaluate(proposal) if chunks is None else chunks.concat(evaluate)).log_probs
        return found.log_p - found.log_q

    def raw_log_weights(self, x: tf.Tensor, n_samples: int, seed: tf.Tensor) -> tf.Tensor:
        """`log_weights` of raw examples [B, *input_shape]."""
        return self.log_weights(self.preprocess(x), n_samples, seed)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "config": dataclasses.asdict(self.config), "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> NVISA:
        """The inverse of `get_config`."""
        return cls(**config)
