"""Every method as a scikit-learn clusterer: arrays in, labels out, everything in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from nvisa_tf.clustering.metrics import cluster_sizes
from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.number_of_clusters import limits_of
from nvisa_tf.config.presets import automatic, for_features, method_of, preset
from nvisa_tf.config.run import WITHOUT_INITIALIZATION, DataConfig, RunConfig, section_of, without_initialization
from nvisa_tf.data import Dataset, Origin, Splits, as_dataset, check, from_array
from nvisa_tf.data.array_like import why_no_numbers, with_known_names
from nvisa_tf.data.photos_in_memory import features_in_memory, load_again, load_for
from nvisa_tf.evaluation.detector import OutlierDetector
from nvisa_tf.evaluation.warnings import warnings_of
from nvisa_tf.io.names import OUTLIER
from nvisa_tf.models.base import ClusteringModel
from nvisa_tf.runs.workflows import LOW_CONFIDENCE, build_model
from nvisa_tf.training import Monitor, Trainer
from nvisa_tf.training.console import ConsoleMonitor

if TYPE_CHECKING:
    from nvisa_tf.clustering.number_of_clusters import NumberOfClusters

PARAMETERS = {"n_clusters": "n_clusters", "method": "method", "preset": "preset", "seed": "random_state"}  # by the option's name
OF_BACKBONE = {"backbone_weights", "backbone_pixels", "backbone_size", "resize"}
OF_FILES = {field.name for field in dataclasses.fields(DataConfig)} - {"scaling"} - OF_BACKBONE
OF_RUNS = {"checkpoint_minutes", "keep_checkpoints"}
LAST_FIT = "warm_start"  # what a run that goes on from it has in place of another run's path
CONTINUED = {"init_from": LAST_FIT, "eps_start": 0.25}  # as clusters are there; a larger eps would blur them again
INITIALIZATIONS = {*WITHOUT_INITIALIZATION, "init_from", "autoencoder_from"}  # options that a warm start does not look at


def _has_density(estimator: NVISAClustering) -> bool:
    method = METHODS.get(estimator.method)
    if method is not None and not method.has_density:
        raise AttributeError(f"The method {estimator.method} has no density of examples, so it cannot score them.")
    return True


class NVISAClustering(ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin, BaseEstimator):
    """Clusters by NVISA (Li et al., IJCNN 2020), or another method, behind scikit-learn's interface.

    It trains as `nvisa-tf train` does with the same preset, options and seed, on all of X, and writes nothing; input scaling is part of
    the model. X is [n, d] vectors or [n, h, w] or [n, h, w, c] images: finite numbers or truth values in an array, a frame of pandas,
    polars or Arrow, a sparse matrix, of which batches alone are made dense, or a `tf.data.Dataset` of examples.

    Args:
      n_clusters: K, at least 1; or "auto", or a range such as "2-30", where it is to be found among the examples.
      preset: of `nvisa-tf train --preset`, or "auto": what suits the kind and the number of the examples.
      method: of `nvisa-tf train --method`, a name in `nvisa_tf.METHODS`.
      random_state: the seed of weights, shuffle and draws; the same integer gives the same clusters. A `numpy.random.RandomState`, or
        None for NumPy's own, gives a new seed for each fit.
      options: any others of `nvisa-tf train --help` by name, with underscores, such as {"epochs": 100}; they win over the preset's.
      warm_start: a second `fit` goes on from the model of the first, with its input scaling and without a new initialization, at an
        eps of 0.25 where the options say no eps_start. The options that the weights depend on must be the same.
      backbone: a pretrained network that makes vectors of photos, of `nvisa-tf train --backbone`. X is then images [n, h, w] or
        [n, h, w, c], bytes or floats from 0 to 1, or a list of paths of image files. The options backbone_weights, backbone_pixels,
        backbone_size and resize go with it. None: X is clustered as it is.
      outliers: the share of examples like X that are taken for outliers, such as 0.01; these have the cluster -1 in `labels_` and
        `predict`. It is not the share of outliers in X: X should have few, as many widen what counts as like it. None: every example has
        a cluster.
      verbose: 0: nothing is shown; 1: a line for each evaluation; 2: a bar for each stage too. Both go to stderr.
      callbacks: `nvisa_tf.Monitor` objects, which are told of progress and evaluations. `clone` copies them.

    Attributes:
      model_: the trained model, such as an `nvisa_tf.NVISA`, to save, sample or draw from.
      labels_: the clusters of what it was trained on, int64 [n].
      outlier_detector_: what tells outliers, an `nvisa_tf.evaluation.detector.OutlierDetector`; None where none are asked for.
      n_clusters_: K.
      number_of_clusters_: how K was found, a `nvisa_tf.clustering.number_of_clusters.NumberOfClusters`; None where it was given, or
        kept by a warm start from a fit that it was given.
      n_iter_: passes over X in the last stage of training.
      seed_: the seed that was used.
      n_features_in_: the values of an example.
      backbone_: what the backbone was, a dictionary with its name, the hash of its weights and its files; where there is one.
      feature_names_in_: the columns' names [n_features_in_], where X had names and all are text.
    """

    def __init__(
        self,
        n_clusters: int | str = 10,
        *,
        method: str = "nvisa",
        preset: str = "auto",
        random_state: Any = 0,
        options: dict[str, Any] | None = None,
        warm_start: bool = False,
        backbone: str | None = None,
        outliers: float | None = None,
        verbose: int = 0,
        callbacks: Sequence[Monitor] | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.method = method
        self.preset = preset
        self.random_state = random_state
        self.options = options
        self.warm_start = warm_start
        self.backbone = backbone
        self.outliers = outliers
        self.verbose = verbose
        self.callbacks = callbacks

    def fit(self, X: Any, y: Any = None) -> NVISAClustering:
        """Train on X, [n, *shape]; y is not looked at.

        What looks wrong with the clusters is a `sklearn.exceptions.ConvergenceWarning`, which says what to try.

        Raises:
          ValueError: data that cannot be used, an unknown preset or option, or a bad value; one sentence says why.
          TrainingDiverged: the loss is not finite any more.
        """
        monitors = self._monitors()
        data = self._examples(X, reset=True)
        self._check_rate(len(data))
        before = self.model_ if self.warm_start and hasattr(self, "model_") else None
        seed = _seed(self.random_state)
        config, number = self._with_number(self._config(data, seed, before is not None), data, before)
        model = build_model(config, Splits(data, data, "all of X"), start=before is None)
        if before is not None:
            model.take_weights(before, "warm_start: the last fit")
            model.check_data(data, config.model)
        trainer = Trainer(model, config, data, monitors=monitors)
        with contextlib.ExitStack() as stack:
            for monitor in monitors:
                if isinstance(monitor, ConsoleMonitor):
                    stack.callback(monitor.close)
            trainer.train()
        if not trainer.initialized:
            raise ValueError(f"max_minutes ended training in its stage {trainer.stage.name}, before there is a model; allow more.")
        trainer.keep_averages()
        probabilities = model.predict_proba(data.x)
        self.model_: ClusteringModel = model
        self.outlier_detector_ = None if self.outliers is None else OutlierDetector.of(model, data, data)
        self.labels_ = self._without_outliers(probabilities.argmax(1), data)
        self.n_clusters_, self.number_of_clusters_ = config.model.n_clusters, number
        self.n_iter_ = int(trainer.epoch)
        self.seed_ = seed
        self._n_features_out = model.config.latent_dim
        for sentence in _warnings(model, self.method, probabilities):
            warnings.warn(sentence, ConvergenceWarning, stacklevel=2)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Clusters of X, int64 [n]; raises ValueError for examples of another shape, NaN or Inf, as the methods below do."""
        model, data = self._fitted(), self._examples(X)
        return self._without_outliers(model.predict_clusters(data.x), data)

    def predict_proba(self, X: Any) -> np.ndarray:
        """q(y|x), float32 [n, n_clusters]."""
        return self._fitted().predict_proba(self._examples(X).x)

    def transform(self, X: Any) -> np.ndarray:
        """Where examples lie in the latent space, float32 [n, latent_dim]; of NVISA the mean of q(z|y, x) at each one's own cluster."""
        return self._fitted().embed(self._examples(X).x)

    @available_if(_has_density)
    def score_samples(self, X: Any) -> np.ndarray:
        """A lower bound of log p(x), nats, float64 [n]: low where an example is unlike the training data; ValueError without a density."""
        return self._fitted().score_samples(self._examples(X).x)

    @available_if(_has_density)
    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`, larger is better; y is not looked at.

        It compares models of one eps, scaling and likelihood alone: numbers of clusters or widths of layers, say, but no schedules.
        """
        return float(self.score_samples(X).mean())

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _fitted(self) -> ClusteringModel:
        check_is_fitted(self, "model_")
        return self.model_

    def _examples(self, X: Any, reset: bool = False) -> Dataset:
        """X as a checked data set; with `reset` its width and its columns' names become the estimator's, else they must be so."""
        if hasattr(X, "element_spec"):  # a tf.data.Dataset
            X = as_dataset(X, constant=True).x
        if self._has_backbone:
            X = self._features(X, reset)
        if isinstance(X, np.ma.MaskedArray):
            X = np.ma.filled(X.astype(float), np.nan)
        X = with_known_names(X)
        try:
            x = self._validated(X, reset)
            x = x.astype(np.float64) if x.dtype.kind == "O" else x
        except (TypeError, ValueError) as error:
            if (found := why_no_numbers(X)) is not None:
                raise found from error
            raise
        if reset and x.ndim > 2:
            self.n_features_in_ = int(np.prod(x.shape[1:]))
        names = tuple(getattr(self, "feature_names_in_", ()))
        return check(dataclasses.replace(from_array("X", x), origin=Origin(feature_names=names)), constant=not reset)

    def _check_rate(self, n: int) -> None:
        if self.outliers is None:
            return
        if isinstance(self.outliers, bool) or not isinstance(self.outliers, (int, float, np.number)) or not 0 < self.outliers < 1:
            raise ValueError(f"outliers is {self.outliers!r}; it must be a share of examples above 0 and below 1, such as 0.01, or None.")
        if self.outliers < 1 / (n + 1):
            raise ValueError(f"outliers is {self.outliers}, a share of {n:,} examples; it must be at least {1 / (n + 1):.2g}.")

    def _without_outliers(self, clusters: np.ndarray, data: Dataset) -> np.ndarray:
        """Clusters [n], with -1 for outliers where these are asked for."""
        if self.outliers is None:
            return clusters
        if self.outlier_detector_ is None:
            raise ValueError("outliers was None when the estimator was fitted; fit it again.")
        self._check_rate(len(self.outlier_detector_.held_out))
        return np.where(self.outlier_detector_.novelty(self.model_, data, self.outliers) > 1, OUTLIER, clusters)

    @property
    def _has_backbone(self) -> bool:
        return self.backbone not in (None, "", "none")  # the last as on the command line

    def _features(self, X: Any, reset: bool) -> np.ndarray:
        """The backbone's vectors of photos; with `reset` the estimator keeps what it is, else it must be the same."""
        given = {name: value for name, value in _checked(self.options or {}).items() if name in OF_BACKBONE}
        config = DataConfig(backbone=str(self.backbone), **given)
        if reset:
            backbone = load_for(config)
            self.backbone_ = {**backbone.about(), "made_by": {**backbone.loaded_by}}
        else:
            self._fitted()
            backbone = load_again(self.backbone_, str(self.backbone))
        return features_in_memory(X, backbone, config.resizing)

    def _validated(self, X: Any, reset: bool) -> Any:
        # What is not finite is refused later, with its place.
        how = {"allow_nd": True, "accept_sparse": "csr", "ensure_all_finite": False, "ensure_min_samples": 2 if reset else 1}
        if not reset and len(self._fitted().config.input_shape) > 1:  # the model looks at images' shape
            return check_array(X, estimator=self, **how)
        return validate_data(self, X, reset=reset, **how)

    def _monitors(self) -> list[Monitor]:
        if self.verbose not in (0, 1, 2):
            raise ValueError(f"verbose is {self.verbose!r}; it must be 0, 1 or 2.")
        callbacks = () if self.callbacks is None else self.callbacks
        if not isinstance(callbacks, Sequence):
            raise ValueError(f"callbacks is a {type(callbacks).__name__}; it must be a list of nvisa_tf.Monitor objects.")
        for callback in callbacks:
            if not isinstance(callback, Monitor):
                raise ValueError(f"callbacks has a {type(callback).__name__}; each must be an nvisa_tf.Monitor.")
        return [*([ConsoleMonitor(bar=self.verbose == 2, held_out=False)] if self.verbose else []), *callbacks]

    def _config(self, data: Dataset, seed: int, continued: bool) -> RunConfig:
        """The run's configuration; `continued`: from a model that was trained before."""
        default = RunConfig.of(self.method)  # refuses an unknown method
        options = _checked({} if self.options is None else self.options)
        is_automatic, are_features = self.preset == "auto", self._has_backbone
        name = automatic(self.method, len(data), data.is_image, are_features) if is_automatic else self.preset
        chosen = preset(name, options.get("objective", "vimco"), options.get("binarize", False))
        chosen |= for_features(is_automatic and are_features)
        if method_of(name) != self.method:
            raise ValueError(f"The preset {name} is of the method {method_of(name)}, and method is {self.method}; choose another.")
        if continued:
            known = section_of(self.method)
            chosen = {**chosen, **{option: value for option, value in CONTINUED.items() if option in known}}
            chosen.update(without_initialization(self.method))
            options = {option: value for option, value in options.items() if option not in INITIALIZATIONS}
        if self._has_backbone:
            options = {option: value for option, value in options.items() if option not in OF_BACKBONE}
        elif given := sorted(OF_BACKBONE & set(options)):
            raise ValueError(f"options has {given[0]}, which goes with a backbone, and there is none; leave it out.")
        number = {"n_clusters": self.n_clusters} if limits_of(self.n_clusters) is None else {}
        return default.replace({**chosen, **options, **number, "seed": seed})

    def _with_number(self, config: RunConfig, data: Dataset, before: ClusteringModel | None) -> tuple[RunConfig, NumberOfClusters | None]:
        """The configuration with the number of clusters, where that is to be found; a warm start keeps the number of the last fit."""
        limits = limits_of(self.n_clusters)
        if limits is None:
            return config, None
        if before is not None:
            limits.check_kept(before.config.n_clusters)
            return config.replace({"n_clusters": before.config.n_clusters}), self.number_of_clusters_
        from nvisa_tf.runs.number_of_clusters import number_of_clusters  # it loads what few fits need

        return number_of_clusters(data, config, limits)


def _seed(random_state: Any) -> int:
    """The seed of a fit: an integer itself, or a draw.

    Raises:
      ValueError: no seed, or an integer out of range.
    """
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        if not 0 <= random_state < 2**31:
            raise ValueError(f"random_state is {random_state}; it must be at least 0 and below 2**31.")
        return int(random_state)
    if random_state is not None and not isinstance(random_state, np.random.RandomState):
        raise ValueError(f"random_state is {random_state!r}; it must be an integer, a numpy.random.RandomState or None.")
    return int(check_random_state(random_state).randint(2**31 - 1))


def _checked(options: Any) -> dict[str, Any]:
    """The options, none of which is a parameter of its own or of no use in memory; ValueError for others."""
    if not isinstance(options, Mapping):
        raise ValueError(f"options is a {type(options).__name__}; it must be a dictionary by name, such as {{'epochs': 100}}.")
    for name in options:
        if name in PARAMETERS:
            raise ValueError(f"options has {name}; give it to NVISAClustering as its parameter {PARAMETERS[name]}.")
        if name == "input_shape":
            raise ValueError("options has input_shape, which is that of X; leave it out.")
        if name in OF_FILES:
            raise ValueError(f"options has {name}, which is for files, and X is in memory; leave it out.")
        if name in OF_RUNS:
            raise ValueError(f"options has {name}, which is for run directories, and nothing is written here; leave it out.")
    return dict(options)


def _warnings(model: ClusteringModel, method: str, probabilities: np.ndarray) -> list[str]:
    """What looks wrong with clusters, of which each example's probabilities are given, [n, K], in words of the estimator."""
    report = {
        **model.report_metrics(),
        "method": method,
        "cluster_sizes": cluster_sizes(probabilities.argmax(1), probabilities.shape[1]).tolist(),
        "low_confidence_fraction": float(np.mean(probabilities.max(1) < LOW_CONFIDENCE)),
        "low_confidence_threshold": LOW_CONFIDENCE,
    }
    return [_in_python(sentence) for sentence in warnings_of(report, [], n_train=len(probabilities))]


def _in_python(sentence: str) -> str:
    """A sentence that names flags of the command line, with the parameters and options in their place."""
    for flag, parameter in (("--restarts 5", "several values of random_state"), ("--seed", "random_state")):
        sentence = sentence.replace(flag, parameter)
    return re.sub(r"--([a-z]+(?:-[a-z0-9]+)*)", lambda match: match[1].replace("-", "_"), sentence)
