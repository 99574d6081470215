"""Variational autoencoders with a reparameterized z: what VAE+GMM, VaDE, LTVAE and GMVAE share.

p(x|z) is Gaussian or Bernoulli, q(z|x) Gaussian with a diagonal covariance (Kingma & Welling, ICLR 2014, arXiv 1312.6114).

Shapes: B examples, M samples, D latent dimensions, d values of an example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.metrics import clustering_scores
from nvisa_tf.clustering.mixtures import Gaussians, fit_gaussians, spread_part
from nvisa_tf.config.run import TrainConfig
from nvisa_tf.config.vae import VAEConfig
from nvisa_tf.layers import distributions as dist
from nvisa_tf.layers.augmentation import augment
from nvisa_tf.layers.networks import LayerFactory
from nvisa_tf.layers.priors import inverse_softplus
from nvisa_tf.models import density
from nvisa_tf.models.autoencoding import AutoencodingNetwork
from nvisa_tf.models.base import TrainingData
from nvisa_tf.models.keras_model import weights_of
from nvisa_tf.models.pretraining import augmentation_of, rescale
from nvisa_tf.models.stage import GradientStage, derived_seed

LEAST_POSTERIOR_SD = 1e-4
MAX_EXAMPLES = 60_000  # that a first mixture is fitted to
CODE_SD = 0.1  # of q(z|x) then, where the codes have a standard deviation of 1


class VAENetwork(AutoencodingNetwork):
    """An encoder that gives q(z|x), and a decoder that gives p(x|z); `code_head` gives the mean of q(z|x).

    Args:
      config: a `VAEConfig` with `input_shape` set.
      seed: of the initial weights.
    """

    capabilities = frozenset({"embed", "reconstruct", "generate", "density"})
    config: VAEConfig

    def scale_of_decoder(self, config: VAEConfig) -> str:
        """One standard deviation for each value, which Bernoulli has not."""
        return "per_dimension" if config.likelihood == "gaussian" else "none"

    def make_parts(self, factory: LayerFactory) -> None:
        """The head that gives the scale of q(z|x); a subclass adds the prior."""
        self.scale_head = factory.dense(self.config.latent_dim, "code_scale")

    def build_parts(self) -> None:
        """Its weights, and the prior's."""
        self.scale_head.build(self.encoder.output_shape)
        super().build_parts()

    def q_z(self, h: tf.Tensor) -> Any:
        """q(z|x) from the trunk's features h, [B, H]."""
        return dist.posterior_z(self.code_head(h), self.scale_head(h), tf.constant(LEAST_POSTERIOR_SD))

    def p_x(self, z: tf.Tensor) -> Any:
        """p(x|z) on the model's scale. z: [..., D]."""
        loc, raw_scale = self.decoder(z)
        if raw_scale is None:
            return dist.bernoulli_x(loc)
        return dist.gaussian_x(loc, raw_scale, tf.constant(self.config.least_sd))

    def decoded_mean(self, z: tf.Tensor) -> tf.Tensor:
        """The mean of p(x|z) on the model's scale, [n, d]; z: [n, D]."""
        return self.p_x(z).mean()

    def log_p_z(self, z: tf.Tensor) -> tf.Tensor:
        """log p(z), nats, [...]; z: [..., D]."""
        raise NotImplementedError

    def raw_log_weights(self, x: tf.Tensor, gumbel: tf.Tensor, normal: tf.Tensor) -> tf.Tensor:
        """log p(x, z_m) - log q(z_m|x), nats, [M, B].

        Args:
          x: raw examples [B, *input_shape].
          gumbel: not looked at, as y is summed over.
          normal: standard normal, [M, B, D].
        """
        scaled = self.preprocess(x)
        q_z = self.q_z(self.encoder(scaled))
        z = dist.location_scale_sample(q_z, normal)
        return self.p_x(z).log_prob(scaled) + self.log_p_z(z) - q_z.log_prob(z)

    def score_samples(self, x: Any, n_samples: int | None = None, seed: int = 0, *, return_std: bool = False) -> Any:
        """The importance-weighted bound of each example, nats, float64 [n]; see `nvisa_tf.models.density.score_samples`."""
        scores = density.score_samples(self, x, n_samples, seed)
        return tuple(scores) if return_std else scores.bound

    def networks(self) -> list[Any]:
        """Encoder, both heads and decoder."""
        return [*super().networks(), self.scale_head]

    def shapes_of_weights(self) -> dict[str, Any]:
        """The networks' part of the configuration, and whether the decoder has scales."""
        return {**super().shapes_of_weights(), "likelihood": self.config.likelihood}


