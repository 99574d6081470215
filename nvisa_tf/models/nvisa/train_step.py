"""One gradient step of NVISA, for any of the objectives. The model is asked for distributions, the objective for an estimate.

Shapes: B examples, M samples, K clusters, D latent dimensions, d = input_dim values an example.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from nvisa_tf.config.nvisa import StepOptions
from nvisa_tf.layers import precision
from nvisa_tf.layers.augmentation import Augmentation, changed_by, draw_changes
from nvisa_tf.layers.distributions import posterior_y
from nvisa_tf.layers.optimizer import global_norm
from nvisa_tf.layers.random import gumbel_noise
from nvisa_tf.layers.schedules import StdAnnealing
from nvisa_tf.models.nvisa.objectives import Control, Estimate, LogProbs, estimator, resample
from nvisa_tf.models.nvisa.samples import Evaluated, Particles, Proposal, StepNoise, row_chunks

if TYPE_CHECKING:
    from nvisa_tf.models.nvisa.model import NVISA

# What a step reports.
METRICS = (
    "loss",
    "bound",
    "log_p_x",
    "kl_y",
    "kl_z",
    "l2",
    "consistency",
    "grad_norm",
    "ess",
    "assignment_entropy",
    "mean_assignment_entropy",
)
AUGMENTATION = 0xA06  # sets the seeds of changed images apart


class StepResult(NamedTuple):
    """The loss's gradient by trainable variable (the loss is minus the objective), the estimate, and what it came from."""

    gradients: list[tf.Tensor]
    estimate: Estimate
    log_probs: LogProbs
    q_y: Any
    consistency: tf.Tensor
    balance: tf.Tensor


