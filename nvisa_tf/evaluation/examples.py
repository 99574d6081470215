"""The examples of some data sets, by their place in the `Assignments` of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nvisa_tf.data import Dataset

PHOTO_SIDE = 1_000


class Examples:
    """Looks up raw examples in the order in which `assign` answers for them: that of the file which they are from.

    Args:
      parts: data sets by the name of their split, as `Splits.parts` gives them.
    """

    def __init__(self, parts: Sequence[tuple[str, Dataset]]) -> None:
        self._parts = [data for _, data in parts]
        places = np.concatenate([data.places for data in self._parts])
        # Parts whose places overlap are from files of their own.
        self._order = np.argsort(places) if len(np.unique(places)) == len(places) else np.arange(len(places))
        self._starts = np.cumsum([0, *(len(data) for data in self._parts)])
        self._place_of = np.argsort(self._order)

    def __len__(self) -> int:
        return len(self._order)

    @property
    def data(self) -> Dataset:
        """The first of the data sets; all are of one kind."""
        return self._parts[0]

    @property
    def are_pictures(self) -> bool:
        """Whether an example can be shown as a picture: [h, w], [h, w, c], or a vector of a photo that is still there."""
        pictures = self.data.pictures
        return len(self.data.shape) in (2, 3) or (pictures is not None and pictures.are_there)

    @property
    def longest_side(self) -> int:
        """Pixels of a picture's longer side; of photos, which have any, more than is ever shown."""
        return PHOTO_SIDE if self.data.pictures is not None else max(self.data.shape[:2])

    def names(self) -> np.ndarray:
        """What each example is called, [n]."""
        return np.concatenate([data.names for data in self._parts])[self._order]

    def take(self, indices: np.ndarray) -> np.ndarray:
        """The examples at some places, [len(indices), *shape]."""
        wanted = self._order[indices]
        found = np.empty((len(wanted), *self.data.shape), np.result_type(*(data.x.dtype for data in self._parts)))
        for data, start in zip(self._parts, self._starts, strict=False):
            here = np.flatnonzero((wanted >= start) & (wanted < start + len(data)))
            if len(here):
                rows = wanted[here] - start
                order = np.argsort(rows, kind="stable")  # a memory map is read from its beginning to its end
                found[here[order]] = np.asarray(data.x[rows[order]])
        return found

    def photos(self, indices: np.ndarray, side: int) -> list[np.ndarray]:
        """Pictures of the photos that the vectors at some places were made of, uint8 [side, side, 3] each."""
        places = np.concatenate([data.places for data in self._parts])[self._order]
        return self.data.pictures.read_all(places[indices], self.names()[indices], (side, side, 3))

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All of them, piece by piece: (their places [b], the examples [b, *shape]); not in order."""
        for data, start in zip(self._parts, self._starts, strict=False):
            for first, part in data.chunks():
                yield self._place_of[start + first : start + first + len(part)], part
