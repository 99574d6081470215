"""TensorBoard's projector: where examples lie in the latent space, with their clusters and thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tensorboard.plugins.projector import ProjectorConfig, metadata

from nvisa_tf.data import Splits
from nvisa_tf.evaluation.assignments import Assignments
from nvisa_tf.evaluation.examples import Examples
from nvisa_tf.evaluation.thumbnails import spread, sprite_sheet, thumbnails, value_range
from nvisa_tf.io.files import replacing, write_text

POINTS = 5_000  # examples at most, evenly spread
PHOTOS = 1_000  # of these, as each has to be decoded
SIDE = 28  # pixels of a thumbnail at most
FOLDER = "projector"  # of the files, in the folder of the event files


def write_projector(folder: Path, name: str, splits: Splits, found: Assignments, names: Sequence[str]) -> None:
    """Write embeddings, clusters and thumbnails where TensorBoard looks for them.

    Args:
      folder: of the event files.
      name: what the embeddings are called there, such as the run's name.
      splits: the data.
      found: the answers for all examples of `splits.parts()`.
      names: what the clusters are called, [K].
    """
    examples = Examples(splits.parts())
    places = spread(len(examples), PHOTOS if examples.data.pictures is not None else POINTS)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    config = ProjectorConfig()
    embedding = config.embeddings.add(tensor_name=name, tensor_path=f"{FOLDER}/embeddings.tsv", metadata_path=f"{FOLDER}/metadata.tsv")
    with replacing(folder / embedding.tensor_path) as temporary:
        np.savetxt(temporary, found.embedding[places], fmt="%.6g", delimiter="\t")
    write_text(folder / embedding.metadata_path, _metadata(examples, found, places, names))
    if examples.are_pictures:
        side = min(SIDE, examples.longest_side)
        sheet, _ = sprite_sheet(thumbnails(examples, places, value_range(examples), side), side)
        embedding.sprite.image_path = f"{FOLDER}/sprite.jpg"
        embedding.sprite.single_image_dim.extend([side, side])
        with replacing(folder / embedding.sprite.image_path) as temporary:
            sheet.save(temporary, "JPEG", quality=80, optimize=True)
    write_text(folder / metadata.PROJECTOR_FILENAME, text_format.MessageToString(config))


def _metadata(examples: Examples, found: Assignments, places: np.ndarray, names: Sequence[str]) -> str:
    """A row for each point, after one with the columns' names; the first column is the points' label."""
    columns = {
        "cluster": [names[k] for k in found.cluster[places]],
        found.id_name: list(map(str, found.names[places])),
        "probability": [f"{p:.3f}" for p in found.probability[places]],
        "typicality": [f"{p:.3f}" for p in found.typicality[places]],
    }
    if found.y is not None:
        known = examples.data.origin.class_names
        columns["label"] = [known[label] if 0 <= label < len(known) else str(label) for label in found.y[places]]
    rows = zip(*([_plain(title), *map(_plain, column)] for title, column in columns.items()), strict=True)
    return "".join("\t".join(row) + "\n" for row in rows)


def _plain(text: str) -> str:
    """Text without tabs and line breaks, which would shift the columns."""
    return " ".join(text.split()) or "-"
