"""What a model says of every example: its cluster, how sure that is, how typical it is, and whether it is unlike the training data.

Shapes: n examples, K clusters, D dimensions of the embedding, m training examples.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.stats import binom

from nvisa_tf.data import Dataset
from nvisa_tf.io.files import replacing

if TYPE_CHECKING:  # a page is renamed without TensorFlow
    from nvisa_tf.models.base import ClusteringModel

PIECE_VALUES = 4_000_000  # values of examples at a time: 16 MB as float32, of which there are a few copies
PIECE_EXAMPLES = 10_000
RARE = 0.001  # the share of a run's own examples that lies beyond each limit of what is like them
LEAST_SHARE = 0.05  # of examples that must lie beyond one: examples of one class alone reach ten times `RARE`, and more than that is odd
SIGNIFICANCE = 0.005  # the chance at which as many of the training data's kind would lie there
NARROWEST = 1e-3  # of a dimension's standard deviation among all examples, which a cluster's is taken for at least


class Assignments(NamedTuple):
    """Answers for n examples.

    Attributes:
      names: what each is called, its id or its place, [n].
      id_name: what these are: "file", the name of a table's column, or "row".
      split: "train", "test" or "all", str [n].
      y: labels, int64 [n]; None where there are none.
      cluster: the likeliest one, int64 [n].
      probability: of that cluster, float32 [n].
      second: the second likeliest cluster, int64 [n].
      second_probability: of that one, float32 [n].
      typicality: the share of the training examples of the cluster that lie at least as far from its mean, float32 [n]; 1: most typical.
      error: the mean squared error of the reconstruction on the model's scale, float32 [n]; None of a model that makes none.
      embedding: where they lie in the latent space, float32 [n, D]; of a model that has none, the clusters' probabilities.
    """

    names: np.ndarray
    id_name: str
    split: np.ndarray
    y: np.ndarray | None
    cluster: np.ndarray
    probability: np.ndarray
    second: np.ndarray
    second_probability: np.ndarray
    typicality: np.ndarray
    error: np.ndarray | None
    embedding: np.ndarray


class Reference(NamedTuple):
    """What examples are compared with: where the training examples of each cluster lie, and how well a run's examples are reconstructed.

    Attributes:
      mean: of each cluster's embeddings, float32 [K, D]; 0 where it has no example.
      sd: of the same, float32 [K, D].
      counts: training examples of each cluster, int64 [K].
      distances: of the training examples from their cluster's mean in units of its sd, sorted within each cluster, float32 [m].
      farthest: the distance beyond which a share `RARE` of all examples of the run lies.
      errors: the reconstruction errors below and above which such a share lies, float32 [2]; NaN of a model that makes none.
    """

    mean: np.ndarray
    sd: np.ndarray
    counts: np.ndarray
    distances: np.ndarray
    farthest: np.ndarray
    errors: np.ndarray

    @classmethod
    def of(cls, n_clusters: int, assignments: Assignments) -> Reference:
        """What the examples of a run give; those of the split "test" count for `farthest` and `errors` alone."""
        trained = assignments.split != "test"
        z, cluster = assignments.embedding[trained], assignments.cluster[trained]
        counts = np.bincount(cluster, minlength=n_clusters)
        narrowest = NARROWEST * np.where(z.std(0) > 0, z.std(0), 1)
        mean, sd = (np.zeros((n_clusters, z.shape[1]), np.float32) for _ in range(2))
        for k in range(n_clusters):
            if counts[k]:
                mean[k], sd[k] = z[cluster == k].mean(0), z[cluster == k].std(0)
        empty = np.empty(0, np.float32)
        found = cls(mean, np.maximum(sd, narrowest).astype(np.float32), counts, empty, empty, empty)
        distance = found.distance(cluster, z)
        everywhere = found.distance(assignments.cluster, assignments.embedding)
        errors = np.full(2, np.nan) if assignments.error is None else np.quantile(assignments.error, [RARE, 1 - RARE])
        return found._replace(
            distances=distance[np.lexsort((distance, cluster))],
            farthest=np.quantile(everywhere, 1 - RARE).astype(np.float32),
            errors=errors.astype(np.float32),
        )

    def distance(self, cluster: np.ndarray, z: np.ndarray) -> np.ndarray:
        """How far embeddings [n, D] lie from the means of their clusters [n], in units of sd, float32 [n]."""
        return np.sqrt((((z - self.mean[cluster]) / self.sd[cluster]) ** 2).sum(1)).astype(np.float32)

    def typicality(self, cluster: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The share of the cluster's training examples that lie at least as far from its mean, float32 [n]; 0 where it has none."""
        distance, ends = self.distance(cluster, z), np.cumsum(self.counts)
        found = np.zeros(len(z), np.float32)
        for k in np.flatnonzero(self.counts):
            here, members = cluster == k, self.distances[ends[k] - self.counts[k] : ends[k]]
            found[here] = 1 - np.searchsorted(members, distance[here]) / len(members)
        return found

    def unlike(self, assignments: Assignments) -> np.ndarray:
        """Whether each example lies farther out, or is reconstructed worse or better, than all but few of the run's own, bool [n]."""
        unknown = self.counts[assignments.cluster] == 0
        odd = unknown | (self.distance(assignments.cluster, assignments.embedding) > self.farthest)
        if assignments.error is None or np.isnan(self.errors).any():
            return odd
        return odd | (assignments.error < self.errors[0]) | (assignments.error > self.errors[1]) | ~np.isfinite(assignments.error)

    def warning(self, assignments: Assignments) -> str:
        """A sentence where clearly more examples are unlike the training data than such data would have; else ""."""
        n, n_odd = len(assignments.cluster), int(self.unlike(assignments).sum())
        chance = 3 * max(RARE, 1 / (1 + self.counts.sum()))  # of each of the three limits, which few training examples place badly
        if n_odd <= LEAST_SHARE * n or binom.sf(n_odd - 1, n, chance) > SIGNIFICANCE:
            return ""
        return (
            f"{n_odd:,} of {n:,} examples ({n_odd / n:.0%}) are unlike the training data, by their reconstruction or their place in the "
            "latent space; check that they come in the same units, size and colours, and trust their clusters less."
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .npz file."""
        with replacing(path) as temporary:
            np.savez(temporary, **self._asdict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Reference:
        """What `save` wrote.

        Raises:
          ValueError: there is no such file, or it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(*(arrays[name] for name in cls._fields))
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} is damaged or no file of ours; remove it to predict without typicality.") from error


