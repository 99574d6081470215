"""NVISA: the Gaussian-mixture VAE as a Keras model: networks, distributions, samples.

Shapes: B examples, M samples, K clusters, D latent dimensions, d = input_dim values an example.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from nvisa_tf.config.nvisa import NVISAConfig, StepOptions
from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Dataset
from nvisa_tf.layers import distributions as dist
from nvisa_tf.layers.augmentation import Augmentation
from nvisa_tf.layers.metrics import RunningMean
from nvisa_tf.layers.networks import Decoder, LatentHead, LayerFactory
from nvisa_tf.layers.optimizer import FusedAdam
from nvisa_tf.layers.priors import MixturePrior
from nvisa_tf.layers.random import gumbel_noise, pick
from nvisa_tf.layers.schedules import StdAnnealing
from nvisa_tf.models import density
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.keras_model import ClusteringNetwork
from nvisa_tf.models.nvisa import training
from nvisa_tf.models.nvisa.objectives import LogProbs, importance_weighted_bound
from nvisa_tf.models.nvisa.samples import Evaluated, Noise, Particles, Proposal, row_chunks
from nvisa_tf.models.nvisa.train_step import METRICS, GradientStep

FREE = {"l2", "hold_scales", "learn_prior_weights", "baseline_units"}  # options that change no weight's meaning
STEP_OPTIONS = {field.name for field in dataclasses.fields(StepOptions)}


@keras.saving.register_keras_serializable(package="nvisa_tf")
class NVISA(ClusteringNetwork):
    """Unsupervised clustering by a Gaussian-mixture VAE (Li et al., IJCNN 2020).

    Calling the model gives q(y|x), [B, n_clusters]. Inputs are raw examples, uint8 or float, of
    shape [B, *input_shape]; they are brought to the model's scale by x * input_scale + input_shift
    inside the graph (see `set_preprocessing`).

    `compile` takes what training needs; `fit` then trains with any Keras callback, and
    `nvisa_tf.Trainer` adds the compiled many-step loop, exact resume and run directories.

    Args:
      config: an `NVISAConfig` (or its dict form) with `input_shape` set.
      seed: seed of the initial weights and of every draw in training.

    Raises:
      ValueError: `input_shape` is empty.
    """

    capabilities = frozenset({"embed", "reconstruct", "generate", "density"})
    config: NVISAConfig
    prior: MixturePrior
    optimizer: FusedAdam
    gradient_step: GradientStep

    def __init__(self, config: NVISAConfig | dict[str, Any], seed: int = 0, **kwargs: Any) -> None:
        config = config.architecture if isinstance(config, NVISAConfig) else NVISAConfig(**config)
        super().__init__(config, **kwargs)
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
        self.control_network = (
            factory.scalar_trunk(config.input_shape, (), config.baseline_units, "control") if config.baseline_units else None
        )
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

        def state(name: str, value: Any, dtype: str = "float32") -> Any:
            constant = keras.initializers.Constant(value)
            return self.add_weight(shape=(), dtype=dtype, initializer=constant, trainable=False, name=name)

        self.add_input_scaling()
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

    # The distributions at given inputs.

    def preprocess(self, x: tf.Tensor) -> tf.Tensor:
        """[B, *input_shape] raw -> [B, d] float32 on the model's scale, cut to 0 or 1 where the configuration says so."""
        scaled = super().preprocess(x)
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
        log_p_z = self.prior.p_z_given_y(y).log_prob(z)
        return Particles(y, z, self.prior.p_y().log_prob(y), log_p_z, q_y.log_prob(y), q_z.log_prob(z))

    def log_weights(self, x: tf.Tensor, n_samples: int, seed: tf.Tensor, max_rows: int | None = None) -> tf.Tensor:
        """log p(x, y_m, z_m) - log q(y_m, z_m|x), nats, [M, B].

        Args:
          x: [B, d] on the model's scale.
          n_samples: M.
          seed: integers [2].
          max_rows: the samples go in chunks of at most so many rows (samples times examples); None: all at once.
        """
        return self.log_weights_given(x, self.noise(tf.shape(x)[0], n_samples, seed), max_rows)

    def log_weights_given(self, x: tf.Tensor, noise: Noise, max_rows: int | None = None) -> tf.Tensor:
        """`log_weights` of given random numbers."""
        h = self.encoder(x)
        q_y = self.q_y(h)

        def evaluate(part: Proposal) -> Evaluated:
            draw = self.particles(h, q_y, part)
            return Evaluated(LogProbs(draw.log_p_y, draw.log_p_z, self.log_p_x(x, draw.z), draw.log_q_y, draw.log_q_z), draw.z)

        proposal = self.propose(q_y, noise)
        chunks = None if max_rows is None else row_chunks(proposal, x.shape[0], max_rows)
        found = (evaluate(proposal) if chunks is None else chunks.concat(evaluate)).log_probs
        return found.log_p - found.log_q

    def raw_log_weights(self, x: tf.Tensor, gumbel: tf.Tensor, normal: tf.Tensor) -> tf.Tensor:
        """`log_weights` of raw examples [B, *input_shape] and the numbers of a `Noise`."""
        return self.log_weights_given(self.preprocess(x), Noise(gumbel, normal))

    # Answers.

    def embedding(self, x: tf.Tensor) -> tf.Tensor:
        """The mean of q(z|y, x) at each raw example's own cluster, [B, D]."""
        h = self.encoder(self.preprocess(x))
        y = tf.argmax(self.cluster_head(h), -1, output_type=tf.int32)
        return self.q_z(h, y).mean()

    def exported_embedding(self, image: tf.Tensor) -> tf.Tensor:
        """The mean alone: sigma_z is not asked for, and its gradient's bookkeeping cannot be saved."""
        h = self.encoder(self.preprocess(image))
        chosen = tf.argmax(self.cluster_head(h), -1, output_type=tf.int32)
        return self.latent_head(h, tf.one_hot(chosen, self.config.n_clusters))[0]

    def decoded_mean(self, z: tf.Tensor) -> tf.Tensor:
        """The mean of p(x|z) on the model's scale, [n, d]; z: [n, D]."""
        return self.p_x(z).mean()

    def score_samples(
        self, x: Any, n_samples: int | None = None, seed: int = 0, *, return_std: bool = False, rows: int = density.ROWS_A_CALL
    ) -> Any:
        """The importance-weighted bound of each example, nats, float64 [n]; see `nvisa_tf.models.density.score_samples`.

        With `return_std` that and its standard error, nats, float64 [n].
        """
        scores = density.score_samples(self, x, n_samples, seed, rows)
        return tuple(scores) if return_std else scores.bound

    def report_metrics(self) -> dict[str, float | int]:
        """Steps done and skipped, and the eps at which alone densities compare."""
        return {"step": int(self.step.numpy()), "nonfinite_steps": int(self.skipped.numpy()), "eps": float(self.eps_x.numpy())}

    # Training.

    def compile(
        self,
        optimizer: Any = "adam",
        *,
        annealing_x: StdAnnealing | None = None,
        annealing_z: StdAnnealing | None = None,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Choose how `train_step` trains.

        Args:
          optimizer: a Keras optimizer; its `global_clipnorm` clips the gradient. "adam" is `FusedAdam`, with the same numbers.
          annealing_x, annealing_z: schedules of eps_x and eps_z; None keeps them at 1e-4.
          jit_compile: compile the step with XLA.
          **kwargs: any field of `nvisa_tf.StepOptions`, such as objective or n_samples; others are passed to `keras.Model.compile`.

        Raises:
          ValueError: as `StepOptions`, or options that do not go with the model.
        """
        options = StepOptions(**{name: kwargs.pop(name) for name in sorted(STEP_OPTIONS & set(kwargs))})
        still = StdAnnealing.constant(1e-4)
        self.gradient_step = GradientStep(self, options, annealing_x or still, annealing_z or still)
        super().compile(optimizer=FusedAdam() if optimizer == "adam" else optimizer, jit_compile=jit_compile, **kwargs)
        # Variables that are made inside tf.cond would not live; so the optimizer's are made here.
        self.optimizer.build(self.trainable_variables)

    def get_compile_config(self) -> dict[str, Any] | None:
        """What `compile` was given, serialized; None before that."""
        if not self.compiled:
            return None
        step = self.gradient_step
        objects = {"optimizer": self.optimizer, "annealing_x": step.annealing_x, "annealing_z": step.annealing_z}
        serialized = {name: keras.saving.serialize_keras_object(value) for name, value in objects.items()}
        return {**serialized, "jit_compile": self.jit_compile, **dataclasses.asdict(step.options)}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """The inverse of `get_compile_config`."""
        found = {name: keras.saving.deserialize_keras_object(value) for name, value in config.items()}
        if "augmentation" in found:  # files made until November 2026
            found["augment"] = found["consistency"] > 0
            found["consistency_weight"] = found.pop("consistency")
            found.update({f"augment_{name}": value for name, value in Augmentation(*found.pop("augmentation"))._asdict().items()})
        self.compile(**found)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One gradient step on one batch; labels in `data` are not looked at.

        A loss or gradient that is not finite changes no weight: the step is skipped and counted.
        Every draw derives from (seed, step). Returns the running means since the last
        `reset_metrics` (NaN where all steps were skipped) and `nonfinite_steps`, the steps skipped in all.
        """
        raw = keras.utils.unpack_x_y_sample_weight(data)[0]
        step = self.gradient_step
        step.apply(raw, step.noise(tf.shape(raw)[0], tf.convert_to_tensor(self.rng_seed), tf.convert_to_tensor(self.step)))
        return {**self.get_metrics_result(), "nonfinite_steps": tf.convert_to_tensor(self.skipped)}

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """The importance-weighted bound with the compiled number of samples, for `evaluate`."""
        x = self.preprocess(keras.utils.unpack_x_y_sample_weight(data)[0])
        # Every batch has its own draws: the metric's count of examples so far goes into the seed.
        seen = tf.cast(self.trackers["bound"].count, tf.int64)
        seed = tf.cast(tf.stack([-1 - tf.convert_to_tensor(self.rng_seed), seen]), tf.int32)
        options = self.gradient_step.options
        bound = importance_weighted_bound(self.log_weights(x, options.n_samples, seed, options.max_rows))
        self.trackers["bound"].update_state(bound)
        self.trackers["loss"].update_state(-bound)
        return {name: self.trackers[name].result() for name in ("loss", "bound")}

    def check_data(self, train: Dataset, options: Any) -> None:
        """Raise ValueError as `ClusteringNetwork.check_data`, or for values that a Bernoulli likelihood does not know."""
        super().check_data(train, options)
        training.check_data(self, train)

    def stages(self, data: TrainingData, config: RunConfig) -> Sequence[TrainingStage]:
        """The initialization's stages, if it is not random, and NVISA's own."""
        return training.stages(self, data, config)

    def answering_state(self, options: Any) -> tuple[dict[str, Any], Callable[[], None]]:
        """The model; where it is averaged, its optimizer too, whose averages then become the weights."""
        return training.answering_state(self, options)

    def networks(self) -> list[Any]:
        """Encoder, both heads and decoder."""
        return [self.encoder, self.cluster_head, self.latent_head, self.decoder]

    def take_prior(self, other: NVISA) -> None:
        """p(z|y), and p(y) where it is learned here or was learned by neither; else pi stays uniform."""
        self.prior.loc.assign(other.prior.loc)
        self.prior.raw_scale.assign(other.prior.raw_scale)
        if self.prior.logits.trainable or not other.prior.logits.trainable:
            self.prior.logits.assign(other.prior.logits)

    def take_weights(self, other: NVISA, source: str) -> None:
        """As of every model, with eps, so that the other's answers and bounds are had until training sets its own."""
        super().take_weights(other, source)
        self.eps_x.assign(other.eps_x)
        self.eps_z.assign(other.eps_z)

    def shapes_of_weights(self) -> dict[str, Any]:
        """All of the configuration but what changes no weight's meaning."""
        return {name: value for name, value in dataclasses.asdict(self.config).items() if name not in FREE}
