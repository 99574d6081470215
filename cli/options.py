"""Flags from the fields of the configuration's dataclasses, and the configuration from the flags."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from nvisa_tf.config import OPTION_TYPES, SECTIONS, RunConfig, options_from_toml
from nvisa_tf.options import as_text
from nvisa_tf.presets import PRESETS, preset
from nvisa_tf.run_directory import RunDirectory

TITLES = {"data": "data", "model": "model", "train": "training"}


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """One flag for each option of `RunConfig`, in a group a section; unset flags stay None."""
    for section, cls in SECTIONS.items():
        group = parser.add_argument_group(TITLES[section])
        for field in dataclasses.fields(cls):
            if field.name == "input_shape":  # comes from the data
                continue
            kind, flag = OPTION_TYPES[field.name], "--" + field.name.replace("_", "-")
            text = f"{field.metadata['help']} ({_defaults(field)})".replace("%", "%%")
            if kind is bool:
                group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
                continue
            convert = kind if kind in (int, float, str) else integers
            metavar = {int: "N", float: "X", str: field.name.split("_")[-1].upper()}.get(kind, "N,N")
            choices = field.metadata["choices"]
            group.add_argument(flag, type=convert, choices=choices, default=None, help=text, metavar=None if choices else metavar)


def config_from_flags(flags: argparse.Namespace, chosen_preset: str) -> RunConfig:
    """The configuration: the preset, then the model of --start-from, then --config's file, then the flags, the later winning."""
    chosen = {**file_options(flags.config), **given_options(flags)}
    options = preset(chosen_preset, chosen.get("objective", "vimco"))
    if source := chosen.get("start_from"):
        options.update(dataclasses.asdict(RunDirectory.open(source).config().model), init="random")
    return RunConfig().replace({**options, **chosen})


def file_options(path: str | None) -> dict[str, Any]:
    """The options in a TOML file, or none without one."""
    if path is None:
        return {}
    try:
        return options_from_toml(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The configuration {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    except ValueError as error:
        raise ValueError(f"The configuration {path} cannot be used. {error}") from error


def given_options(flags: argparse.Namespace) -> dict[str, Any]:
    """The options that were given as flags."""
    return {name: value for name in OPTION_TYPES if (value := getattr(flags, name, None)) is not None}


def integers(text: str) -> tuple[int, ...]:
    """Parse "500,500" or "none"; argparse turns the error into its own sentence."""
    if text == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of integers such as 500,500") from None


def _defaults(field: dataclasses.Field[Any]) -> str:
    def shown(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.4g}"
        return as_text(value) or "empty"

    values = {name: options[field.name] for name, options in PRESETS.items() if field.name in options}
    default = f"default {shown(field.default)}"
    if values:
        default += "; presets: " + ", ".join(f"{name} {shown(value)}" for name, value in values.items())
    return default
