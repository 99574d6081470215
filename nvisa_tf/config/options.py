"""What an option is, as a field of a frozen dataclass: its help, its bounds, the values that it takes."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from typing import Any, Literal

AutoFloat = float | Literal["auto"]  # the type of an option that is a number, or chosen by the data


def option(
    default: Any, help: str, choices: tuple[str, ...] | None = None, minimum: float | None = None, maximum: float | None = None
) -> Any:
    """A dataclass field with its help, its choices if it has them, and the least and the most that a number may be."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices, "minimum": minimum, "maximum": maximum})


def check_fields(config: Any) -> None:
    """Raise ValueError, with one sentence, for a wrong choice or a number under its minimum or over its maximum."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        choices, minimum, maximum = (field.metadata[name] for name in ("choices", "minimum", "maximum"))
        if choices and value not in choices:
            raise ValueError(f"{field.name} is {value!r}; it must be one of {', '.join(choices)}.")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"{field.name} is {number}; it must be a finite number.")
            if minimum is not None and not isinstance(number, str) and number < minimum:
                raise ValueError(f"{field.name} is {number}; it must be at least {minimum}.")
            if maximum is not None and not isinstance(number, str) and number > maximum:
                raise ValueError(f"{field.name} is {number}; it must be at most {maximum}.")


def coerce(name: str, value: Any, kind: Any) -> Any:
    """Bring a TOML or Python value, or a NumPy scalar or array, to the option's type.

    Raises:
      ValueError: another type, in one sentence.
    """
    value = plain(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (int, float, str, bool):
        if type(value) is kind:
            return value
    elif kind == AutoFloat:
        if value == "auto" or type(value) in (int, float):
            return value if value == "auto" else float(value)
    elif isinstance(value, (list, tuple)) and all(type(n) is typing.get_args(kind)[0] for n in value):
        return tuple(value)
    raise ValueError(f"{name} is {value!r}; it must be {TYPE_NAMES[kind]}.")


def plain(value: Any) -> Any:
    """A value without NumPy's scalars and arrays, also inside a list; told by what they have, as NumPy need not be loaded."""
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    return value.tolist() if hasattr(value, "tolist") and hasattr(value, "dtype") else value


TYPE_NAMES = {
    bool: "a bool",
    int: "an int",
    float: "a float",
    str: "a str",
    AutoFloat: "a float or 'auto'",
    tuple[int, ...]: "a list of integers",
    tuple[str, ...]: "a list of names",
}


def near(name: str, known: Any) -> str:
    """A clause with the known names nearest to `name`, or with all of them when none is near."""
    matches = difflib.get_close_matches(name, list(known), n=3)
    if matches:
        return f"; did you mean {' or '.join(matches)}"
    return f"; there are {', '.join(known)}" if 0 < len(known) <= 8 else ""


def listed(tree: Any) -> Any:
    """Nested values with lists in place of tuples, as JSON and TOML have them."""
    if isinstance(tree, dict):
        return {key: listed(value) for key, value in tree.items()}
    return list(tree) if isinstance(tree, tuple) else tree


def as_text(value: Any) -> str:
    """A value as a flag takes it: 500,500 for a list, none for an empty one."""
    return (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
