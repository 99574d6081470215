"""What the number of clusters may be given as, where it is to be found: "auto", or a range such as "2-30"."""

from __future__ import annotations

import re
from typing import Any, NamedTuple


class Limits(NamedTuple):
    """What a number of clusters that is to be found may be; None: any."""

    fewest: int | None = None
    most: int | None = None

    def check_kept(self, count: int) -> None:
        """Raise ValueError where a model that is trained on has another number of clusters."""
        if not (self.fewest or count) <= count <= (self.most or count):
            given = f"{self.fewest}-{self.most}"
            raise ValueError(f"n_clusters is {given}, and a warm start keeps the {count} clusters of the last fit; set one of the two.")


def limits_of(value: Any) -> Limits | None:
    """The limits that "auto" or "2-30" stands for; None where the number of clusters is given.

    Raises:
      ValueError: text that is neither, nor a whole number; or a range that has no number of clusters, at least 2.
    """
    if value == "auto":
        return Limits()
    if not isinstance(value, str) or re.fullmatch("[+-]?[0-9]+", value):
        return None
    found = re.fullmatch("([0-9]+)-([0-9]+)", value)
    if found is None:
        raise ValueError(f"n_clusters is {value!r}; it must be a whole number, auto, or a range such as 2-30.")
    fewest, most = int(found[1]), int(found[2])
    if not 2 <= fewest < most:
        raise ValueError(f"n_clusters is {value}; a range is of two numbers from 2 on, the first below the second, such as 2-30.")
    return Limits(fewest, most)
