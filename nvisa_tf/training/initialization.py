"""A start from a pretrained autoencoder and a mixture fitted to its codes, in place of random weights.

The autoencoder is made of the model's own parts: the encoder's trunk, a linear code head and the decoder's mean. A mixture is fitted to
its codes; q(y|x) is taught the mixture's responsibilities, q(z|y,x) gives the code, p(z|y) is the mixture's component, so that
annealing can begin at a small eps, with clusters already there. VaDE (Jiang et al., IJCAI 2017) starts likewise; Li et al. (IJCNN 2020)
report 98.04 +- 0.17 on MNIST from it. With init "contrastive" the clusters are found among the codes of a contrastive network, which do not
depend on how an image is changed, and the mixture is of the autoencoder's codes in these clusters. No label is looked at but for scores.

Shapes: n examples, B of a batch, K clusters, D latent dimensions, H units of the trunk's last layer, d values an example.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from nvisa_tf.augmentation import Augmentation
from nvisa_tf.config import TrainConfig
from nvisa_tf.data import Dataset
from nvisa_tf.evaluation import clustering_scores
from nvisa_tf.mixtures import Mixture, fit_mixture, spread_rows
from nvisa_tf.model import NVISA
from nvisa_tf.networks import Decoder, LatentHead, MixturePrior
from nvisa_tf.training.batches import step_runner, steps_per_epoch
from nvisa_tf.training.learners import Autoencoder, ContrastiveNetwork, Learner, Teacher

MAX_EXAMPLES = 60_000  # that the mixture is fitted to and q(y|x) is taught on
LEAST_STEPS = 500  # of every part of a start, where few examples make an epoch short
TEACHING_EPOCHS = 10
CONTRASTIVE_BATCH = 512  # an image is to be found among twice as many
CODE_SD = 0.1  # of q(z|y,x), beside eps, where the codes have a standard deviation of 1


class Course(NamedTuple):
    """How steps are run, and who is told: `config`; `tell` of how it goes; `stopped`, whether to end at once."""

    config: TrainConfig
    tell: Callable[[str], None] = lambda message: None
    stopped: Callable[[], Any] = lambda: False

    def seed(self, use: int) -> int:
        """One of the seeds that derive from the run's, below 2**31; every use has its own."""
        return int(np.random.SeedSequence([self.config.seed, 0x1217, use]).generate_state(1)[0] >> 1)

    def steps_per_epoch(self, n_examples: int) -> int:
        """Steps in an epoch over so many examples."""
        return steps_per_epoch(n_examples, min(self.config.batch_size, n_examples))

    def epochs(self, n_examples: int, least: int) -> int:
        """So many epochs at least, and `LEAST_STEPS` steps."""
        return max(least, math.ceil(LEAST_STEPS / self.steps_per_epoch(n_examples)))

    def run(self, learner: Learner, x: Any, epochs: int, seed: int, name: str) -> bool:
        """Train `learner` on `x`, shuffled by the seed; False when it was stopped."""
        config, per_epoch, every = self.config, self.steps_per_epoch(len(x)), max(1, epochs // 5)
        run_steps = step_runner(
            learner,
            x,
            batch_size=config.batch_size,
            seed=seed,
            pipeline=config.pipeline,
            total_steps=epochs * per_epoch,
            xla=config.xla,
        )
        for epoch in range(1, epochs + 1):
            for first in range(0, per_epoch, config.steps_per_call):
                if self.stopped():
                    return False
                run_steps(min(config.steps_per_call, per_epoch - first))
            if epoch % every == 0:
                self.tell(f"{name}: epoch {epoch} of {epochs}, loss {float(learner.loss.result()):.4g}")
            learner.loss.reset_state()
        return True


def pretrain(model: NVISA, train: Dataset, course: Course) -> Autoencoder | None:
    """An autoencoder of the model's parts, trained for `init_epochs` of `train`, or `LEAST_STEPS`; None when it was stopped."""
    config, epochs = course.config, course.epochs(len(train), course.config.init_epochs)
    total = epochs * course.steps_per_epoch(len(train))
    augmentation = _augmentation(config)
    if augmentation is not None:  # an image too bright would be asked for, which a Bernoulli likelihood cannot give
        augmentation = augmentation._replace(brightness=0.0)
    autoencoder = Autoencoder(model, course.seed(0), total, augmentation)
    return autoencoder if course.run(autoencoder, train.x, epochs, course.seed(1), "autoencoder") else None


def contrast(model: NVISA, train: Dataset, course: Course) -> ContrastiveNetwork | None:
    """A contrastive network trained for `init_epochs` of `train`, or `LEAST_STEPS`; None when it was stopped."""
    course = course._replace(config=dataclasses.replace(course.config, batch_size=CONTRASTIVE_BATCH))
    epochs = course.epochs(len(train), course.config.init_epochs)
    total = epochs * course.steps_per_epoch(len(train))
    network = ContrastiveNetwork(model, course.seed(6), total, Augmentation.from_config(course.config))
    return network if course.run(network, train.x, epochs, course.seed(7), "contrastive network") else None


def check_images(config: TrainConfig, shape: tuple[int, ...]) -> None:
    """Raise ValueError where examples of this shape are vectors, and what is asked for changes images."""
    if config.image_changers and len(shape) < 2:
        what = " and ".join(config.image_changers)
        raise ValueError(f"These examples are vectors, and images are what {what} would change; use another preset or init.")


def initialize(model: NVISA, train: Dataset, test: Dataset, course: Course) -> dict[str, Any] | None:
    """Start `model` from an autoencoder and a mixture, as the configuration's `init` says, with everything drawn from its seed.

    Args:
      model: its preprocessing set; its networks and its prior are changed.
      train: what to learn from; its labels are not looked at.
      test: whose labels, if there are any, score the mixture and the start.
      course: the configuration, and who is told.

    Returns:
      Plain values for the report: scores of the mixture on the test examples in "accuracy", "nmi" and "ari", and of
      the start, which is q(y|x) as it was taught, in "start_accuracy"; None when it was stopped.

    Raises:
      ValueError: the codes are not finite or all the same, the posterior has no room for them, or the examples are not what `init` needs.
    """
    began, config = time.monotonic(), course.config
    check_images(config, train.shape)
    autoencoder = pretrain(model, train, course)
    if autoencoder is None:
        return None
    found_by = contrast(model, train, course) if config.init == "contrastive" else autoencoder
    if found_by is None:
        return None
    part = train.take(spread_rows(len(train), MAX_EXAMPLES, course.seed(2)))
    codes = rescale(autoencoder, autoencoder.codes(part))
    course.tell(f"{config.init}: {len(part)} codes")
    if isinstance(found_by, ContrastiveNetwork):
        unit_codes = found_by.codes(part)
        if not np.isfinite(unit_codes).all():
            raise ValueError("The contrastive network's codes are not finite; start with another init, or rescale the data.")
        mixture = fit_mixture(unit_codes, model.config.n_clusters, "balanced", course.seed(3)).among(codes)
    else:
        mixture = fit_mixture(codes, model.config.n_clusters, config.init, course.seed(3))
    copy_mixture(model.prior, mixture)
    give_code(model.latent_head, autoencoder.head)
    for eps, name in ((model.eps_x, "x"), (model.eps_z, "z")):
        eps.assign(config.eps_start if config.anneal in ("both", name) else config.eps_floor)
    start_scale(model, part, codes)
    report: dict[str, Any] = {"method": config.init, "epochs": config.init_epochs, "examples": len(part)}
    if mixture.log_likelihood is not None:
        report["log_likelihood"] = mixture.log_likelihood
    if test.y is not None:
        report.update(clustering_scores(test.y, mixture.predict(found_by.codes(test).astype(np.float64)))._asdict())
    if not teach(model, part, mixture.responsibilities, codes, course):
        return None
    if test.y is not None:
        report["start_accuracy"] = clustering_scores(test.y, model.predict_clusters(test.x)).accuracy
    report["minutes"] = (time.monotonic() - began) / 60
    return report


def teach(model: NVISA, data: Dataset, responsibilities: np.ndarray, codes: np.ndarray, course: Course) -> bool:
    """Teach q(y|x) the responsibilities [n, K] of `data`, and keep the mean of q(z|y,x) at the codes [n, D]; False when it was stopped."""
    epochs = course.epochs(len(data), TEACHING_EPOCHS)
    total = epochs * course.steps_per_epoch(len(data))
    teacher = Teacher(model, np.asarray(data.x), responsibilities, codes, total, course.seed(5), _augmentation(course.config))
    return course.run(teacher, np.arange(len(data), dtype=np.int32), epochs, course.seed(4), "q(y|x)")


def rescale(autoencoder: Autoencoder, codes: np.ndarray) -> np.ndarray:
    """Bring the codes [n, D] to mean 0 and a standard deviation of 1 over all dimensions together, and the weights with them.

    The code head gives the new codes and the decoder's first layer takes them, so that nothing changes behind it.

    Raises:
      ValueError: the codes are not finite, or all the same.
    """
    shift = codes.mean(0, dtype=np.float64)
    scale = math.sqrt(np.mean((codes - shift) ** 2, dtype=np.float64))
    if not np.isfinite(scale) or scale == 0:
        raise ValueError(f"The autoencoder's codes have a standard deviation of {scale:g}; start with init random, or rescale the data.")
    kernel, bias = autoencoder.head.kernel, autoencoder.head.bias
    kernel.assign(kernel / scale)
    bias.assign((bias - shift) / scale)
    for layer in _layers_of_z(autoencoder.model.decoder):
        layer.bias.assign(layer.bias + tf.linalg.matvec(layer.kernel, tf.cast(shift, tf.float32), transpose_a=True))
        layer.kernel.assign(layer.kernel * scale)
    return ((codes - shift) / scale).astype(np.float32)


def copy_mixture(prior: MixturePrior, mixture: Mixture) -> None:
    """Make p(z|y) the mixture's components, of diagonal covariance, and p(y), if it is learned, its weights."""
    prior.loc.assign(mixture.means)
    prior.raw_scale.assign(_raw(np.sqrt(mixture.variances)))
    if prior.logits.trainable:
        prior.logits.assign(np.log(np.maximum(mixture.weights, 1e-6)))


def give_code(latent_head: LatentHead, code_head: Any) -> None:
    """Make the mean of q(z|y,x) the linear code h @ kernel + bias for every y, exactly, and its scale `CODE_SD`.

    As leaky_relu(a) - leaky_relu(-a) = 1.2 a for a slope of 0.2, 2 D units of the hidden layer carry the code. The others
    keep their weights and begin without any effect, and so does y.

    Raises:
      ValueError: the hidden layer has fewer than 2 D units.
    """
    kernel, bias = code_head.kernel.numpy(), code_head.bias.numpy()
    units, dim = latent_head.loc.kernel.shape
    if units < 2 * dim:
        raise ValueError(f"posterior_units is {units}; a start from an autoencoder needs at least twice latent_dim, {2 * dim}.")
    hidden_kernel, hidden_bias = latent_head.hidden.kernel.numpy(), latent_head.hidden.bias.numpy()
    hidden_kernel[:, : 2 * dim] = np.concatenate([kernel, -kernel], 1)
    hidden_bias[: 2 * dim] = np.concatenate([bias, -bias])
    loc = np.zeros((units, dim), np.float32)
    loc[: 2 * dim] = np.concatenate([np.eye(dim), -np.eye(dim)]) / 1.2
    latent_head.hidden.kernel.assign(hidden_kernel)
    latent_head.hidden.bias.assign(hidden_bias)
    latent_head.loc.kernel.assign(loc)
    latent_head.loc.bias.assign(np.zeros(dim))
    if latent_head.cluster is not None:
        latent_head.cluster.kernel.assign(tf.zeros_like(latent_head.cluster.kernel))
    latent_head.raw_scale.kernel.assign(tf.zeros_like(latent_head.raw_scale.kernel))
    latent_head.raw_scale.bias.assign(np.full(dim, _raw(CODE_SD)))


def start_scale(model: NVISA, data: Dataset, codes: np.ndarray) -> None:
    """Make sigma_x, with the model's eps, the autoencoder's root mean square error of each value, or 1.1 eps where that is less.

    `codes` [n, D] are those of `data` on the scale that the decoder takes.
    """
    scale_weights = model.decoder.raw_scale if model.decoder.scale_net is None else model.decoder.scale_net.bias
    if scale_weights is None:  # Bernoulli
        return

    @tf.function(reduce_retracing=True, autograph=False)
    def squares(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.square(model.preprocess(x) - model.decoder(z)[0]), 0)

    sums = [squares(tf.constant(x), tf.constant(codes[start : start + len(x)])).numpy() for start, x in data.chunks()]
    error = np.sqrt(np.sum(sums, 0, dtype=np.float64) / len(data))
    eps = float(model.eps_x.numpy())
    scale_weights.assign(_raw(np.maximum(error - eps, 0.1 * eps)))
    if model.decoder.scale_net is not None:
        model.decoder.scale_net.kernel.assign(tf.zeros_like(model.decoder.scale_net.kernel))


def _augmentation(config: TrainConfig) -> Augmentation | None:
    return Augmentation.from_config(config) if config.augment else None


def _layers_of_z(decoder: Decoder) -> list[Any]:
    dense = [layer for layer in decoder.trunk.layers if isinstance(layer, keras.layers.Dense)]
    mean = decoder.loc.layers[0] if isinstance(decoder.loc, keras.Sequential) else decoder.loc
    return dense[:1] or [layer for layer in (mean, decoder.scale_net) if layer is not None]


def _raw(scale: Any) -> Any:
    """The inverse of softplus."""
    return np.log(np.expm1(scale))
