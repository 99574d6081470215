"""A run made of another one by merging clusters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Splits
from nvisa_tf.evaluation.assignments import Assignments, assign
from nvisa_tf.evaluation.hierarchy import Hierarchy
from nvisa_tf.io.files import replacing
from nvisa_tf.io.names import given_names, write_names
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.models.base import ClusteringModel
from nvisa_tf.models.merged import merged
from nvisa_tf.runs.workflows import bound_samples, load_run, load_run_splits, score, write_results

OF_THE_RUN = ("epoch", "minutes")  # of a report, what no merging changes


class Mergeable(NamedTuple):
    """A run whose clusters can be merged: what was loaded of it, its answers, and which of its clusters are near each other."""

    model: ClusteringModel
    config: RunConfig
    run: RunDirectory
    splits: Splits
    found: Assignments
    hierarchy: Hierarchy

    @classmethod
    def load(cls, path: str | Path, data_dir: str = "") -> Mergeable:
        """Of a run; `data_dir`: where its data are now, "" for where they were.

        Raises:
          ValueError: no run, or its data have changed.
          FileNotFoundError: its data are no longer where they were.
        """
        model, config, run = load_run(path)
        splits = load_run_splits(run, config, data_dir)
        run.check_data(splits.train.fingerprint())
        found = assign(model, splits.parts())
        return cls(model, config, run, splits, found, Hierarchy.of(found.embedding, found.cluster))

    def groups_of(self, joined: Sequence[Sequence[int]]) -> list[list[int]]:
        """Every cluster in a group: those that are named together, and each of the others alone.

        Raises:
          ValueError: no such cluster, one that is named twice, or a group of fewer than two.
        """
        n_clusters = self.model.config.n_clusters
        seen: set[int] = set()
        for group in joined:
            for k in group:
                if not 0 <= k < n_clusters:
                    raise ValueError(f"There is no cluster {k}; the clusters are 0 to {n_clusters - 1}.")
                if k in seen:
                    raise ValueError(f"Cluster {k} is named twice; name it once.")
                seen.add(k)
            if len(group) < 2:
                alone = f"Cluster {group[0]} alone" if group else "No cluster"
                raise ValueError(f"{alone} is no merge; name two clusters or more, such as 3,7.")
        return sorted([sorted(group) for group in joined] + [[k] for k in range(n_clusters) if k not in seen])

    def merge(self, groups: Sequence[Sequence[int]], out: str | Path, command: str = "") -> RunDirectory:
        """A new run whose clusters are groups of this one's; this one stays as it is.

        Its names are those of this run's clusters, put together where several have one.

        Args:
          groups: every cluster in one of them.
          out: the folder to be made.
          command: the command line.

        Raises:
          ValueError: groups that are none, or a folder that is not empty.
        """
        trained = self.found.split != "test"
        sizes = np.bincount(self.found.cluster[trained], minlength=self.model.config.n_clusters)
        model = merged(self.model, groups, (sizes / sizes.sum()).tolist())
        config = self.config.replace({"n_clusters": len(groups)})
        about = {key: value for key, value in self.run.data_info().items() if key != "number_of_clusters"}
        about = {**about, "merged": {"run": str(self.run.path.resolve()), "groups": [list(group) for group in groups]}}
        run = RunDirectory.create(out, config, about, command)
        with replacing(run.model_file) as temporary:
            model.save(temporary)
        write_names(run, _joined_names(given_names(self.run), groups))
        before = self.run.report()
        report = {**score(model, self.splits, config, bound_samples(config)), **{key: before[key] for key in OF_THE_RUN if key in before}}
        write_results(run, config, self.splits, report, model)
        return run


def _joined_names(names: dict[int, str], groups: Sequence[Sequence[int]]) -> dict[int, str]:
    """By group, the names of its clusters that have one, with "and" between them."""
    found = {number: " and ".join(names[k] for k in group if k in names) for number, group in enumerate(groups)}
    return {number: name for number, name in found.items() if name}