def assign(model: ClusteringModel, parts: Sequence[tuple[str, Dataset]], reference: Reference | None = None) -> Assignments:
    """The model's answers for all examples of some data sets, in the order of the file that they are from.

    Args:
      model: any clustering model.
      parts: data sets by the name of their split, as `Splits.parts` gives them.
      reference: what typicality is measured against; None: these examples themselves.

    Raises:
      ValueError: examples of another shape than the model's, or values that are not finite.
    """
    pieces = [piece for _, data in parts for piece in _pieces(model, data)]
    q, z = (np.concatenate([piece[i] for piece in pieces]) for i in range(2))
    errors = [piece[2] for piece in pieces if piece[2] is not None]
    best = q.argmax(1)
    others = q.copy()
    np.put_along_axis(others, best[:, None], -1, axis=1)
    second = others.argmax(1)
    labels = [data.y for _, data in parts if data.y is not None]
    found = Assignments(
        names=np.concatenate([data.names for _, data in parts]),
        id_name=parts[0][1].origin.id_name,
        split=np.repeat([name for name, _ in parts], [len(data) for _, data in parts]),
        y=np.concatenate(labels).astype(np.int64) if len(labels) == len(parts) else None,
        cluster=best,
        probability=q.max(1),
        second=second,
        second_probability=others.max(1),
        typicality=np.zeros(len(q), np.float32),
        error=np.concatenate(errors) if errors else None,
        embedding=z,
    )
    found = _in_order(found, [data.places for _, data in parts])
    reference = Reference.of(q.shape[1], found) if reference is None else reference
    return found._replace(typicality=reference.typicality(found.cluster, found.embedding))


def _pieces(model: ClusteringModel, data: Dataset) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Probabilities [b, K], embedding [b, D] and reconstruction error [b] or None, piece by piece."""
    step = max(1, min(PIECE_EXAMPLES, PIECE_VALUES // int(np.prod(data.shape))))
    for start in range(0, len(data), step):
        x = np.asarray(data.x[start : start + step])
        q = model.predict_proba(x)
        z = model.embed(x) if "embed" in model.capabilities else q
        yield q, z, _error(model, x) if "reconstruct" in model.capabilities else None


def _error(model: ClusteringModel, x: np.ndarray) -> np.ndarray:
    difference = model.scaled(x.astype(np.float32)) - model.scaled(model.reconstruct(x))
    return np.square(difference).reshape(len(x), -1).mean(1).astype(np.float32)


def _in_order(found: Assignments, places: Sequence[np.ndarray]) -> Assignments:
    """By the examples' places in the file; parts whose places overlap are of files of their own, and stay one after another."""
    place = np.concatenate(places)
    if len(np.unique(place)) < len(place):
        return found
    order = np.argsort(place)
    values: dict[str, Any] = {name: value[order] for name, value in found._asdict().items() if isinstance(value, np.ndarray)}
    return found._replace(**values)
