"""NVISA's initialization from clusters among the codes of networks that were trained before it, in place of random weights.

An autoencoder is made of the model's own parts: the encoder's trunk, a linear code head and the decoder's mean. A mixture is fitted to
its codes; q(y|x) is taught the mixture's responsibilities (distillation), q(z|y,x) gives the code, p(z|y) is the mixture's component, so
that annealing can begin at a small eps, with clusters already there. VaDE (Jiang et al., IJCAI 2017) begins likewise; Li et al. (IJCNN
2020) report 98.04 +- 0.17 on MNIST from it. With init "contrastive" the clusters are found among the codes of a contrastive network, which
do not depend on how an image is changed, and with "mutual_information", "contrastive_information", "best_information" or
"neighbor_information" a network gives them; the mixture is then of the autoencoder's codes in these clusters. No label is looked at but for
scores.

Shapes: n examples, B of a batch, K clusters, D latent dimensions, H units of the trunk's last layer, d values an example.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.metrics import clustering_scores
from nvisa_tf.clustering.mixtures import Mixture, check_installed, fit_mixture, given_clusters, spread_part, spread_rows
from nvisa_tf.config.neighbors import NeighborInformationOptions
from nvisa_tf.config.nvisa import NVISAOptions
from nvisa_tf.config.presets import PRESETS
from nvisa_tf.config.run import TrainConfig
from nvisa_tf.data import Dataset
from nvisa_tf.layers.augmentation import Augmentation, augment
from nvisa_tf.layers.graphs import graph_of
from nvisa_tf.layers.networks import LatentHead
from nvisa_tf.layers.priors import inverse_softplus
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.keras_model import check_images, weights_of
from nvisa_tf.models.mutual_information import MutualInformationStage
from nvisa_tf.models.neighbor_heads import LinearClusters, NeighborStage
from nvisa_tf.models.neighbor_objective import NeighborInformation
from nvisa_tf.models.nvisa.information import JUDGED, TRIED, information_stage
from nvisa_tf.models.nvisa.training import set_starting_eps
from nvisa_tf.models.pretraining import AutoencoderStage, ContrastiveStage, augmentation_of, held_out_part, rescale
from nvisa_tf.models.stage import AdamStage, derived_seed, steps_per_epoch

if TYPE_CHECKING:
    from nvisa_tf.models.nvisa.model import NVISA

ClusterFinder = AutoencoderStage | ContrastiveStage | MutualInformationStage | NeighborStage
OF_CONTRASTIVE = {"contrastive": "balanced", "contrastive_communities": "communities"}  # how codes are cut into clusters
MAX_EXAMPLES = 60_000  # that the mixture is fitted to and q(y|x) is taught on
LEAST_STEPS = 500  # of the other stages, where few examples make an epoch short
DISTILLATION_EPOCHS = 10
AGREED_STEPS = 1_500  # of distillation at least, where networks of other widths agreed on the clusters: there is more to teach
CONTRASTIVE_BATCH = 512  # an image is to be found among twice as many
CODE_SD = 0.1  # of q(z|y,x), beside eps, where the codes have a standard deviation of 1


def initialization_stages(model: NVISA, data: TrainingData, options: NVISAOptions, train: TrainConfig) -> list[TrainingStage]:
    """The autoencoder, the networks that find the clusters if it does not, and distillation; everything is drawn from the run's seed.

    Args:
      model: its preprocessing set; its networks and its prior are changed.
      data: what to learn from, and what is scored.
      options, train: of the run.

    Raises:
      ValueError: `init` needs a package that is not installed, or images, and these are vectors.
    """
    check_installed(options.init)
    check_images(options, data.train)
    common: dict[str, Any] = {
        "epochs": options.init_epochs,
        "least_steps": LEAST_STEPS,
        "learning_rate": 1e-3,
        "held_out": held_out_part(data) if train.stop_early else None,
        "xla": train.xla,
    }
    autoencoder = AutoencoderStage(
        model,
        data.train,
        seed=derived_seed(train.seed, 0),
        shuffle_seed=derived_seed(train.seed, 1),
        augmentation=augmentation_of(options),
        bernoulli=model.config.likelihood == "bernoulli",
        batch_size=train.batch_size,
        **common,
    )
    found_by: list[ClusterFinder] = [autoencoder]
    keep = {"model": model, "head": autoencoder.head}
    taught_by = None
    if options.init in (*OF_CONTRASTIVE, "contrastive_information", "best_information"):
        taught_by = ContrastiveStage(
            model,
            data.train,
            seed=derived_seed(train.seed, 6),
            shuffle_seed=derived_seed(train.seed, 7),
            augmentation=Augmentation.from_config(options),
            keep=keep,
            batch_size=CONTRASTIVE_BATCH,
            **common,
        )
        found_by.append(taught_by)
    if options.init in TRIED:
        found_by.append(information_stage(model, data, options, train, keep, taught_by))
    if options.init == "neighbor_information":
        found_by.append(neighbor_stage(model, data, train, keep))
    return [*found_by, DistillationStage(model, data, options, train, autoencoder, found_by[-1])]


def neighbor_stage(model: NVISA, data: TrainingData, train: TrainConfig, keep: dict[str, Any]) -> NeighborStage:
    """Linear heads that answer alike for neighbours, with the options of the preset "neighbor_information"."""
    options, config = PRESETS["neighbor_information"], model.config
    of_heads = NeighborInformationOptions(input_shape=config.input_shape, latent_dim=options["latent_dim"])
    return NeighborStage(
        "neighbor_information",
        model.preprocess,
        LinearClusters(derived_seed(train.seed, 32), config.input_dim, of_heads.n_components, config.n_clusters),
        data,
        objective=NeighborInformation(of_heads.n_heads, config.n_clusters, of_heads.balance_exponent),
        n_heads=of_heads.n_heads,
        n_neighbors=of_heads.n_neighbors,
        by_direction=config.unit_length,
        seeds=[derived_seed(train.seed, use) for use in (2, 3, 30, 31)],
        keep=keep,
        xla=train.xla,
        **{name: options[name] for name in ("epochs", "batch_size", "learning_rate")},
    )


class DistillationStage(AdamStage):
    """Fits a mixture to the codes, and teaches q(y|x) its responsibilities while the mean of q(z|y,x) stays the code.

    The loss is the cross-entropy, of the examples and, with augmentation, of their changed images too, plus half the squared distance of
    the mean, at the likeliest y, from the code.

    Args:
      model: whose trunk and heads are trained, and whose prior and scales are set.
      data: what to learn from, and what is scored.
      options, train: of the run.
      autoencoder: whose codes q(z|y,x) is to give.
      found_by: whose codes the clusters are found among, or whose clusters they are.
    """

    def __init__(
        self,
        model: NVISA,
        data: TrainingData,
        options: NVISAOptions,
        train: TrainConfig,
        autoencoder: AutoencoderStage,
        found_by: ClusterFinder,
    ) -> None:
        self.model, self._data, self._options = model, data, options
        self._autoencoder, self._found_by = autoencoder, found_by
        self._augmentation = augmentation_of(options)
        self._run_seed = train.seed
        self._part = spread_part(data.train, MAX_EXAMPLES, derived_seed(train.seed, 2))
        super().__init__(
            "distillation",
            np.arange(len(self._part), dtype=np.int32),
            weights_of(model.encoder, model.cluster_head, model.latent_head),
            batch_size=train.batch_size,
            epochs=DISTILLATION_EPOCHS,
            least_steps=AGREED_STEPS if options.init in TRIED else LEAST_STEPS,
            shuffle_seed=derived_seed(train.seed, 4),
            seed=derived_seed(train.seed, 5),
            learning_rate=1e-3,
            stop_early=train.stop_early,
            xla=train.xla,
        )

    # Made when they are first needed, which in a run that is past this stage is never; init_scope, as that may be within a graph.

    @functools.cached_property
    def _examples(self) -> tf.Variable:
        with tf.init_scope():
            return tf.Variable(np.asarray(self._part.x), trainable=False)

    @functools.cached_property
    def responsibilities(self) -> tf.Variable:
        """What q(y|x) is taught, [n, K]."""
        with tf.init_scope():
            return tf.Variable(tf.zeros([len(self._part), self.model.config.n_clusters]), trainable=False)

    @functools.cached_property
    def codes(self) -> tf.Variable:
        """What the mean of q(z|y,x) is to be, [n, D]."""
        with tf.init_scope():
            return tf.Variable(tf.zeros([len(self._part), self.model.config.latent_dim]), trainable=False)

    def begin(self) -> None:
        """Fit the mixture, and give the model its components, the codes and the scales.

        Raises:
          ValueError: the codes are not finite or all the same, or the posterior has no room for them.
        """
        model, options, part, test = self.model, self._options, self._part, self._data.test
        codes = rescale(model.decoder, self._autoencoder.head, self._autoencoder.codes(part))
        self._data.tell(f"{options.init}: {len(part)} codes")
        mixture, predict = self._find(codes)
        # Where clusters were found to be of any size, p(y) says how large; else it is uniform, unless it is to be learned.
        of_any_size = self._found_by.report.get("clusters") == "linked" or options.init == "contrastive_communities"
        has_sizes = options.learn_prior_weights or of_any_size
        model.prior.set_mixture(mixture.weights if has_sizes else None, mixture.means, mixture.variances)
        give_code(model.latent_head, self._autoencoder.head)
        set_starting_eps(model, options)
        set_scale(model, part, codes)
        self.responsibilities.assign(mixture.responsibilities)
        self.codes.assign(codes)
        found_by = self._found_by
        epochs = found_by.total_steps / steps_per_epoch(len(found_by.x), found_by.batch_size)
        self.report = {**found_by.report, "method": options.init, "epochs": round(epochs, 2), "examples": len(part)}
        if mixture.log_likelihood is not None:
            self.report["log_likelihood"] = mixture.log_likelihood
        if test.y is not None:
            self.report.update(clustering_scores(test.y, predict(test))._asdict())

    def _find(self, codes: np.ndarray) -> tuple[Mixture, Callable[[Dataset], np.ndarray]]:
        """The clusters as components among the autoencoder's codes [n, D], and a function that gives the clusters of examples."""
        found_by, part = self._found_by, self._part
        if isinstance(found_by, MutualInformationStage | NeighborStage):
            answer = found_by if isinstance(found_by, NeighborStage) else found_by.choose_answer(part)
            return given_clusters(codes, answer.probabilities(part)), lambda data: answer.probabilities(data).argmax(1)
        seed, n_clusters = derived_seed(self._run_seed, 3), self.model.config.n_clusters
        if isinstance(found_by, ContrastiveStage):
            mixture = fit_mixture(found_by.codes(part), n_clusters, OF_CONTRASTIVE[self._options.init], seed).among(codes)
        else:
            mixture = fit_mixture(codes, n_clusters, self._options.init, seed)
        return mixture, lambda data: mixture.predict(found_by.codes(data).astype(np.float64))

    def train_step(self, batch: tf.Tensor) -> None:
        """One step of Adam on the examples with these numbers, integers [B]."""
        target, x = tf.gather(self.responsibilities, batch), tf.gather(self._examples, batch)
        changed = None
        if self._augmentation is not None:
            changed = self.model.preprocess(augment(x, self.step_seed(), self._augmentation, fused=self.fused))
        with tf.GradientTape() as tape:
            h = self.model.encoder(self.model.preprocess(x))
            q_y = self.model.q_y(h)
            code = self.model.q_z(h, tf.argmax(target, -1)).mean()
            entropy = tf.nn.softmax_cross_entropy_with_logits(target, q_y.logits)
            if changed is not None:
                logits = self.model.cluster_head(self.model.encoder(changed))
                entropy += tf.nn.softmax_cross_entropy_with_logits(target, logits)
            loss = tf.reduce_mean(entropy + 0.5 * tf.reduce_sum(tf.square(code - tf.gather(self.codes, batch)), 1))
        self.learn(tape, loss)

    measured = "disagreement"

    def measure(self) -> float:
        """The share of up to `JUDGED` examples whose likeliest cluster is not the one that is taught."""
        rows = spread_rows(len(self._part), JUDGED, 0)
        taught = self.responsibilities.numpy()[rows].argmax(1)
        return float(np.mean(self.model.predict_clusters(np.asarray(self._part.x[rows])) != taught))

    def finish(self) -> None:
        """Score q(y|x) as it was taught."""
        test = self._data.test
        if test.y is not None:
            self.report["distilled_accuracy"] = clustering_scores(test.y, self.model.predict_clusters(test.x)).accuracy

    def checkpointables(self) -> dict[str, Any]:
        """The model and what it is taught, beside what teaches it."""
        taught = {"responsibilities": self.responsibilities, "codes": self.codes}
        return {**super().checkpointables(), **taught, "model": self.model}


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
        raise ValueError(f"posterior_units is {units}; an initialization from an autoencoder needs at least twice latent_dim, {2 * dim}.")
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
    latent_head.raw_scale.bias.assign(np.full(dim, inverse_softplus(CODE_SD)))


def set_scale(model: NVISA, data: Dataset, codes: np.ndarray) -> None:
    """Make sigma_x, with the model's eps, the autoencoder's root mean square error of each value, or 1.1 eps where that is less.

    `codes` [n, D] are those of `data` on the scale that the decoder takes.
    """
    scale_weights = model.decoder.raw_scale if model.decoder.scale_net is None else model.decoder.scale_net.bias
    if scale_weights is None:  # Bernoulli
        return

    def squares(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.square(model.preprocess(x) - model.decoder(z)[0]), 0)

    summed = graph_of(squares, reduce_retracing=True, autograph=False)
    sums = [summed(tf.constant(x), tf.constant(codes[start : start + len(x)])).numpy() for start, x in data.chunks()]
    error = np.sqrt(np.sum(sums, 0, dtype=np.float64) / len(data))
    eps = float(model.eps_x.numpy())
    scale_weights.assign(inverse_softplus(np.maximum(error - eps, 0.1 * eps)))
    if model.decoder.scale_net is not None:
        model.decoder.scale_net.kernel.assign(tf.zeros_like(model.decoder.scale_net.kernel))
