"""An encoder of photos: a run's model behind the backbone that made the vectors which it was trained on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from nvisa_tf.backbones import Backbone
from nvisa_tf.data import Dataset, Origin, Splits
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.models.base import ExportSignature
from nvisa_tf.runs.backbones import load_run_backbone

PHOTOS = 300  # at most of each split: enough for the ranges of int8, and to see whether a file answers as the model
TOLERANCE = 1e-3  # of float32 probabilities: a runtime adds up a deep network's sums in another order
BATCH = 32


class PhotoModel:
    """Answers for photos [n, H, W, 3], uint8, as the model does for their vectors.

    Args:
      model: of vectors: a `ClusteringModel`, or a `WithNovelty`.
      backbone: what makes them.
    """

    tolerance = TOLERANCE

    def __init__(self, model: Any, backbone: Backbone) -> None:
        self.config, self._model, self._backbone = model.config, model, backbone
        self._latest: tuple[np.ndarray, np.ndarray] | None = None

    def signatures(self) -> dict[str, ExportSignature]:
        """Those of the model that answer for examples, with the backbone before them."""
        return {name: self._of_photos(one) for name, one in self._model.signatures().items() if not one.generates}

    def _of_photos(self, signature: ExportSignature) -> ExportSignature:
        network: Any = self._backbone.model

        def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
            return signature.function(network(tf.cast(image, tf.float32), training=False))

        return ExportSignature(answer, {name: (self._backbone.shape, "example") for name in signature.inputs})

    def predict_proba(self, photos: np.ndarray) -> np.ndarray:
        """q(y|x), float32 [n, K]."""
        return self._model.predict_proba(self._features(photos))

    def embed(self, photos: np.ndarray) -> np.ndarray:
        """Where photos lie in the latent space, float32 [n, D]."""
        return self._model.embed(self._features(photos))

    @property
    def rate(self) -> float:
        """Of false alarms, of a model that tells outliers."""
        return self._model.rate

    def novelty(self, photos: np.ndarray) -> np.ndarray:
        """How unlike the training data photos are, float32 [n]; of a model that says so."""
        return self._model.novelty(self._features(photos))

    def _features(self, photos: np.ndarray) -> np.ndarray:
        # A check asks about the same photos by predict_proba and by embed, and the backbone takes nearly all of the time.
        if self._latest is None or self._latest[0] is not photos:
            batches = (photos[start : start + BATCH] for start in range(0, len(photos), BATCH))
            self._latest = photos, np.concatenate([self._backbone.features(batch) for batch in batches])
        return self._latest[1]


def with_backbone(model: Any, run: RunDirectory, splits: Splits) -> tuple[PhotoModel, Splits]:
    """A run's model as one of photos, and some of the photos.

    Args:
      model: the run's, as for `PhotoModel`.
      run: its directory.
      splits: its data, vectors.

    Raises:
      ValueError: a .tflite backbone, or photos that are no longer there; and as `load_run_backbone`.
      FileNotFoundError: as `load_run_backbone`.
    """
    backbone = load_run_backbone(run)
    if backbone.model is None:
        raise ValueError(
            f"{backbone.name} is a TFLite file, which cannot be put into another one; export the model of its vectors by head_only."
        )
    parts = [(name, some_photos(data, backbone.shape, PHOTOS)) for name, data in splits.parts()]
    return PhotoModel(model, backbone), Splits(parts[0][1], parts[-1][1], splits.description)


def some_photos(data: Dataset, shape: tuple[int, int, int], most: int) -> Dataset:
    """Some of the photos that vectors were made of, evenly spread, as bytes.

    Raises:
      ValueError: they are no longer where they were.
    """
    if data.pictures is None or not data.pictures.are_there:
        raise ValueError(
            f"The photos of {data.name} are no longer where they were, and some are needed to check the file; put them back, or export "
            "the model of their vectors by head_only."
        )
    some = data.spread(most)
    x = np.stack(data.pictures.read_all(some.places, some.names, shape))
    return dataclasses.replace(some, x=x, max_value=255.0, rows=some.places, origin=Origin(), pictures=None)
