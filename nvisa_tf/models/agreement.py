"""Which of several networks answer for the clusters of images, and how the clusters of their heads become common ones.

Networks are compared by what a changed image tells about the cluster of the image, of images that they have not learned from
(`nvisa_tf.models.cluster_objective.information`). No label is looked at.

Shapes: n examples, K clusters, H heads, F fine clusters.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import mutual_info_score

from nvisa_tf.clustering.consensus import average, link, matching, shares
from nvisa_tf.clustering.mixtures import spread_part
from nvisa_tf.data import Dataset

if TYPE_CHECKING:
    from nvisa_tf.models.mutual_information import MutualInformationStage

COMPARED = 5_000  # examples by which clusters are linked or matched, at most: their distances take 300 MB then
BEST_HEADS = 2  # by which a network is judged: of one from random weights some heads end badly, and the best one of a few is chance
BEST_NETWORKS = 2  # that answer for a group: one of those from random weights may have ended badly
STANDARD_ERRORS = 2.0  # by which the best networks of two groups must differ to be told apart
GROUPS = {False: "from random weights", True: "taught contrastive clusters"}  # of networks, for reports


@dataclasses.dataclass(frozen=True)
class Answer:
    """Some networks' heads, and how the clusters of each are mapped to K common ones.

    Args:
      stage: whose networks they are.
      networks: their numbers.
      is_linked: whether their fine clusters are linked; else clusters are matched.
      matrices: of each head, from its clusters to the common ones, [F or K, K].
    """

    stage: MutualInformationStage
    networks: tuple[int, ...]
    is_linked: bool
    matrices: Sequence[np.ndarray]

    def probabilities(self, data: Dataset) -> np.ndarray:
        """p(y|x) of raw examples by these heads on average, float64 [n, K]."""
        return average(_heads_of(self.stage, self.networks, data, self.is_linked), self.matrices)

    def report(self) -> dict[str, Any]:
        """How the clusters were made, and how many heads of which networks answer."""
        names = [self.stage.candidates[index].name for index in self.networks]
        each = len(self.matrices) // len(names)
        return {"clusters": "linked" if self.is_linked else "matched", "heads": dict.fromkeys(names, each)}


def choose_answer(stage: MutualInformationStage, part: Dataset) -> tuple[Answer, dict[str, Any]]:
    """Who answers, and a report.

    The best network from random weights is compared with the best one that was taught, each by its `BEST_HEADS`. Where they differ by more
    than `STANDARD_ERRORS` of the difference, the better group answers. Those from random weights do by their heads of fine clusters,
    `linked`, or, where these link to fewer than K large clusters, by their other heads, `matched`. Those that were taught do by all their
    heads, matched. Where the groups cannot be told apart, the heads of both are matched. Of each group the `BEST_NETWORKS` are matched. A
    network that diverged does not count.

    The standard error is over images. It leaves out that the best networks and heads are picked on the same images, and that other initial
    weights would give other networks.

    The report has what each network and the best one of each group give on held-out images, None where it is not finite. It has the
    standard error, whether that tells the groups apart, and whose heads answer.

    Args:
      stage: that has trained the networks.
      part: examples, some of which the clusters are linked or matched by.

    Raises:
      ValueError: no network gives finite probabilities of the held-out images, or one that answers does not of `part`.
    """
    of_images = of_best_heads(stage.judge())
    of_networks = of_images.mean(0)
    if not np.isfinite(of_networks).any():
        raise ValueError("The networks' probabilities are not finite; choose another init, or rescale the data.")
    taught, random = groups_in_order(stage, of_networks)
    report: dict[str, Any] = {
        "tries": {one.name: _rounded(value) for one, value in zip(stage.candidates, of_networks, strict=True)},
        "best": {GROUPS[group is taught]: _rounded(of_networks[group[0]]) for group in (taught, random) if group},
    }
    if taught and random:
        differences = of_images[:, taught[0]] - of_images[:, random[0]]
        difference, error = float(differences.mean()), standard_error(differences)
        is_clear = abs(difference) > STANDARD_ERRORS * error
        report |= {"standard_error": _rounded(error), "told_apart": is_clear}
        if is_clear:
            taught, random = (taught, []) if difference > 0 else ([], random)
    answer = None if taught else linked(stage, part, random)
    answer = answer or matched(stage, part, [*taught[:BEST_NETWORKS], *random[:BEST_NETWORKS]])
    return answer, {**report, **answer.report()}


def linked(stage: MutualInformationStage, part: Dataset, networks: Sequence[int]) -> Answer | None:
    """The heads of fine clusters of these networks, the best ones first: of the `BEST_NETWORKS`, or of one more, and so on.

    Taken are those where the cluster of a changed image tells the most about the cluster of the image. None: they link to fewer than K
    large clusters.
    """
    n_clusters, of_part = stage.model.config.n_clusters, list(_heads_of(stage, networks, _compared(stage, part), fine=True))
    of_images, of_changed = stage.held_out_fine(networks)
    found: list[tuple[float, Answer]] = []
    for count in range(min(BEST_NETWORKS, len(networks)), len(networks) + 1):
        some = of_part[: count * (len(of_part) // len(networks))]
        clusters = link(some, n_clusters)
        if clusters is None:
            continue
        matrices = [shares(p, clusters, n_clusters) for p in some]
        of_image, of_change = (average(heads[: len(some)], matrices).argmax(1) for heads in (of_images, of_changed))
        information = mutual_info_score(np.tile(of_image, len(of_change) // len(of_image)), of_change)
        found.append((information, Answer(stage, tuple(networks[:count]), True, matrices)))
    return max(found, key=lambda one: one[0])[1] if found else None


def matched(stage: MutualInformationStage, part: Dataset, networks: Sequence[int]) -> Answer:
    """All heads of these networks; the clusters have the numbers that the first of them gives."""
    some = list(_heads_of(stage, networks, _compared(stage, part)))
    return Answer(stage, tuple(networks), False, [matching(some[0], p) for p in some])


def _compared(stage: MutualInformationStage, data: Dataset) -> Dataset:
    return spread_part(data, COMPARED, stage.cluster_seed)


def _heads_of(stage: MutualInformationStage, networks: Sequence[int], data: Dataset, fine: bool = False) -> Iterator[np.ndarray]:
    """p(y|x) by each head of each of these networks, [n, K or F], one network after another."""
    for index in networks:
        found = stage.answers(stage.candidates[index], data, fine)
        yield from (found[:, head] for head in range(found.shape[1]))


def of_best_heads(information: np.ndarray) -> np.ndarray:
    """The mean of the best `BEST_HEADS` of each network, [n, networks], of all its heads, [n, networks, H]; NaN where one head has NaN."""
    best = np.argsort(-information.mean(0), 1)[:, :BEST_HEADS]
    of_best = np.take_along_axis(information, best[None], 2).mean(2)
    return np.where(np.isfinite(information).all((0, 2)), of_best, np.nan)


def groups_in_order(stage: MutualInformationStage, of_networks: np.ndarray) -> tuple[list[int], list[int]]:
    """Those that were taught and those from random weights, the best first, of what each gives, [networks]; one with NaN is left out."""
    order = [int(index) for index in np.argsort(-of_networks, kind="stable") if np.isfinite(of_networks[index])]
    taught, random = ([index for index in order if stage.candidates[index].is_taught == is_taught] for is_taught in (True, False))
    return taught, random


def standard_error(differences: np.ndarray) -> float:
    """Of the mean of the differences of n images, [n]; infinite of one image."""
    return float(differences.std(ddof=1) / math.sqrt(len(differences))) if len(differences) > 1 else math.inf


def _rounded(value: Any) -> float | None:
    """For init.json, which has no NaN: null stands for a network that diverged."""
    return round(float(value), 5) if np.isfinite(value) else None
