"""The guides against the code: presets, objectives, commands and flags that they name are there, and all of them are named."""

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from nvisa_tf.cli.main import COMMANDS
from nvisa_tf.config.datasets import DATASETS
from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.nvisa import NVISAOptions
from nvisa_tf.config.objectives import OBJECTIVES
from nvisa_tf.config.presets import PRESETS, automatic, preset
from nvisa_tf.config.run import RunConfig
from nvisa_tf.export.formats import FORMATS, QUANTIZATIONS

ROOT = Path(__file__).parents[1]
GUIDES = ROOT / "docs" / "guides"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PARSER = MarkdownIt("commonmark").enable("table")
OLD = {ROOT / "docs" / "renamed.md"}  # names old options on purpose
OF_EVERY_COMMAND = {"--help", "--helpfull", "--version"}


def text_of(guide: str) -> str:
    return (GUIDES / guide).read_text()


def tables(text: str) -> Iterator[list[list[str]]]:
    """The tables of a document, each a list of rows of cells, the heading first."""
    rows: list[list[str]] | None = None
    for token in PARSER.parse(text):
        if token.type == "table_open":
            rows = []
        elif token.type == "table_close" and rows:
            yield rows
            rows = None
        elif token.type == "tr_open" and rows is not None:
            rows.append([])
        elif token.type == "inline" and rows is not None:
            rows[-1].append(token.content)


def code(text: str) -> Iterator[str]:
    """Code spans, and the lines of code blocks, one that ends in a backslash with the next."""
    for token in PARSER.parse(text):
        if token.type == "fence":
            yield from token.content.replace("\\\n", " ").splitlines()
        for child in token.children or []:
            if child.type == "code_inline":
                yield child.content


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([a-z0-9_-]+)`", cell)


def flags_of(command: str, method: str = "nvisa") -> set[str]:
    """The flags that a command takes."""
    parser = argparse.ArgumentParser()
    words = [["--method", method, "--help-all"]] if command == "train" else []
    importlib.import_module(f"nvisa_tf.cli.{command}").add_flags(parser, *words)
    parsers = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers += action.choices.values()
    return {flag for each in parsers for action in each._actions for flag in action.option_strings} | OF_EVERY_COMMAND


@pytest.fixture(scope="module")
def flags() -> dict[str, set[str]]:
    found = {command: flags_of(command) for command in COMMANDS}
    for method in METHODS:
        found["train"] |= flags_of("train", method)
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if page not in OLD], ids=lambda page: page.name)
def test_commands_and_flags_that_pages_name_are_there(page, flags):
    for line in code(page.read_text()):
        if line.startswith("--"):  # a flag in a sentence, of any command
            flag = line.split()[0].split("=")[0]
            assert any(flag in known for known in flags.values()), f"{page.name}: {line}"
        for part in re.split(r"&&|;", line):
            words = shlex.split(part, comments=True) if part.strip().startswith("nvisa-tf ") else []
            if len(words) < 2 or not words[1].isalpha() or words[1].isupper():
                continue
            assert words[1] in COMMANDS, f"{page.name}: {line}"
            unknown = {word.split("=")[0] for word in words if word.startswith("--")} - flags[words[1]]
            assert not unknown, f"{page.name}: {line}"


def test_every_command_is_in_the_guide():
    words = set(re.findall(r"nvisa-tf (\w+)", text_of("command-line.md")))
    assert set(COMMANDS) <= words


def test_every_preset_is_in_the_guide_and_no_other():
    named = {
        name for table in tables(text_of("choose-a-preset.md")) if table[0][0] == "preset" for row in table[1:] for name in names_in(row[0])
    }
    assert named == set(PRESETS)


def test_the_guide_says_which_preset_is_automatic():
    chosen = dict(next(table for table in tables(text_of("choose-a-preset.md")) if table[0] == ["your data", "preset"])[1:])
    assert [names_in(cell) for cell in chosen.values()] == [
        [automatic("nvisa", 500, False, True)],
        [automatic("nvisa", 500, False)],
        [automatic("nvisa", 999, True)],
        [automatic("nvisa", 9_999, True)],
        [automatic("nvisa", 10_000, True)],
    ]


def test_the_guide_has_the_presets_values():
    found = 0
    for table in tables(text_of("choose-a-preset.md")):
        if table[0][:4] != ["preset", "M", "epochs", "eps"]:
            continue
        for name, n_samples, epochs, eps, _ in table[1:]:
            options = {**RunConfig().options(), **preset(*names_in(name))}
            assert (int(n_samples), int(epochs.replace(",", ""))) == (options["n_samples"], options["epochs"])
            assert int(re.search(r"every (\d+) epochs", eps)[1]) == options["eps_halving_epochs"]
            found += 1
    assert found == 5


def test_every_objective_initialization_and_quantization_is_explained():
    def first_column(guide: str, title: str) -> list[str]:
        return [name for table in tables(text_of(guide)) if table[0][0] == title for row in table[1:] for name in names_in(row[0])]

    assert sorted(set(first_column("objectives.md", "`--objective`"))) == sorted(OBJECTIVES)
    inits = next(field for field in NVISAOptions.__dataclass_fields__.values() if field.name == "init").metadata["choices"]
    assert sorted(first_column("choose-a-preset.md", "`--init`")) == sorted(inits)
    assert sorted(first_column("deploy.md", "`--quantize`")) == sorted(QUANTIZATIONS)


def test_methods_data_sets_and_formats_are_named():
    text = text_of("command-line.md")
    assert all(f"`{name}`" in text for name in [*METHODS, *DATASETS])
    assert all((ROOT / "docs" / "methods" / f"{name}.md").is_file() for name in METHODS)
    words = {"saved_model": "SavedModel", "tflite": "TFLite", "keras": "Keras"}
    assert all(words[form] in text_of("deploy.md") for form in FORMATS)
