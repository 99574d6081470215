"""What a model says of every example: its cluster, how sure that is, and how typical of the cluster it is.

Shapes: n examples, K clusters, D dimensions of the embedding, m training examples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nvisa_tf.data import Dataset
from nvisa_tf.evaluation.novelty import Inputs, load_arrays
from nvisa_tf.evaluation.pieces import pieces
from nvisa_tf.io.files import replacing

if TYPE_CHECKING:  # a page is renamed without TensorFlow
    from nvisa_tf.models.base import ClusteringModel

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
      novelty: how unlike the training data they are, float32 [n]: above 1 they are outliers; None where that was not asked for.
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
    novelty: np.ndarray | None = None


class Reference(NamedTuple):
    """What examples are compared with: where the training examples of each cluster lie.

    Attributes:
      mean: of each cluster's embeddings, float32 [K, D]; 0 where it has no example.
      sd: of the same, float32 [K, D].
      counts: training examples of each cluster, int64 [K].
      distances: of the training examples from their cluster's mean in units of its sd, sorted within each cluster, float32 [m].
    """

    mean: np.ndarray
    sd: np.ndarray
    counts: np.ndarray
    distances: np.ndarray

    @classmethod
    def of(cls, n_clusters: int, assignments: Assignments) -> Reference:
        """What the examples of a run give that are not of the split "test"."""
        trained = assignments.split != "test"
        z, cluster = assignments.embedding[trained], assignments.cluster[trained]
        counts = np.bincount(cluster, minlength=n_clusters)
        narrowest = NARROWEST * np.where(z.std(0) > 0, z.std(0), 1)
        mean, sd = (np.zeros((n_clusters, z.shape[1]), np.float32) for _ in range(2))
        for k in range(n_clusters):
            if counts[k]:
                mean[k], sd[k] = z[cluster == k].mean(0), z[cluster == k].std(0)
        found = cls(mean, np.maximum(sd, narrowest).astype(np.float32), counts, np.empty(0, np.float32))
        distance = found.distance(cluster, z)
        return found._replace(distances=distance[np.lexsort((distance, cluster))])

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

    def save(self, path: str | os.PathLike[str], inputs: Inputs) -> None:
        """Write a .npz file of this and of what new inputs are compared with."""
        with replacing(path) as temporary:
            np.savez(temporary, **self._asdict(), **inputs._asdict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Reference:
        """What `save` wrote; errors as `nvisa_tf.evaluation.novelty.load_arrays`."""
        return cls(**load_arrays(path, cls._fields))


def assign(
    model: ClusteringModel,
    parts: Sequence[tuple[str, Dataset]],
    reference: Reference | None = None,
    novelty: Callable[[Dataset], np.ndarray] | None = None,
) -> Assignments:
    """The model's answers for all examples of some data sets, in the order of the file that they are from.

    Args:
      model: any clustering model.
      parts: data sets by the name of their split, as `Splits.parts` gives them.
      reference: what typicality is measured against; None: these examples themselves.
      novelty: that of a data set's examples, float32 [n].

    Raises:
      ValueError: examples of another shape than the model's, or values that are not finite.
    """
    answers = [answer for _, data in parts for answer in _answers(model, data)]
    q, z = (np.concatenate([answer[i] for answer in answers]) for i in range(2))
    errors = [answer[2] for answer in answers if answer[2] is not None]
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
        novelty=None if novelty is None else np.concatenate([novelty(data) for _, data in parts]),
    )
    found = _in_order(found, [data.places for _, data in parts])
    reference = Reference.of(q.shape[1], found) if reference is None else reference
    return found._replace(typicality=reference.typicality(found.cluster, found.embedding))


def _answers(model: ClusteringModel, data: Dataset) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Probabilities [b, K], embedding [b, D] and reconstruction error [b] or None, piece by piece."""
    for x in pieces(data):
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
