"""What the number of clusters may be given as, where it is to be found: "auto", or a range such as "2-30"."""

from __future__ import annotations

import re
from typing import Any, NamedTuple


class Limits(NamedTuple):
    """What a number of clusters that is to be found may be; None: any."""

    fewest: int | None = None
    most: int | None = None


def limits_of(value: Any) -> Limits | None:
    """The limits that "auto" or "2-30" stands for; None where the number of clusters is given, or the value is something else.

    Raises:
      ValueError: a range that has no number of clusters, at least 2.
    """
    if value == "auto":
        return Limits()
    found = re.fullmatch(r"([0-9]+)-([0-9]+)", value) if isinstance(value, str) else None
    if found is None:
        return None
    fewest, most = int(found[1]), int(found[2])
    if not 2 <= fewest < most:
        raise ValueError(f"n_clusters is {value}; a range is of two numbers from 2 on, the first below the second, such as 2-30.")
    return Limits(fewest, most)
