"""What a report says, as plain values, without the clusters' names. Shapes: n examples, K clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from nvisa_tf.clustering.metrics import clustering_scores, confusion_matrix
from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Dataset, Splits
from nvisa_tf.evaluation.detector import SHOWN_RATE
from nvisa_tf.evaluation.examples import Examples
from nvisa_tf.evaluation.hierarchy import Hierarchy
from nvisa_tf.evaluation.thumbnails import spread, value_range
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.report.card import card
from nvisa_tf.report.curves import curves
from nvisa_tf.report.gallery import SHOWN_CLUSTERS, chosen, counts_for, pictures_of, sheet_of
from nvisa_tf.report.profiles import Profiles, profiles
from nvisa_tf.report.projection import project
from nvisa_tf.report.text import MEASURES, beside, number, percent

if TYPE_CHECKING:
    from nvisa_tf.evaluation.assignments import Assignments

MAP_POINTS = 20_000
FEATURES = 6  # of a cluster's profile
MAP_VALUES = 4  # of a row, on the map
CHUNK = 1_000  # rows read at a time
TABLE_CELLS = 1_500  # of the table of all means
SHOWN_OUTLIERS = 24
DRAWN_CLUSTERS = 60  # whose hierarchy is drawn
LISTED = 5  # examples named where there are no pictures
CONFUSION_CELLS = 1_600
NAMED_CLASSES = 3  # of a cluster
LEFT_OUT = 200  # files named


def content_of(
    run: RunDirectory, config: RunConfig, splits: Splits, found: Assignments, report: dict[str, Any], n_clusters: int
) -> tuple[dict[str, Any], list[str]]:
    """The content of a report, and its pictures as data URIs, to which it refers by their place.

    Args:
      run: the run, of which the curves and run.json are read.
      config: its configuration.
      splits: its data.
      found: the answers for all examples of `splits.parts()`.
      report: its scores.
      n_clusters: K.
    """
    examples = Examples(splits.parts())
    if len(examples) != len(found.cluster) or not np.array_equal(examples.names(), found.names):
        raise ValueError(
            "The assignments are not of these examples in the order of their file; make them with assign(model, splits.parts())."
        )
    data = splits.train
    word = word_for(data)
    as_pictures = examples.are_pictures
    sizes = np.bincount(found.cluster, minlength=n_clusters)
    features = None if as_pictures else profiles(examples.chunks(), found.cluster, n_clusters)
    shown = np.sort(np.argsort(-sizes, kind="stable")[:SHOWN_CLUSTERS])
    pictures: list[str] = []
    clusters = [_cluster(found, data, int(k), LISTED if features else 0, len(shown)) for k in shown if sizes[k]]
    outliers = _outliers(found)
    if as_pictures:
        pictures = _add_pictures(examples, clusters, outliers)
    else:
        assert features is not None
        for cluster in clusters:
            cluster["features"] = _features(features, cluster["cluster"], data)
    return {
        "name": data.name,
        "word": word,
        "value_word": "column" if data.origin.kind == "table" else "value",
        "shape": list(data.shape),
        "id_name": found.id_name,
        "n": len(examples),
        "n_clusters": n_clusters,
        "method": config.method,
        "sizes": sizes.tolist(),
        "certainty": {"mean": float(found.probability.mean()), "low": float((found.probability < 0.8).mean())},
        "warnings": [*_state(report), *map(str, report.get("warnings", []))],
        "clusters": clusters,
        "means": _means(features, data) if features else None,
        "map": _map(examples, found, features, pictures, config.train.seed),
        "number_of_clusters": run.data_info().get("number_of_clusters"),
        "hierarchy": _hierarchy(found),
        "outliers": outliers,
        "curves": curves(run.metrics(), run.stages(), splits.test is not splits.train),
        "scores": _scores(found, data, report),
        "left_out": [[str(name), str(why)] for name, why in data.origin.left_out[:LEFT_OUT]],
        "n_left_out": len(data.origin.left_out),
        "card": card(run, config, splits, report, word),
    }, pictures


def _hierarchy(found: Assignments) -> dict[str, Any] | None:
    """Which clusters are near each other; None where there are too few, or too many to be drawn."""
    if not 2 < len(np.unique(found.cluster)) <= DRAWN_CLUSTERS:
        return None
    hierarchy = Hierarchy.of(found.embedding, found.cluster)
    joins = [[int(first), int(second), float(f"{distance:.4g}")] for first, second, distance, _ in hierarchy.joins]
    return {"clusters": hierarchy.clusters, "joins": joins}


def _state(report: dict[str, Any]) -> list[str]:
    """What is to be known of a run that did not end as it should."""
    if "diverged_at_epoch" in report:
        return [f"Training diverged at epoch {number(report['diverged_at_epoch'])}; these are the clusters of the last checkpoint before."]
    return [] if "minutes" in report else ["Training has not ended; these are the clusters of its newest checkpoint."]


def word_for(data: Dataset) -> str:
    """What a person calls one example."""
    if data.origin.kind == "table":
        return "row"
    if data.pictures is not None:
        return "photo"
    return "image" if data.is_image and len(data.shape) in (2, 3) else "example"


def class_names(data: Dataset, y: np.ndarray) -> dict[int, str]:
    """What each label that occurs is called."""
    names = data.origin.class_names
    return {int(label): names[label] if 0 <= label < len(names) else f"class {label}" for label in np.unique(y)}


def feature_names(data: Dataset, d: int) -> list[str]:
    """What each value of a vector is called, [d]."""
    return list(data.origin.feature_names) if len(data.origin.feature_names) == d else [f"value {i}" for i in range(d)]


def _cluster(found: Assignments, data: Dataset, k: int, listed: int, n_shown: int) -> dict[str, Any]:
    members = found.cluster == k
    groups = chosen(found, k, counts_for(n_shown))
    described = {kind: [_example(found, int(i)) for i in places[: listed or None]] for kind, places in groups.items()}
    cluster: dict[str, Any] = {"cluster": k, "certainty": float(found.probability[members].mean()), "groups": described}
    if found.y is not None:
        names = class_names(data, found.y)
        labels, counts = np.unique(found.y[members], return_counts=True)
        order = np.argsort(-counts, kind="stable")[:NAMED_CLASSES]
        cluster["classes"] = [[names[int(labels[i])], float(counts[i] / members.sum())] for i in order]
    return cluster


def _example(found: Assignments, i: int) -> dict[str, Any]:
    return {
        "place": i,
        "name": str(found.names[i]),
        "probability": round(float(found.probability[i]), 4),
        "second": int(found.second[i]),
        "second_probability": round(float(found.second_probability[i]), 4),
    }


def _outliers(found: Assignments) -> dict[str, Any] | None:
    """How many examples are unlike the training data, and the most unlike of them; None where that was not asked for."""
    if found.novelty is None:
        return None
    beyond = np.flatnonzero(found.novelty > 1)
    farthest = beyond[np.argsort(-found.novelty[beyond], kind="stable")[:SHOWN_OUTLIERS]]
    shown = [{**_example(found, int(i)), "cluster": int(found.cluster[i]), "novelty": float(f"{found.novelty[i]:.4g}")} for i in farthest]
    return {"count": len(beyond), "rate": SHOWN_RATE, "shown": shown}


def _add_pictures(examples: Examples, clusters: list[dict[str, Any]], outliers: dict[str, Any] | None) -> list[str]:
    """Pictures of all examples that are shown, to which they then refer."""
    shown = [example for cluster in clusters for group in cluster["groups"].values() for example in group]
    shown += outliers["shown"] if outliers else []
    for i, example in enumerate(shown):
        example["picture"] = i
    return pictures_of(examples, np.array([example["place"] for example in shown], np.int64), value_range(examples))


def _features(found: Profiles, k: int, data: Dataset) -> list[dict[str, Any]]:
    names = feature_names(data, len(found.mean))
    return [
        {
            "name": names[j],
            "difference": float(found.difference[k, j]),
            "mean": _mean(found, float(found.cluster_mean[k, j]), j),
            "whole": _mean(found, float(found.mean[j]), j),
            "sd": "" if found.is_share[j] else beside(float(found.sd[j]), float(found.sd[j])),
        }
        for j in found.distinctive(k, FEATURES).tolist()
    ]


def _mean(found: Profiles, value: float, j: int) -> str:
    return percent(value) if found.is_share[j] else beside(value, float(found.sd[j]))


def _means(found: Profiles, data: Dataset) -> dict[str, Any] | None:
    """All clusters' means of all values, or of those that tell clusters apart the best."""
    used = np.flatnonzero(found.sizes)
    if len(used) > 30:
        return None
    most = max(1, TABLE_CELLS // len(used))
    kept = np.sort(np.argsort(-found.explained, kind="stable")[:most])
    names = feature_names(data, len(found.mean))
    rows = [
        {
            "name": names[j],
            "whole": _mean(found, float(found.mean[j]), j),
            "means": [_mean(found, float(found.cluster_mean[k, j]), j) for k in used],
            "differences": [round(float(found.difference[k, j]), 2) for k in used],
        }
        for j in kept.tolist()
    ]
    return {"clusters": used.tolist(), "rows": rows, "of": len(found.mean)}


def _map(examples: Examples, found: Assignments, features: Profiles | None, pictures: list[str], seed: int) -> dict[str, Any]:
    """Points by their place on the map in thousandths; names, and thumbnails or the values that tell clusters apart the best."""
    places = spread(len(examples), MAP_POINTS)
    flat, how = project(found.embedding[places], seed)
    drawn: dict[str, Any] = {
        "how": how,
        "x": np.rint(4000 * flat[:, 0]).astype(int).tolist(),
        "y": np.rint(4000 * (1 - flat[:, 1])).astype(int).tolist(),
        "scale": 4000,
        "cluster": found.cluster[places].tolist(),
        "probability": [round(float(p), 3) for p in found.probability[places]],
        "names": [str(name) for name in found.names[places]],
    }
    if found.y is not None:
        names = class_names(examples.data, found.y)
        labels = sorted(names)
        drawn["classes"] = [names[label] for label in labels]
        drawn["class"] = np.searchsorted(labels, found.y[places]).tolist()
    if features is None:
        sheet, about = sheet_of(examples, places, value_range(examples))
        pictures.append(sheet)
        drawn["sheet"] = {**about, "picture": len(pictures) - 1}
    else:
        best = np.argsort(-features.explained, kind="stable")[:MAP_VALUES]
        names_of_values = feature_names(examples.data, len(features.mean))
        blocks = (examples.take(places[start : start + CHUNK]) for start in range(0, len(places), CHUNK))
        values = np.concatenate([block.reshape(len(block), -1)[:, best] for block in blocks])
        drawn["values"] = {"names": [names_of_values[j] for j in best], "rows": [[number(float(v)) for v in row] for row in values]}
    return drawn


def _scores(found: Assignments, data: Dataset, report: dict[str, Any]) -> dict[str, Any] | None:
    """Scores of what was held out, or of all, with the table of classes against clusters; None without labels."""
    if found.y is None:
        return None
    scored = found.split == "test" if (found.split == "test").any() else np.ones(len(found.y), bool)
    y, cluster = found.y[scored], found.cluster[scored]
    names, counts = class_names(data, y), confusion_matrix(y, cluster)
    present = np.unique(cluster)
    given = [of for of in (report, report.get("training_data")) if of and set(MEASURES) <= set(of)]  # not in a report of before
    best = linear_sum_assignment(counts, maximize=True)
    matched = dict(zip(best[0].tolist(), best[1].tolist(), strict=True))
    order = list(matched.values()) + [j for j in range(len(present)) if j not in matched.values()]
    table = None
    if counts.size <= CONFUSION_CELLS:
        table = {
            "classes": [names[label] for label in np.unique(y).tolist()],
            "clusters": present[order].tolist(),
            "counts": counts[:, order].tolist(),
        }
    return {
        "of": int(scored.sum()),
        "held_out": not bool(scored.all()),
        **{name: float(value) for name, value in clustering_scores(y, cluster)._asdict().items()},
        "measures": [[name, *(of[name] for of in given)] for name in MEASURES] if given else [],
        "confusion": table,
    }
