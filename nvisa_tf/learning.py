"""How the model learns: compile options and the one gradient step, for any method of `objectives`.

Shapes: B examples, M samples, K clusters, D latent dimensions, d = input_dim values an example.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from nvisa_tf.annealing import StdAnnealing
from nvisa_tf.augmentation import Augmentation, changed_by, draw_changes
from nvisa_tf.distributions import posterior_y
from nvisa_tf.draws import gumbel_noise
from nvisa_tf.objectives import Control, Estimate, LogProbs, estimator, importance_weighted_bound, resample
from nvisa_tf.optimizer import FusedAdam, global_norm
from nvisa_tf.particles import Evaluated, Particles, Proposal, StepNoise, row_chunks
from nvisa_tf.steps import StepOptions, StepResult

AUGMENTATION = 0xA06  # sets the seeds of changed images apart


class TrainingMixin:
    """compile, train_step and test_step; mixed into `NVISA`."""

    if TYPE_CHECKING:  # the model's own methods and networks

        def __getattr__(self, name: str) -> Any: ...

    def compile(
        self,
        optimizer: Any = "adam",
        *,
        objective: str = "vimco",
        n_samples: int = 15,
        baseline: str = "geometric",
        decoder_gradient: str = "all",
        forward_precision: str = "float32",
        max_rows: int = 16384,
        annealing_x: StdAnnealing | None = None,
        annealing_z: StdAnnealing | None = None,
        consistency: float = 0.0,
        augmentation: Augmentation | None = None,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Choose how `train_step` trains.

        Args:
          optimizer: a Keras optimizer; its `global_clipnorm` clips the gradient. "adam" is `FusedAdam`, with the same numbers.
          objective: a name in `nvisa_tf.METHODS`, which says what each is good for.
          n_samples: M samples of (y, z) an example; for methods that enumerate y, S of z for each.
          baseline: VIMCO's, "geometric" or "arithmetic", see `nvisa_tf.vimco`.
          decoder_gradient: "all" takes the decoder's gradient from all samples, weighted;
            "resampled" from one sample drawn by its weight: unbiased, and the other M - 1 are
            only run forward. Not for methods that reparameterize z.
          forward_precision: "float32", or "bfloat16" for the matrix products of the decoder's passes that
            only go forward, which are there with decoder_gradient "resampled". All else is float32.
          max_rows: decoder rows (samples times examples) computed at once. Beyond it the samples go
            in chunks of at least one (where y is enumerated, one cluster's), the decoder forward twice (once where
            resampled): memory no longer grows with their number, and the result is the same to rounding, but
            that hold_scales looks at each chunk's gradient.
          annealing_x, annealing_z: schedules of eps_x and eps_z; None keeps them at 1e-4.
          consistency: weight of KL(q(y|x) || q(y|x')) in nats, where x' is the image x a little changed (`augment`)
            and q(y|x) is held: added to the loss and reported apart from the bound. 0: none.
          augmentation: how far x' may be changed; None: as an `Augmentation` has it.
          jit_compile: compile the step with XLA.
          **kwargs: passed to `keras.Model.compile`.

        Raises:
          ValueError: an unknown objective, decoder_gradient or forward_precision, one that does not go with
            another, too few samples, max_rows < 1, an unknown baseline, nvil without ModelConfig.baseline_units, or
            consistency for what is no image.
        """
        still = StdAnnealing.constant(1e-4)
        options = StepOptions(
            objective,
            n_samples,
            baseline,
            decoder_gradient,
            forward_precision,
            max_rows,
            annealing_x or still,
            annealing_z or still,
            consistency,
            Augmentation(*(augmentation or ())),
        )
        options.check(self.config)
        self._step_options = options
        self._estimator = estimator(objective)
        optimizer = FusedAdam() if optimizer == "adam" else optimizer
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)  # type: ignore[misc]
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
        """One gradient step on one batch; labels in `data` are not looked at.

        A loss or gradient that is not finite changes no weight: the step is skipped and counted.
        Every draw derives from (seed, step). Returns the running means since the last
        `reset_metrics` (NaN where all steps were skipped) and `skipped`, the steps skipped in all.
        """
        raw = keras.utils.unpack_x_y_sample_weight(data)[0]
        noise = self.step_noise(tf.shape(raw)[0], tf.convert_to_tensor(self.rng_seed), tf.convert_to_tensor(self.step))
        self.step_on(raw, noise)
        return {**self.get_metrics_result(), "skipped": tf.convert_to_tensor(self.skipped)}

    def step_noise(self, n_examples: Any, rng_seed: tf.Tensor, step: tf.Tensor) -> StepNoise:
        """The random numbers of a step on so many examples, which derive from (seed, step)."""
        # Two words, so that step and seed cannot collide.
        seed = tf.cast(tf.stack([rng_seed, step]), tf.int32)
        # A third word, so that these draws are none of the particles'.
        changes = draw_changes(n_examples, tf.random.fold_in(seed, AUGMENTATION)) if self._step_options.consistency else None
        return self.noise_of_gradient(n_examples, seed)._replace(changes=changes)

    def noise_of_gradient(self, n_examples: Any, seed: tf.Tensor) -> StepNoise:
        """The random numbers of `loss_gradient` for so many examples; seed: a stateless seed, integers [2]."""
        options = self._step_options
        seed_draw, seed_resample = tf.unstack(tf.random.split(seed, 2))
        proposal = self.noise(n_examples, options.n_samples, seed_draw, options.method.enumerates_y)
        if options.decoder_gradient == "all":
            return StepNoise(proposal)
        return StepNoise(proposal, gumbel_noise([n_examples, options.n_samples], seed_resample))

    def step_on(self, raw: tf.Tensor, noise: StepNoise, select: bool = False) -> None:
        """`train_step` without its draws: raw examples [B, *input_shape] and the step's random numbers.

        Args:
          select: leave a skipped step's weights by choosing old values instead of by a branch, as `nvisa_tf.training.batched` needs.
        """
        options, variables = self._step_options, self.trainable_variables
        self.eps_x.assign(options.annealing_x(self.step))
        self.eps_z.assign(options.annealing_z(self.step))
        changed = None if noise.changes is None else self.preprocess(changed_by(raw, noise.changes, options.augmentation))
        result = self.gradient_given(self.preprocess(raw), noise, changed)
        with tf.GradientTape() as tape:
            tape.watch(_values(variables))
            l2 = tf.add_n(self.losses) if self.losses else tf.constant(0.0)
        gradients = result.gradients
        if self.losses:
            pull = tape.gradient(l2, _values(variables), unconnected_gradients=tf.UnconnectedGradients.ZERO)
            gradients = [g + p for g, p in zip(gradients, pull, strict=True)]
        values = self._values_to_report(result, l2)
        values["grad_norm"] = global_norm(gradients)
        finite = tf.math.is_finite(values["loss"]) & tf.math.is_finite(values["grad_norm"])
        estimate = result.estimate
        moments = [] if estimate.mean is None else [(self.control_mean, estimate.mean), (self.control_variance, estimate.variance)]

        def update() -> tf.Tensor:
            self.optimizer.apply(gradients, variables)
            for variable, value in moments:
                variable.assign(value)
            return tf.constant(0, tf.int64)

        if select:
            for variable, value in [*self.optimizer.updates(gradients, variables), *moments]:
                variable.assign(tf.where(finite, value, variable.value))
            missed = tf.cast(~finite, tf.int64)
        else:
            missed = tf.cond(finite, update, lambda: tf.constant(1, tf.int64))
        self.skipped.assign_add(missed)
        self.skipped_in_a_row.assign((self.skipped_in_a_row + missed) * missed)
        self.step.assign_add(1)
        weight = tf.cast(finite, tf.float32)
        for name, value in values.items():
            self.trackers[name].update_state(tf.where(finite, value, 0.0), weight)

    def loss_gradient(self, x: tf.Tensor, seed: tf.Tensor, changed: tf.Tensor | None = None) -> StepResult:
        """The estimated gradient of minus the objective's mean over the batch, by trainable variable.

        Args:
          x: [B, d] on the model's scale.
          seed: a stateless seed, integers [2].
          changed: the same examples as changed images, like x, for the consistency term; None: without it.
        """
        return self.gradient_given(x, self.noise_of_gradient(tf.shape(x)[0], seed), changed)

    def gradient_given(self, x: tf.Tensor, noise: StepNoise, changed: tf.Tensor | None = None) -> StepResult:
        """`loss_gradient` of given random numbers, a function of the weights and these alone."""
        options, variables = self._step_options, self.trainable_variables
        with tf.GradientTape() as tape:
            tape.watch(_values(variables))  # which are no variables where a `keras.StatelessScope` has others stand in for them
            h = self.encoder(x)
            q_y = self.q_y(h)
            proposal = self.propose(q_y, noise.proposal)
            chunks = row_chunks(proposal, x.shape[0], options.max_rows)
            if chunks is None:
                log_probs, z = self._evaluate(x, h, q_y, proposal, tape)
            else:
                # The objective is a function of the log-probabilities, which are few; what fills memory
                # is what lies behind them. So: all of them in chunks without a tape, the gradient with
                # respect to them, and the chunks again, each with its own tape, for the chain rule.
                with tape.stop_recording():
                    log_probs, z = chunks.concat(lambda part: self._evaluate(x, h, q_y, part))
                tape.watch(log_probs)
            estimate = self._estimate(log_probs, x)
            loss = -tf.reduce_mean(estimate.surrogate)
            if noise.resampling is not None:
                chosen = resample(estimate.weights, noise.resampling)
                z_of_chosen = tf.gather_nd(z, tf.stack([chosen, tf.range(tf.shape(chosen)[0])], 1))
                loss -= tf.reduce_mean(self.log_p_x(x, z_of_chosen))
            consistency = tf.constant(0.0)
            if changed is not None:
                held = posterior_y(tf.stop_gradient(q_y.logits))
                consistency = options.consistency * tf.reduce_mean(held.kl_divergence(self.q_y(self.encoder(changed))))
                loss += consistency
        upstream, gradients = tape.gradient(loss, (list(log_probs), _values(variables)), unconnected_gradients="zero")
        gradients = _dense(gradients)
        if chunks is not None:

            def pull_back(part: Proposal, factors: list[tf.Tensor]) -> list[tf.Tensor]:
                with tf.GradientTape() as inner:
                    inner.watch(_values(variables))
                    h = self.encoder(x)
                    values = self._evaluate(x, h, self.q_y(h), part, inner, again=True).log_probs
                return _dense(inner.gradient(list(values), _values(variables), factors, unconnected_gradients="zero"))

            gradients = chunks.total(pull_back, upstream, gradients)
        return StepResult(gradients, estimate, log_probs, q_y, consistency)

    def _evaluate(
        self, x: tf.Tensor, h: tf.Tensor, q_y: Any, proposal: Proposal, tape: tf.GradientTape | None = None, again: bool = False
    ) -> Evaluated:
        """A proposal's samples and log-probabilities; what the objective needs of these is recorded on `tape`.

        `again`: for the sake of the tape alone; a log p(x|z) that it does not need stays 0, as the decoder is what costs.
        """
        options = self._step_options
        draw: Particles = self.particles(h, q_y, proposal, options.method.reparameterizes_z)
        resampled = options.decoder_gradient == "resampled"
        if again and resampled:
            log_p_x = tf.zeros_like(draw.log_p_z)
        else:
            with tape.stop_recording() if tape is not None and resampled else contextlib.nullcontext():
                log_p_x = self.log_p_x(x, draw.z, options.forward_precision)
        return Evaluated(LogProbs(draw.log_p_y, draw.log_p_z, log_p_x, draw.log_q_y, draw.log_q_z), draw.z)

    def _estimate(self, log_probs: LogProbs, x: tf.Tensor) -> Estimate:
        control = Control(self._step_options.baseline)
        if self._step_options.objective == "nvil":
            mean, variance = tf.convert_to_tensor(self.control_mean), tf.convert_to_tensor(self.control_variance)
            control = control._replace(prediction=self.control_network(x)[:, 0], mean=mean, variance=variance)
        return self._estimator(log_probs, control)

    def _values_to_report(self, result: StepResult, l2: tf.Tensor) -> dict[str, tf.Tensor]:
        q_y, log_probs, weights = result.q_y, result.log_probs, result.estimate.weights
        if not self._step_options.method.enumerates_y:  # nvil's own are uniform
            weights = tf.nn.softmax(log_probs.log_p - log_probs.log_q, 0)
        bound = tf.reduce_mean(result.estimate.bound)
        usage = tf.reduce_mean(q_y.probs_parameter(), 0)

        def expected(values: tf.Tensor) -> tf.Tensor:  # over q(y, z|x), and the batch
            if self._step_options.method.enumerates_y:
                return tf.reduce_mean(tf.reduce_sum(tf.exp(log_probs.log_q_y) * values, 0))
            return tf.reduce_mean(values)

        values = {
            "loss": l2 + result.consistency - bound,
            "bound": bound,
            "log_p_x": expected(log_probs.log_p_x),
            "kl_y": tf.reduce_mean(q_y.kl_divergence(self.p_y())),
            "kl_z": expected(log_probs.log_q_z - log_probs.log_p_z),
            "l2": l2,
            "consistency": result.consistency,
            "ess": tf.reduce_mean(1.0 / tf.reduce_sum(tf.square(weights), list(range(weights.shape.rank - 1)))),
            "entropy_y": tf.reduce_mean(q_y.entropy()),
            "entropy_usage": -tf.reduce_sum(tf.math.xlogy(usage, usage)),
        }
        return {name: tf.stop_gradient(value) for name, value in values.items()}

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """The importance-weighted bound with the compiled number of samples, for `evaluate`."""
        x = self.preprocess(keras.utils.unpack_x_y_sample_weight(data)[0])
        # Every batch has its own draws: the metric's count of examples so far goes into the seed.
        seen = tf.cast(self.trackers["bound"].count, tf.int64)
        seed = tf.cast(tf.stack([-1 - tf.convert_to_tensor(self.rng_seed), seen]), tf.int32)
        options = self._step_options
        bound = importance_weighted_bound(self.log_weights(x, options.n_samples, seed, options.max_rows))
        self.trackers["bound"].update_state(bound)
        self.trackers["loss"].update_state(-bound)
        return {name: self.trackers[name].result() for name in ("loss", "bound")}


def _values(variables: list[Any]) -> list[Any]:
    return [v.value for v in variables]


def _dense(gradients: list[Any]) -> list[tf.Tensor]:
    # tf.gather gives one slice a row; Adam and the norm would take squares of slices, not of their sums.
    return [tf.convert_to_tensor(g) for g in gradients]