class GradientStep:
    """The gradient step of a model, as options say.

    Args:
      model: whose weights it changes; its optimizer is the one that it is compiled with.
      options: of the step; what is "auto" among them is decided here, by the machine.
      annealing_x, annealing_z: schedules of eps_x and eps_z.

    Raises:
      ValueError: the options do not go with the model.
    """

    def __init__(self, model: NVISA, options: StepOptions, annealing_x: StdAnnealing, annealing_z: StdAnnealing) -> None:
        options.check_model(model.config)
        options = dataclasses.replace(options, **precision.decided(vars(options), precision.multiplies_bfloat16()))
        self.model, self.options, self.annealing_x, self.annealing_z = model, options, annealing_x, annealing_z
        self.augmentation = Augmentation.from_config(options)
        self._estimator = estimator(options.objective)

    def noise(self, n_examples: Any, rng_seed: tf.Tensor, step: tf.Tensor) -> StepNoise:
        """The random numbers of a step on so many examples, which derive from (seed, step)."""
        # Two words, so that step and seed cannot collide.
        seed = tf.cast(tf.stack([rng_seed, step]), tf.int32)
        # A third word, so that these draws are none of the particles'.
        changes = draw_changes(n_examples, tf.random.fold_in(seed, AUGMENTATION)) if self.options.has_consistency else None
        return self.noise_of_gradient(n_examples, seed)._replace(changes=changes)

    def noise_of_gradient(self, n_examples: Any, seed: tf.Tensor) -> StepNoise:
        """The random numbers of `loss_gradient` for so many examples; seed: a stateless seed, integers [2]."""
        options = self.options
        seed_draw, seed_resample = tf.unstack(tf.random.split(seed, 2))
        proposal = self.model.noise(n_examples, options.n_samples, seed_draw, options.about_objective.enumerates_y)
        if options.decoder_gradient == "all":
            return StepNoise(proposal)
        return StepNoise(proposal, gumbel_noise([n_examples, options.n_samples], seed_resample))

    def apply(self, raw: tf.Tensor, noise: StepNoise, select: bool = False) -> None:
        """Change the weights once, by raw examples [B, *input_shape] and the step's random numbers.

        A loss or gradient that is not finite changes no weight: the step is skipped and counted.

        Args:
          select: leave a skipped step's weights by choosing old values instead of by a branch, and change images without a kernel of
            its own, as `nvisa_tf.training.vectorized` needs.
        """
        model, variables = self.model, self.model.trainable_variables
        model.eps_x.assign(self.annealing_x(model.step))
        model.eps_z.assign(self.annealing_z(model.step))
        changed = None
        if noise.changes is not None:
            fused = not (select or model.jit_compile)
            changed = model.preprocess(changed_by(raw, noise.changes, self.augmentation, fused=fused))
        result = self.gradient_given(model.preprocess(raw), noise, changed)
        with tf.GradientTape() as tape:
            tape.watch(_values(variables))
            l2 = tf.add_n(model.losses) if model.losses else tf.constant(0.0)
        gradients = result.gradients
        if model.losses:
            pull = tape.gradient(l2, _values(variables), unconnected_gradients=tf.UnconnectedGradients.ZERO)
            gradients = [g + p for g, p in zip(gradients, pull, strict=True)]
        values = self._values_to_report(result, l2)
        values["grad_norm"] = global_norm(gradients)
        finite = tf.math.is_finite(values["loss"]) & tf.math.is_finite(values["grad_norm"])
        estimate = result.estimate
        moments = [] if estimate.mean is None else [(model.control_mean, estimate.mean), (model.control_variance, estimate.variance)]

        def update() -> tf.Tensor:
            model.optimizer.apply(gradients, variables)
            for variable, value in moments:
                variable.assign(value)
            return tf.constant(0, tf.int64)

        if select:
            for variable, value in [*model.optimizer.updates(gradients, variables), *moments]:
                variable.assign(tf.where(finite, value, variable.value))
            missed = tf.cast(~finite, tf.int64)
        else:
            missed = tf.cond(finite, update, lambda: tf.constant(1, tf.int64))
        model.skipped.assign_add(missed)
        model.skipped_in_a_row.assign((model.skipped_in_a_row + missed) * missed)
        model.step.assign_add(1)
        weight = tf.cast(finite, tf.float32)
        for name, value in values.items():
            model.trackers[name].update_state(tf.where(finite, value, 0.0), weight)

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
        options, variables = self.options, self.model.trainable_variables
        with tf.GradientTape() as tape:
            tape.watch(_values(variables))  # which are no variables where a `keras.StatelessScope` has others stand in for them
            h = self.model.encoder(x)
            q_y = self.model.q_y(h)
            proposal = self.model.propose(q_y, noise.proposal)
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
                loss -= tf.reduce_mean(self.model.log_p_x(x, z_of_chosen))
            consistency = tf.constant(0.0)
            if changed is not None:
                held = posterior_y(tf.stop_gradient(q_y.logits))
                consistency = options.consistency_weight * tf.reduce_mean(held.kl_divergence(self.model.q_y(self.model.encoder(changed))))
                loss += consistency
            balance = tf.constant(0.0)
            if options.balance_weight > 0:
                balance = options.balance_weight * divergence_of_usage(q_y, self.model.prior.p_y())
                loss += balance
        upstream, gradients = tape.gradient(loss, (list(log_probs), _values(variables)), unconnected_gradients="zero")
        gradients = _dense(gradients)
        if chunks is not None:

            def pull_back(part: Proposal, factors: list[tf.Tensor]) -> list[tf.Tensor]:
                with tf.GradientTape() as inner:
                    inner.watch(_values(variables))
                    h = self.model.encoder(x)
                    values = self._evaluate(x, h, self.model.q_y(h), part, inner, again=True).log_probs
                return _dense(inner.gradient(list(values), _values(variables), factors, unconnected_gradients="zero"))

            gradients = chunks.total(pull_back, upstream, gradients)
        return StepResult(gradients, estimate, log_probs, q_y, consistency, balance)

    def _evaluate(
        self, x: tf.Tensor, h: tf.Tensor, q_y: Any, proposal: Proposal, tape: tf.GradientTape | None = None, again: bool = False
    ) -> Evaluated:
        """A proposal's samples and log-probabilities; what the objective needs of these is recorded on `tape`.

        `again`: for the sake of the tape alone; a log p(x|z) that it does not need stays 0, as the decoder is what costs.
        """
        options = self.options
        draw: Particles = self.model.particles(h, q_y, proposal, options.about_objective.reparameterizes_z)
        resampled = options.decoder_gradient == "resampled"
        if again and resampled:
            log_p_x = tf.zeros_like(draw.log_p_z)
        else:
            with tape.stop_recording() if tape is not None and resampled else contextlib.nullcontext():
                log_p_x = self.model.log_p_x(x, draw.z, options.forward_precision)
        return Evaluated(LogProbs(draw.log_p_y, draw.log_p_z, log_p_x, draw.log_q_y, draw.log_q_z), draw.z)

    def _estimate(self, log_probs: LogProbs, x: tf.Tensor) -> Estimate:
        control, control_network = Control(self.options.baseline), self.model.control_network
        if self.options.objective == "nvil" and control_network is not None:
            mean, variance = tf.convert_to_tensor(self.model.control_mean), tf.convert_to_tensor(self.model.control_variance)
            control = control._replace(prediction=control_network(x)[:, 0], mean=mean, variance=variance)
        return self._estimator(log_probs, control)

    def _values_to_report(self, result: StepResult, l2: tf.Tensor) -> dict[str, tf.Tensor]:
        q_y, log_probs, weights = result.q_y, result.log_probs, result.estimate.weights
        if not self.options.about_objective.enumerates_y:  # nvil's own are uniform
            weights = tf.nn.softmax(log_probs.log_p - log_probs.log_q, 0)
        bound = tf.reduce_mean(result.estimate.bound)
        usage = tf.reduce_mean(q_y.probs_parameter(), 0)

        def expected(values: tf.Tensor) -> tf.Tensor:  # over q(y, z|x), and the batch
            if self.options.about_objective.enumerates_y:
                return tf.reduce_mean(tf.reduce_sum(tf.exp(log_probs.log_q_y) * values, 0))
            return tf.reduce_mean(values)

        values = {
            "loss": l2 + result.consistency + result.balance - bound,
            "bound": bound,
            "log_p_x": expected(log_probs.log_p_x),
            "kl_y": tf.reduce_mean(q_y.kl_divergence(self.model.prior.p_y())),
            "kl_z": expected(log_probs.log_q_z - log_probs.log_p_z),
            "l2": l2,
            "consistency": result.consistency,
            "ess": tf.reduce_mean(1.0 / tf.reduce_sum(tf.square(weights), list(range(weights.shape.rank - 1)))),
            "assignment_entropy": tf.reduce_mean(q_y.entropy()),
            "mean_assignment_entropy": -tf.reduce_sum(tf.math.xlogy(usage, usage)),
        }
        return {name: tf.stop_gradient(value) for name, value in values.items()}


def divergence_of_usage(q_y: Any, p_y: Any) -> tf.Tensor:
    """KL(q(y) || p(y)) in nats, a scalar, where q(y) is the mean of q(y|x), a batch of B distributions of y.

    p(y) is held: where it is learned it would follow the clusters instead of holding them.
    """
    usage = tf.reduce_mean(q_y.probs_parameter(), 0)
    return tf.reduce_sum(tf.math.xlogy(usage, usage) - usage * tf.nn.log_softmax(tf.stop_gradient(p_y.logits_parameter())))


def _values(variables: list[Any]) -> list[Any]:
    return [v.value for v in variables]


def _dense(gradients: list[Any]) -> list[tf.Tensor]:
    # tf.gather gives one slice a row; Adam and the norm would take squares of slices, not of their sums.
    return [tf.convert_to_tensor(g) for g in gradients]
