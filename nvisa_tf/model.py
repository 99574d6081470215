"""NVISA: the Gaussian-mixture VAE as a Keras model, with its one gradient step.

Shapes: B examples, M samples, K clusters, D latent dimensions, d = input_dim values an example.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf import distributions as dist
from nvisa_tf.annealing import StdAnnealing
from nvisa_tf.config import ModelConfig
from nvisa_tf.inference import ClusteringMixin
from nvisa_tf.networks import Decoder, LatentHead, LayerFactory, MixturePrior
from nvisa_tf.objectives import importance_weighted_bound, vimco

METRICS = ("loss", "bound", "log_p_x", "kl_y", "kl_z", "l2", "grad_norm", "ess", "entropy_y", "entropy_usage")


class Particles(NamedTuple):
    """M samples of (y, z) per example and their log-probabilities in nats, each [M, B].

    y: int32 [M, B]; z: [M, B, D]; q_y: the distribution q(y|x), batch [B].
    """

    y: tf.Tensor
    z: tf.Tensor
    q_y: Any
    log_p_y: tf.Tensor
    log_p_z: tf.Tensor
    log_q_y: tf.Tensor
    log_q_z: tf.Tensor


class StepOptions(NamedTuple):
    """What `NVISA.compile` was given beside the optimizer."""

    n_samples: int
    baseline: str
    decoder_gradient: str
    annealing_x: StdAnnealing
    annealing_z: StdAnnealing


@keras.saving.register_keras_serializable(package="nvisa_tf")
class NVISA(ClusteringMixin, keras.Model):
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
        self.encoder = factory.mlp(config.input_dim, config.encoder_units, "encoder")
        self.cluster_head = factory.dense(config.n_clusters, "cluster_head")
        conditioned = config.n_clusters if config.posterior == "full" else None
        self.latent_head = LatentHead(factory, config.posterior_units, config.latent_dim, conditioned)
        scale = config.decoder_scale if config.likelihood == "gaussian" else "none"
        self.decoder = Decoder(factory, config.latent_dim, config.decoder_units, config.input_dim, scale)
        self.prior = MixturePrior(factory, config.n_clusters, config.latent_dim, config.learn_prior_weights)
        self.trackers = {name: keras.metrics.Mean(name=name) for name in METRICS}
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Make all weights; the configuration already fixes every shape."""
        if hasattr(self, "step"):
            return
        config = self.config
        width = config.encoder_units[-1] if config.encoder_units else config.input_dim
        self.cluster_head.build((None, width))
        self.latent_head.build((None, width))
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
        self.built = True

    def set_preprocessing(self, scale: Any, shift: Any = 0.0) -> None:
        """Make the model see x * scale + shift. Both broadcast to [input_dim], x flattened."""
        self.input_scale.assign(np.broadcast_to(np.asarray(scale, np.float32), self.input_scale.shape))
        self.input_shift.assign(np.broadcast_to(np.asarray(shift, np.float32), self.input_shift.shape))

    # The distributions at given inputs.

    def preprocess(self, x: tf.Tensor) -> tf.Tensor:
        """[B, *input_shape] raw -> [B, d] float32 on the model's scale."""
        flat = tf.reshape(tf.cast(x, tf.float32), [-1, self.config.input_dim])
        return flat * self.input_scale + self.input_shift

    def q_y(self, h: tf.Tensor) -> Any:
        """q(y|x) from the trunk's features h, [B, H]."""
        return dist.posterior_y(self.cluster_head(h))

    def q_z(self, h: tf.Tensor, y: tf.Tensor) -> Any:
        """q(z|y, x). y: integers [..., B]; batch shape [..., B]."""
        loc, raw_scale = self.latent_head(h, tf.one_hot(y, self.config.n_clusters))
        eps = tf.convert_to_tensor(self.eps_z)
        return dist.posterior_z(loc, self._held(raw_scale, eps), eps)

    def p_x(self, z: tf.Tensor) -> Any:
        """p(x|z) on the model's scale. z: [..., D]; batch shape [...]."""
        loc, raw_scale = self.decoder(z)
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

    def sample_particles(self, x: tf.Tensor, n_samples: int, seed: tf.Tensor) -> Particles:
        """Draw (y, z) from q(z, y|x), M times per example, without a gradient through the draw.

        Args:
          x: [B, d] on the model's scale.
          n_samples: M.
          seed: a stateless seed, integers [2].
        """
        seed_y, seed_z = tf.unstack(tf.random.split(seed, 2))
        h = self.encoder(x)
        q_y = self.q_y(h)
        # From NaN logits the sampler gives K, and an index out of range would end the run instead
        # of letting the NaN reach the finite check.
        y = tf.minimum(q_y.sample(n_samples, seed=seed_y), self.config.n_clusters - 1)
        q_z = self.q_z(h, y)
        z = tf.stop_gradient(q_z.sample(seed=seed_z))
        logits, loc, raw_scale = self.prior.parameters()
        log_p_z = dist.prior_z_given_y(loc, raw_scale, y).log_prob(z)
        return Particles(y, z, q_y, dist.prior_y(logits).log_prob(y), log_p_z, q_y.log_prob(y), q_z.log_prob(z))

    def log_weights(self, x: tf.Tensor, n_samples: int, seed: tf.Tensor) -> tf.Tensor:
        """log p(x, y_m, z_m) - log q(y_m, z_m|x), nats, [M, B]; arguments as `sample_particles`."""
        draw = self.sample_particles(x, n_samples, seed)
        log_p = draw.log_p_y + draw.log_p_z + self.p_x(draw.z).log_prob(x)
        return log_p - draw.log_q_y - draw.log_q_z

    def raw_log_weights(self, x: tf.Tensor, n_samples: int, seed: tf.Tensor) -> tf.Tensor:
        """`log_weights` of raw examples [B, *input_shape]."""
        return self.log_weights(self.preprocess(x), n_samples, seed)

    # Training.

    def compile(
        self,
        optimizer: Any = "adam",
        *,
        n_samples: int = 15,
        baseline: str = "geometric",
        decoder_gradient: str = "all",
        annealing_x: StdAnnealing | None = None,
        annealing_z: StdAnnealing | None = None,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Choose how `train_step` trains.

        Args:
          optimizer: a Keras optimizer; its `global_clipnorm` clips the gradient.
          n_samples: M, at least 2.
          baseline: "geometric" or "arithmetic", see `nvisa_tf.vimco`.
          decoder_gradient: "all" takes the decoder's gradient from all M samples, weighted;
            "resampled" from one sample drawn by its weight: unbiased, and the other M - 1 are
            only run forward.
          annealing_x, annealing_z: schedules of eps_x and eps_z; None keeps them at 1e-4.
          jit_compile: compile the step with XLA.
          **kwargs: passed to `keras.Model.compile`.

        Raises:
          ValueError: an unknown decoder_gradient; the first step refuses n_samples < 2 and an
            unknown baseline.
        """
        if decoder_gradient not in ("all", "resampled"):
            raise ValueError(f"decoder_gradient is {decoder_gradient!r}; it must be all or resampled.")
        still = StdAnnealing.constant(1e-4)
        self._step_options = StepOptions(n_samples, baseline, decoder_gradient, annealing_x or still, annealing_z or still)
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        # Variables that are made inside tf.cond would not live; so the optimizer's are made here.
        self.optimizer.build(self.trainable_variables)

    def get_compile_config(self) -> dict[str, Any] | None:
        """What `compile` was given, serialized; None before that."""
        if not self.compiled:
            return None
        options = {k: keras.saving.serialize_keras_object(v) for k, v in self._step_options._asdict().items()}
        return {"optimizer": keras.saving.serialize_keras_object(self.optimizer), "jit_compile": self.jit_compile, **options}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """The inverse of `get_compile_config`."""
        self.compile(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One VIMCO gradient step on one batch; labels in `data` are not looked at.

        A loss or gradient that is not finite changes no weight: the step is skipped and counted.
        Every draw derives from (seed, step). Returns the running means since the last
        `reset_metrics`.
        """
        x = keras.utils.unpack_x_y_sample_weight(data)[0]
        options = self._step_options
        self.eps_x.assign(options.annealing_x(self.step))
        self.eps_z.assign(options.annealing_z(self.step))
        # Two words, so that step and seed cannot collide.
        seed = tf.cast(tf.stack([tf.convert_to_tensor(self.rng_seed), tf.convert_to_tensor(self.step)]), tf.int32)
        with tf.GradientTape() as tape:
            loss, values = self._loss(self.preprocess(x), seed, tape)
        variables = self.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        # tf.gather gives one slice a row; Adam and the norm would take squares of slices, not of their sums.
        gradients = [tf.convert_to_tensor(g) for g in gradients]
        values["grad_norm"] = tf.linalg.global_norm(gradients)
        finite = tf.math.is_finite(loss) & tf.math.is_finite(values["grad_norm"])

        def update() -> tf.Tensor:
            self.optimizer.apply(gradients, variables)
            return tf.constant(0, tf.int64)

        missed = tf.cond(finite, update, lambda: tf.constant(1, tf.int64))
        self.skipped.assign_add(missed)
        self.skipped_in_a_row.assign((self.skipped_in_a_row + missed) * missed)
        self.step.assign_add(1)
        weight = tf.cast(finite, tf.float32)
        for name, value in values.items():
            self.trackers[name].update_state(tf.where(finite, value, 0.0), weight)
        return self.get_metrics_result()

    def _loss(self, x: tf.Tensor, seed: tf.Tensor, tape: tf.GradientTape) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The surrogate whose gradient is VIMCO's, and what to report; x: [B, d], preprocessed."""
        options = self._step_options
        seed_draw, seed_resample = tf.unstack(tf.random.split(seed, 2))
        draw = self.sample_particles(x, options.n_samples, seed_draw)
        resampled = options.decoder_gradient == "resampled"
        if resampled:
            with tape.stop_recording():
                log_p_x = self.p_x(draw.z).log_prob(x)
        else:
            log_p_x = self.p_x(draw.z).log_prob(x)
        log_q = draw.log_q_y + draw.log_q_z
        log_prior = draw.log_p_y + draw.log_p_z
        terms = vimco(tf.stop_gradient(log_prior + log_p_x - log_q), options.baseline)
        if resampled:
            z = tf.gather(tf.transpose(draw.z, [1, 0, 2]), terms.resample(seed_resample), batch_dims=1)
            objective = terms.surrogate(log_q, log_prior) + self.p_x(z).log_prob(x)
        else:
            objective = terms.surrogate(log_q, log_prior + log_p_x)
        l2 = tf.add_n(self.losses) if self.losses else tf.constant(0.0)
        bound = tf.reduce_mean(terms.bound)
        usage = tf.reduce_mean(draw.q_y.probs_parameter(), 0)
        values = {
            "loss": l2 - bound,
            "bound": bound,
            "log_p_x": tf.reduce_mean(log_p_x),
            "kl_y": tf.reduce_mean(draw.q_y.kl_divergence(self.p_y())),
            "kl_z": tf.reduce_mean(draw.log_q_z - draw.log_p_z),
            "l2": l2,
            "ess": tf.reduce_mean(1.0 / tf.reduce_sum(tf.square(terms.weights), 0)),
            "entropy_y": tf.reduce_mean(draw.q_y.entropy()),
            "entropy_usage": -tf.reduce_sum(tf.math.xlogy(usage, usage)),
        }
        return l2 - tf.reduce_mean(objective), {k: tf.stop_gradient(v) for k, v in values.items()}

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """The importance-weighted bound with the compiled number of samples, for `evaluate`."""
        x = self.preprocess(keras.utils.unpack_x_y_sample_weight(data)[0])
        # Every batch has its own draws: the metric's count of examples so far goes into the seed.
        seen = tf.cast(self.trackers["bound"].count, tf.int64)
        seed = tf.cast(tf.stack([-1 - tf.convert_to_tensor(self.rng_seed), seen]), tf.int32)
        bound = importance_weighted_bound(self.log_weights(x, self._step_options.n_samples, seed))
        self.trackers["bound"].update_state(bound)
        self.trackers["loss"].update_state(-bound)
        return {name: self.trackers[name].result() for name in ("loss", "bound")}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "config": dataclasses.asdict(self.config), "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> NVISA:
        """The inverse of `get_config`."""
        return cls(**config)
