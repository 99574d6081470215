"""Which examples show what a cluster is: the most typical, the least certain, odd ones."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from nvisa_tf.evaluation.examples import Examples
from nvisa_tf.evaluation.thumbnails import Range, data_uri, encoded, spread, sprite_sheet, thumbnails

if TYPE_CHECKING:
    from nvisa_tf.evaluation.assignments import Assignments

CERTAIN = 0.95  # the probability from which on an example is not called uncertain
ODD = 2.0  # times the cluster's median error, from which on an example is called odd
SHOWN_CLUSTERS = 80  # the largest of them
PICTURES = 480  # in all, or so
SIDES = ((240, 112), (PICTURES, 80))  # pixels of a side, for at most so many pictures
SHEET_SIDE = 32  # pixels of the map's thumbnails
SHEET_CELLS, SHEET_BYTES = 5_000, 800_000  # of them, and of their file, at most
SHEET_PHOTOS = 1_000  # of them, where each is a photo that has to be decoded


class Counts(NamedTuple):
    """How many examples of each kind are shown of a cluster."""

    typical: int
    uncertain: int
    odd: int


def counts_for(n_clusters: int) -> Counts:
    """So many that the pictures are about `PICTURES` at most."""
    return Counts(12, 6, 6) if n_clusters <= 20 else Counts(8, 3, 3) if n_clusters <= 34 else Counts(4, 1, 1)


def chosen(found: Assignments, cluster: int, counts: Counts) -> dict[str, np.ndarray]:
    """Places of a cluster's examples by kind, no place twice.

    Args:
      found: the answers for all examples.
      cluster: which.
      counts: the most of each kind.
    """
    members = np.flatnonzero(found.cluster == cluster)
    typical = members[np.argsort(-found.typicality[members], kind="stable")[: counts.typical]]
    rest = np.setdiff1d(members, typical)
    doubtful = rest[found.probability[rest] < CERTAIN]
    uncertain = doubtful[np.argsort(found.probability[doubtful], kind="stable")[: counts.uncertain]]
    odd = np.empty(0, np.int64)
    if found.error is not None and len(members):
        rest = np.setdiff1d(rest, uncertain)
        worse = rest[found.error[rest] > ODD * np.median(found.error[members])]
        odd = worse[np.argsort(-found.error[worse], kind="stable")[: counts.odd]]
    return {"typical": typical, "uncertain": uncertain, "odd": odd}


def pictures_of(examples: Examples, places: np.ndarray, values: Range) -> list[str]:
    """Pictures of examples as data URIs, small enough for so many in one page."""
    if not len(places):
        return []
    side = next((side for most, side in SIDES if len(places) <= most), SIDES[-1][1])
    return [data_uri(*encoded(image)) for image in thumbnails(examples, places, values, side)]


def sheet_of(examples: Examples, places: np.ndarray, values: Range) -> tuple[str, dict[str, Any]]:
    """One picture with the thumbnails of the examples at `places`, or of so many of them as fit, evenly spread.

    Returns:
      the picture as a data URI, and plain values: "side" of a cell in pixels, "columns", and "cells", the indices into `places`
      whose thumbnails are in it, in its order.
    """
    side = min(SHEET_SIDE, examples.longest_side)
    cells = spread(len(places), SHEET_PHOTOS if examples.data.pictures is not None else SHEET_CELLS)
    pictures = thumbnails(examples, places[cells], values, side)
    kept = np.arange(len(cells))
    while True:
        sheet, columns = sprite_sheet([pictures[i] for i in kept], side)
        content = _file_of(sheet)
        if len(content) <= SHEET_BYTES or len(kept) <= 100:
            return data_uri("image/jpeg", content), {"side": side, "columns": columns, "cells": cells[kept].tolist()}
        kept = spread(len(cells), int(0.95 * len(kept) * SHEET_BYTES / len(content)))


def _file_of(sheet: Image.Image) -> bytes:
    """The bytes of a JPEG file."""
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=75, optimize=True)
    return buffer.getvalue()
