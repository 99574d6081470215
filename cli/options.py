"""Flags from the fields of the configuration's dataclasses, and the configuration from the flags."""

from __future__ import annotations

import argparse
import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nvisa_tf.config.datasets import defaults_of
from nvisa_tf.config.format1 import options_from_toml as old_options_from_toml
from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.number_of_clusters import Limits, limits_of
from nvisa_tf.config.options import AutoFloat, as_text
from nvisa_tf.config.presets import PRESETS, SMALL, automatic, method_of, preset
from nvisa_tf.config.run import RunConfig, option_types, options_from_toml, section_of, sections, without_initialization
from nvisa_tf.io.run_directory import RunDirectory

# What most people set; --help shows these of the general options, --help-all every one.
COMMON = {
    *("dataset", "data_dir", "image_shape", "label", "id", "columns", "drop", "missing"),
    *("n_clusters", "latent_dim", "epochs", "stop_early", "batch_size", "learning_rate", "seed"),
}


class Chosen:
    """The method, the preset and the options that decide what --help says, from the words of a command before they are parsed.

    Attributes:
      method: that is named, by --method, --preset, --config or as that of the run of --resume or --init-from; else nvisa.
      preset: that is named, or what "auto" means for few images.
      show_all: whether --help-all was asked for.
    """

    def __init__(self, words: Sequence[str]) -> None:
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        for name in ("--method", "--preset", "--config", "--init-from", "--resume"):
            first.add_argument(name, nargs="?")
        try:
            named, _ = first.parse_known_args(list(words))
        except argparse.ArgumentError:
            named = argparse.Namespace(method=None, preset=None, config=None, init_from=None, resume=None)
        self.show_all = "--help-all" in words
        self.method = _method_of(named)
        self.preset = named.preset if named.preset in PRESETS else automatic(self.method, SMALL - 1, True)


def _method_of(named: argparse.Namespace) -> str:
    if named.method in METHODS:
        return named.method
    if named.preset in PRESETS:
        return method_of(named.preset)
    try:
        if run := named.resume or named.init_from:
            return RunDirectory.open(run).config().method
        return file_options(named.config).get("method", "nvisa")
    except ValueError:  # which is said when the command runs
        return "nvisa"


def add_config_flags(parser: argparse.ArgumentParser, chosen: Chosen) -> None:
    """One flag for each general option and each of the chosen method's, in groups; unset flags stay None."""
    method, shown = chosen.method, preset(chosen.preset) if method_of(chosen.preset) == chosen.method else {}
    groups = {
        "general": parser.add_argument_group("options" if chosen.show_all else "common options (--help-all shows every one)"),
        "own": parser.add_argument_group(f"options of the method {method}"),
    }
    general = {field.name for name in ("data", "train") for field in dataclasses.fields(sections(method)[name])}
    for cls in sections(method).values():
        for field in dataclasses.fields(cls):
            if field.name == "input_shape":  # comes from the data
                continue
            kind, flag = option_types(method)[field.name], "--" + field.name.replace("_", "-")
            is_general = field.name in general or field.name in COMMON
            text = f"{field.metadata['help']} (default {_shown(shown.get(field.name, field.default))})".replace("%", "%%")
            if is_general and field.name not in COMMON and not chosen.show_all:
                text = argparse.SUPPRESS
            group = groups["general" if is_general else "own"]
            if kind is bool:
                group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
                continue
            convert, metavar = CONVERSIONS.get(kind) or (kind, field.name.split("_")[-1].upper())
            if field.name == "n_clusters":
                convert, metavar = number_of_clusters, "K"
            choices = field.metadata["choices"]
            group.add_argument(flag, type=convert, choices=choices, default=None, help=text, metavar=None if choices else metavar)


def config_from_flags(flags: argparse.Namespace, method: str, chosen_preset: str, of_data: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration: the preset, `of_data`, what the data set has by default, the model of --init-from, --config's file, and the
    flags, the later winning.

    Raises:
      ValueError: the preset, the file or the run is of another method, or an option is bad.
    """
    options, given = file_options(flags.config), given_options(flags, method)
    if given.get("autoencoder_from") and given.get("pretrain_epochs"):
        raise ValueError("--autoencoder-from brings an autoencoder, so none is trained for --pretrain-epochs; leave one of them out.")
    if options.pop("method", method) != method:
        raise ValueError(f"The configuration {flags.config} is of another method than {method}; leave --method out, or name its own.")
    chosen = {**options, **given}
    if method_of(chosen_preset) != method:
        raise ValueError(f"The preset {chosen_preset} is of the method {method_of(chosen_preset)}, not of {method}; choose another.")
    brought: dict[str, Any] = {}
    if source := chosen.get("init_from"):
        other = RunDirectory.open(source).config()
        if other.method != method:
            raise ValueError(f"{source} is a run of the method {other.method}, and this one is of {method}; they must be the same.")
        scaling = other.data.scaling
        if chosen.get("scaling", scaling) != scaling:
            raise ValueError(f"--scaling cannot change with --init-from, as {source} brings its own ({scaling}); leave --scaling out.")
        # A run that begins with these weights must have networks like them.
        brought = {**vars(other.model.architecture), **without_initialization(method), "scaling": scaling}
    binarize = {**brought, **chosen}.get("binarize", False)
    options = preset(chosen_preset, chosen.get("objective", "vimco"), binarize)
    of_dataset = defaults_of(chosen.get("dataset", ""))
    config = RunConfig().replace({"method": method, **options, **(of_data or {}), **of_dataset, **brought, **chosen})
    if config.model.n_clusters < 2:  # which in Python is a model without clusters to compare others with; a run's report is of several
        raise ValueError(f"n_clusters is {config.model.n_clusters}; it must be at least 2.")
    return config


def file_options(path: str | None) -> dict[str, Any]:
    """The options in a TOML file, or none without one."""
    if path is None:
        return {}
    try:
        return options_from_toml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The configuration {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    except ValueError as error:
        raise ValueError(f"The configuration {path} cannot be used. {error}{_is_old(path)}") from error


def _is_old(path: str) -> str:
    """What to do with the config.toml of a run of format 1."""
    try:
        RunConfig().replace(old_options_from_toml(Path(path).read_text(encoding="utf-8")))
    except ValueError:
        return ""
    return " It has names from before November 2026, which only run directories still may; docs/renamed.md lists today's."


def given_options(flags: argparse.Namespace, method: str) -> dict[str, Any]:
    """The options that were given as flags."""
    return {name: value for name in section_of(method) if (value := getattr(flags, name, None)) is not None}


def integers(text: str) -> tuple[int, ...]:
    """Parse "500,500" or "none"; argparse turns the error into its own sentence."""
    if text == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of integers such as 500,500") from None


def names(text: str) -> tuple[str, ...]:
    """Parse "a,b" or "none"; a name with a comma stands in double quotes."""
    return () if text == "none" else tuple(next(csv.reader([text]), []))


def auto_or_float(text: str) -> float | str:
    """Parse "auto" or a number; argparse turns the error into its own sentence."""
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto") from None


def number_of_clusters(text: str) -> int | Limits:
    """Parse "10", "auto" or "2-30"; argparse turns the error into its own sentence."""
    try:
        return limits_of(text) or int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removesuffix(".")) from None


CONVERSIONS: dict[Any, tuple[Any, str]] = {
    int: (int, "N"),
    float: (float, "X"),
    AutoFloat: (auto_or_float, "X"),
    tuple[int, ...]: (integers, "N,N"),
    tuple[str, ...]: (names, "A,B"),
}


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else as_text(value) or "empty"