class VAEStage(GradientStage):
    """Trains by the evidence lower bound, with one reparameterized sample of z for each example.

    Args:
      name: of the stage.
      model: what is trained.
      data: what to learn from, and what is scored.
      options, train: of the run; the options are a `VAEConfig`.
      weights: what is trained; a subclass's prior may be among them.
      **stage: epochs, and the optimizer.
    """

    metric_groups: Mapping[str, Sequence[str]] = {
        "bound": ("loss", "held_out_iw_bound"),
        "gradient": ("learning_rate", "nonfinite_steps"),
    }

    def __init__(
        self, name: str, model: VAENetwork, data: TrainingData, options: VAEConfig, train: TrainConfig, weights: list[Any], **stage: Any
    ) -> None:
        super().__init__(
            name,
            data.train.x,
            weights,
            batch_size=train.batch_size,
            shuffle_seed=derived_seed(train.seed, 6),
            seed=derived_seed(train.seed, 7),
            xla=train.xla,
            **stage,
        )
        self.model, self._options, self._run_seed = model, options, train.seed
        self._augmentation = augmentation_of(options)

    def train_step(self, batch: tf.Tensor) -> None:
        """One gradient step on raw examples [B, *input_shape]."""
        seeds = tf.random.split(self.step_seed(), 2)
        if self._augmentation is not None:
            batch = augment(batch, seeds[0], self._augmentation, fused=self.fused)
        x = self.model.preprocess(batch)
        noise = tf.random.stateless_normal([tf.shape(x)[0], self.model.n_normals], seeds[1])
        with tf.GradientTape() as tape:
            bound, z = self.bound_and_sample(x, noise)
            loss = -tf.reduce_mean(bound)
        self.learn(tape, loss)
        self.after_step(z)

    def after_step(self, z: tf.Tensor) -> None:
        """What else a step does with its samples of q(z|x), [B, D]: nothing, unless a method says more."""

    def bound(self, x: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """The evidence lower bound of each example, nats, [B].

        Args:
          x: examples on the model's scale, [B, d].
          noise: standard normal, [B, D], or as many values as the model's `n_normals`.
        """
        return self.bound_and_sample(x, noise)[0]

    def bound_and_sample(self, x: tf.Tensor, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The bound [B] and the samples of z that it is from [B, D]; arguments as `bound`."""
        q_z = self.model.q_z(self.model.encoder(x))
        z = dist.location_scale_sample(q_z, noise)
        return self.model.p_x(z).log_prob(x) - self.divergence(q_z, z), z

    def divergence(self, q_z: Any, z: tf.Tensor) -> tf.Tensor:
        """What the posterior costs, nats, [B]; q_z: batch [B]; z: its sample, [B, D]."""
        raise NotImplementedError

    def held_out(self, x: np.ndarray) -> dict[str, float]:
        """The importance-weighted bound."""
        return {"held_out_iw_bound": float(self.model.score_samples(x, self._options.eval_samples, self._run_seed).mean())}

    def checkpointables(self) -> dict[str, Any]:
        """The model beside what trains it."""
        return {**super().checkpointables(), "model": self.model}


class MixtureFirstStage(VAEStage):
    """A stage that begins with a mixture of an autoencoder's codes; the options are a `PretrainingConfig` too.

    Args:
      data: what to learn from, and what is scored.
      name, model, options, train, weights, **stage: as for `VAEStage`.

    Attributes:
      first_covariance: of the mixture's components, "full" or "diag".
    """

    first_covariance = "full"  # codes of a class lie along any direction: VaDE on MNIST began with 94.6%, and with "diag" with 79.9%
    _options: Any

    def __init__(self, name: str, model: VAENetwork, data: TrainingData, *args: Any, **stage: Any) -> None:
        super().__init__(name, model, data, *args, **stage)
        self._data = data

    def begin(self) -> None:
        """Bring the codes to a standard deviation of 1, fit a mixture, take it for the prior, and give q(z|x) a small scale.

        A run with `init_from` and without an autoencoder goes on from the prior that it was given.

        Raises:
          ValueError: the codes are not finite, or all the same.
        """
        model, test = self.model, self._data.test
        self.report = {"method": self.name}
        if self._options.has_autoencoder:
            fit, codes, about = mixture_of_codes(model, self._data, self.name, self._run_seed, self.first_covariance)
            self.first_prior(fit, codes)
            self.report.update(about)
        if test.y is not None:
            self.report.update(clustering_scores(test.y, model.predict_clusters(test.x))._asdict())

    def first_prior(self, fit: Gaussians, codes: np.ndarray) -> None:
        """Set the prior by a mixture of the codes [n, D]."""
        raise NotImplementedError


def weights_of_vae(model: VAENetwork) -> list[Any]:
    """The trainable weights of encoder, heads and decoder."""
    return weights_of(model.encoder, model.code_head, model.scale_head, model.decoder)


def mixture_of_codes(
    model: VAENetwork, data: TrainingData, name: str, run_seed: int, covariance: str
) -> tuple[Gaussians, np.ndarray, dict[str, Any]]:
    """Bring an autoencoder's codes to a standard deviation of 1, fit a mixture to them, and give q(z|x) a small scale.

    Args:
      model: whose trunk, code head and decoder are the autoencoder.
      data: what to learn from.
      name: of the stage that begins, for the report.
      run_seed: of the run.
      covariance: of the mixture's components, "full" or "diag".

    Returns:
      The mixture, the codes [n, D], and what belongs into the stage's report, plain values.

    Raises:
      ValueError: the codes are not finite, or all the same.
    """
    part = spread_part(data.train, MAX_EXAMPLES, derived_seed(run_seed, 2))
    codes = rescale(model.decoder, model.code_head, model.embed(part.x))
    data.tell(f"{name}: {len(part)} codes")
    fit = fit_gaussians(codes, model.config.n_clusters, covariance, derived_seed(run_seed, 3))
    model.scale_head.kernel.assign(tf.zeros_like(model.scale_head.kernel))
    model.scale_head.bias.assign(np.full(model.config.latent_dim, inverse_softplus(CODE_SD)))
    return fit, codes, {"examples": len(part), "log_likelihood": fit.log_likelihood}
