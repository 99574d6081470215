"""Every method as a scikit-learn clusterer: arrays in, labels out, everything in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from nvisa_tf.config.presets import automatic, method_of, preset
from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Splits, check, from_array
from nvisa_tf.models.base import ClusteringModel
from nvisa_tf.runs.workflows import build_model
from nvisa_tf.training import Trainer


class NVISAClustering(ClusterMixin, TransformerMixin, BaseEstimator):
    """Clusters by NVISA (Li et al., IJCNN 2020), or another method, behind scikit-learn's interface.

    It trains as `nvisa-tf train` does with the same preset, options and seed, on all of X, and writes nothing; input scaling is part of
    the model. X is [n, d] vectors or [n, h, w] or [n, h, w, c] images, integers or floats, finite.

    Args:
      n_clusters: K, at least 2.
      preset: of `nvisa-tf train --preset`, or "auto": what suits the kind and the number of the examples.
      method: of `nvisa-tf train --method`, a name in `nvisa_tf.METHODS`.
      random_state: an integer, the seed of weights, shuffle and draws; the same one gives the same clusters.
      options: any others of `nvisa-tf train --help` by name, with underscores, such as {"epochs": 100}; they win over the preset's.

    Attributes:
      model_: the trained model, such as an `nvisa_tf.NVISA`, to save, sample or draw from.
      labels_: the clusters of what it was trained on, int64 [n].
      n_features_in_: the values of an example.
    """

    def __init__(
        self,
        n_clusters: int = 10,
        *,
        method: str = "nvisa",
        preset: str = "auto",
        random_state: int = 0,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.method = method
        self.preset = preset
        self.random_state = random_state
        self.options = options

    def fit(self, X: Any, y: Any = None) -> NVISAClustering:
        """Train on X, [n, *shape]; y is not looked at.

        Raises:
          ValueError: data that cannot be used, an unknown preset or option, or a bad value; one sentence says why.
          TrainingDiverged: the loss is not finite any more.
        """
        data = check(from_array("X", np.asarray(X)))
        options = dict(self.options or {})
        default = RunConfig.of(self.method)  # refuses an unknown method
        name = automatic(self.method, len(data), data.is_image) if self.preset == "auto" else self.preset
        chosen = preset(name, options.get("objective", "vimco"))
        if method_of(name) != self.method:
            raise ValueError(f"The preset {name} is of the method {method_of(name)}, and method is {self.method}; choose another.")
        config = default.replace({**chosen, **options, "n_clusters": self.n_clusters, "seed": self.random_state})
        model = build_model(config, Splits(data, data, "all of X"))
        trainer = Trainer(model, config, data)
        trainer.train()
        if not trainer.initialized:
            raise ValueError(f"max_minutes ended training in its stage {trainer.stage.name}, before there is a model; allow more.")
        trainer.keep_averages()
        self.model_: ClusteringModel = model
        self.labels_ = model.predict_clusters(data.x)
        self.n_features_in_ = model.config.input_dim
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Clusters of X, int64 [n]; raises ValueError for examples of another shape, NaN or Inf, as the methods below do."""
        return self._fitted().predict_clusters(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """q(y|x), float32 [n, n_clusters]."""
        return self._fitted().predict_proba(X)

    def transform(self, X: Any) -> np.ndarray:
        """Where examples lie in the latent space, float32 [n, latent_dim]; of NVISA the mean of q(z|y, x) at each one's own cluster."""
        return self._fitted().embed(X)

    def score_samples(self, X: Any) -> np.ndarray:
        """A lower bound of log p(x), nats, float64 [n]: low where an example is unlike the training data; ValueError without a density."""
        return self._fitted().score_samples(X)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`; it compares models of one eps, scaling and likelihood alone."""
        return float(self.score_samples(X).mean())

    def _fitted(self) -> ClusteringModel:
        check_is_fitted(self, "model_")
        return self.model_
