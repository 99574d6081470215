"""Names that a person gave to a run's clusters, kept in RUN/names.json: {"3": "boots"}."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from nvisa_tf.io.files import write_text

NAME = "names.json"
OUTLIER, OUTLIER_NAME = -1, "outlier"  # the cluster of an example that is unlike the training data, and what it is called


def read_names(run_dir: str | os.PathLike[str], n_clusters: int) -> list[str]:
    """What each of a run's clusters is called, [K]: its name, or "cluster 3" where it has none; errors as `given_names`."""
    return shown_names(given_names(run_dir), n_clusters)


def shown_names(given: Mapping[int, str], n_clusters: int) -> list[str]:
    """The same of names by cluster."""
    return [given.get(k, f"cluster {k}") for k in range(n_clusters)]


def sizes_in_words(sizes: Sequence[int], names: Sequence[str] | None) -> str:
    """Clusters' sizes, [K], for a person, each with its name, [K]; None: they have none."""
    if names is None:
        return " ".join(map(str, sizes))
    return ", ".join(f"{name} {size}" for name, size in zip(names, sizes, strict=True))


def given_names(run_dir: str | os.PathLike[str]) -> dict[int, str]:
    """The names that were given, by cluster; {} where none was.

    Raises:
      ValueError: names.json is damaged.
    """
    file = Path(run_dir) / NAME
    if not file.is_file():
        return {}
    try:
        return {int(cluster): str(name) for cluster, name in json.loads(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{file} cannot be read as names of clusters; remove it and name them again.") from error


def write_names(run_dir: str | os.PathLike[str], names: Mapping[int, str]) -> None:
    """Replace names.json."""
    content = {str(cluster): names[cluster] for cluster in sorted(names)}
    write_text(Path(run_dir) / NAME, json.dumps(content, indent=2) + "\n")


def changed_names(given: Mapping[int, str], words: Sequence[str], n_clusters: int) -> dict[int, str]:
    """Names after words such as "3=boots", which names cluster 3, and "3=", which takes its name away.

    Args:
      given: the names before.
      words: what changes; the order does not matter.
      n_clusters: K.

    Raises:
      ValueError: a word of another form, no such cluster, one that is named twice, or a name that two clusters would have.
    """
    names, seen = dict(given), set()
    for word in words:
        number, equals, name = word.partition("=")
        if not equals or not (number.strip().isascii() and number.strip().isdigit()):
            raise ValueError(f"{word!r} names no cluster; write its number, = and its name, such as 3=boots, or 3= to take the name away.")
        cluster, name = int(number), name.strip()
        if cluster >= n_clusters:
            raise ValueError(f"There is no cluster {cluster}; the clusters are 0 to {n_clusters - 1}.")
        if cluster in seen:
            raise ValueError(f"Cluster {cluster} is named twice; give it one name.")
        if not name.isprintable():
            raise ValueError(f"The name of cluster {cluster}, {name!r}, has a line break or another control character; leave it out.")
        seen.add(cluster)
        names[cluster] = name
    names = {cluster: name for cluster, name in names.items() if name and name != f"cluster {cluster}"}
    first: dict[str, int] = {}
    for cluster, name in enumerate(shown_names(names, n_clusters)):
        if (other := first.setdefault(name, cluster)) != cluster:
            raise ValueError(f"The clusters {other} and {cluster} would both be called {name!r}; give each a name of its own.")
    return names
