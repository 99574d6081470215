"""Whether an exported encoder answers as the Keras model does."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from nvisa_tf.clustering.metrics import clustering_scores
from nvisa_tf.export.runtime import ClusterEncoder
from nvisa_tf.runs.workflows import load_model_file

TIE = 1e-5  # examples whose two best probabilities are closer do not count in the agreement
TOLERANCE = 1e-5  # of float32 probabilities
NOVELTY_TOLERANCE = 1e-2  # of float32 novelty, as a share of it
QUANTIZED_NOVELTY_TOLERANCE = 0.1
LEAST_NOVELTY = 1e-3  # that differences are a share of


@dataclasses.dataclass(frozen=True)
class Verification:
    """An encoder against the Keras model on held-out examples.

    Attributes:
      examples: how many.
      agreement: share of equal clusters, ties of the Keras model's probabilities apart.
      max_difference: of any probability.
      embedding_difference: the largest, as a share of the embeddings' standard deviation; None without `embed`.
      accuracy, keras_accuracy: clustering accuracy of both; None without labels.
      novelty_difference: the largest, as a share of what the run says; None of an encoder that says nothing of outliers.
    """

    examples: int
    agreement: float
    max_difference: float
    embedding_difference: float | None
    accuracy: float | None
    keras_accuracy: float | None
    novelty_difference: float | None = None


class Answering(Protocol):
    """What a model has to say of raw examples for an encoder to be held against it; every `ClusteringModel` does, but for novelty."""

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """q(y|x), [n, K]."""

    def embed(self, x: np.ndarray) -> np.ndarray:
        """[n, D]."""

    def novelty(self, x: np.ndarray) -> np.ndarray:
        """[n]; it is not asked where the encoder says none."""


class Answers(NamedTuple):
    """What a file answers for raw examples [n, *input_shape].

    Attributes:
      answer: by name: cluster [n], probabilities [n, K], and novelty [n] where the file says it.
      embed: [n, D]; None where it cannot.
    """

    answer: Callable[[np.ndarray], dict[str, np.ndarray]]
    embed: Callable[[np.ndarray], np.ndarray] | None


def open_encoder(path: Path, form: str) -> Answers:
    """A file or folder in one of the formats tflite, saved_model and keras.

    Raises:
      ValueError: it is not what it should be.
    """
    if form == "tflite":
        encoder = ClusterEncoder(path)
        return Answers(encoder.answer, encoder.embed if encoder.has_embed else None)
    if form == "keras":
        model = load_model_file(path)
        return Answers(lambda x: {"cluster": model.predict_clusters(x), "probabilities": model.predict_proba(x)}, model.embed)
    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, ValueError, KeyError, TypeError, tf.errors.OpError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} cannot be loaded as {form} ({first}).") from error

    def ask(name: str, x: np.ndarray) -> dict[str, Any]:
        signature = loaded.signatures[name]
        dtype = signature.structured_input_signature[1]["image"].dtype
        return {key: value.numpy() for key, value in signature(image=tf.cast(x, dtype)).items()}

    if "cluster" not in loaded.signatures:
        raise ValueError(f"{path} has no signature 'cluster'; it is not an nvisa-tf encoder.")

    embed = (lambda x: ask("embed", x)["embedding"]) if "embed" in loaded.signatures else None
    return Answers(functools.partial(ask, "cluster"), embed)


def compare(encoder: Answers, model: Answering, x: np.ndarray, y: np.ndarray | None) -> Verification:
    """Ask both about raw examples x [n, *input_shape], with labels y [n] or None."""
    found = encoder.answer(x)
    clusters, probabilities = found["cluster"], found["probabilities"]
    expected = model.predict_proba(x)
    best = np.sort(expected, 1)
    clear = best[:, -1] - best[:, -2] > TIE
    agreement = float(np.mean((clusters == expected.argmax(1))[clear])) if clear.any() else 1.0
    difference = None
    if encoder.embed is not None:
        reference = model.embed(x)
        difference = float(np.abs(encoder.embed(x) - reference).max() / (reference.std() or 1.0))
    novelty = None
    if "novelty" in found:
        told = model.novelty(x)
        novelty = float((np.abs(found["novelty"] - told) / np.maximum(told, LEAST_NOVELTY)).max())
    theirs, ours = (None, None) if y is None else (clustering_scores(y, c).accuracy for c in (clusters, expected.argmax(1)))
    return Verification(len(x), agreement, float(np.abs(probabilities - expected).max()), difference, theirs, ours, novelty)


def require(found: Verification, exact: bool, min_agreement: float, tolerance: float = TOLERANCE) -> None:
    """Raise RuntimeError, in one sentence, where an encoder is not good enough.

    Args:
      found: from `compare`.
      exact: whether it computes in float32, and so must agree everywhere to `tolerance`.
      min_agreement: the smallest share of equal clusters of the others.
      tolerance: of probabilities.
    """
    if exact and (found.max_difference >= tolerance or found.agreement < 1):
        raise RuntimeError(
            f"The exported encoder differs from the Keras model by {found.max_difference:.2g} in a probability, with {found.agreement:.2%} "
            f"equal clusters, on {found.examples} examples; a float32 file must stay below {tolerance:g}."
        )
    if found.agreement < min_agreement:
        raise RuntimeError(
            f"The exported encoder gives {found.agreement:.2%} of {found.examples} examples the Keras model's cluster, below "
            f"--min-agreement {min_agreement:g}; choose another --quantize, or a smaller --min-agreement."
        )
    limit = NOVELTY_TOLERANCE if exact else QUANTIZED_NOVELTY_TOLERANCE
    if found.novelty_difference is not None and not found.novelty_difference < limit:  # NaN too
        raise RuntimeError(
            f"The exported encoder's novelty differs from the run's by {found.novelty_difference:.2g} of it, on {found.examples} "
            f"examples; it must stay below {limit:g}. Choose another --quantize, or leave --outliers out."
        )
