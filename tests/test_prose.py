"""The documents' English, as far as a machine can see it: sentences, lines, words, links.

A document is parsed by markdown-it. A code span counts as one word, a table and a code block as none. Each list item,
heading and paragraph ends a sentence.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
MAX_WORDS, MAX_LINE, MAX_README_LINES = 30, 120, 120
# Words that only we understood, and the standard terms for them.
PRIVATE = {
    "as taught": "accuracy of q(y|x) after distillation",
    "labels in sight": "labels were visible",
    "row a cluster": "one cluster in each row",
    "start by t-SNE": "initialization from a t-SNE map",
    "pictures": "images or figures",
}
ABBREVIATIONS = {"al.", "approx.", "cf.", "e.g.", "eq.", "etc.", "fig.", "i.e.", "no.", "resp.", "sec.", "vs."}
PARSER = MarkdownIt("commonmark").enable("table")

PROSE = [
    Path("README.md"),
    Path("CONTRIBUTING.md"),
    Path("BUILD_NOTES.md"),
    Path("results/README.md"),
    *sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")),
]
ALL = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "results/**/*.md", "examples/**/*.md", "benchmarks/**/*.md")
    for path in ROOT.glob(pattern)
)
LINK_TARGET = re.compile(r"\]\([^)\s]*\)")


def outside_tables(text: str) -> Iterator[Token]:
    """The tokens of a document that are prose: paragraphs, list items and headings, with their lines."""
    in_table = False
    for token in PARSER.parse(text):
        in_table = token.type == "table_open" or (in_table and token.type != "table_close")
        if token.type == "inline" and not in_table:
            yield token


def plain(token: Token) -> str:
    """A paragraph's words, a code span or an image as one."""
    parts = []
    for child in token.children or []:
        if child.type == "text":
            parts.append(child.content)
        elif child.type in ("code_inline", "image"):
            parts.append("Code")
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
    return "".join(parts)


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph. An abbreviation, an initial and a decimal point end none."""
    found, words = [], list[str]()
    for word in paragraph.split():
        words.append(word)
        bare = word.rstrip("\"')]*_")
        is_initial = re.fullmatch(r"\W*[A-Z]\.", bare) is not None
        if bare.endswith((".", "!", "?")) and bare.lstrip("\"'([*_").lower() not in ABBREVIATIONS and not is_initial:
            found.append(" ".join(words))
            words = []
    return [*found, " ".join(words)] if words else found


def word_count(sentence: str) -> int:
    """Words that hold a letter or a digit; signs such as = and +- are none."""
    return sum(any(letter.isalnum() for letter in word) for word in sentence.split())


def long_sentences(text: str) -> list[str]:
    return [sentence for token in outside_tables(text) for sentence in sentences(plain(token)) if word_count(sentence) > MAX_WORDS]


def long_lines(text: str) -> list[str]:
    """Lines of prose that are too long without the targets of their links."""
    lines = text.splitlines()
    return [
        line
        for token in outside_tables(text)
        for line in lines[slice(*(token.map or (0, 0)))]
        if len(LINK_TARGET.sub("]", line)) > MAX_LINE
    ]


def links(text: str) -> list[str]:
    """The targets of a document's links and images, in tables too."""
    return [
        str(child.attrs["src" if child.type == "image" else "href"])
        for token in PARSER.parse(text)
        for child in token.children or []
        if child.type in ("link_open", "image")
    ]


def anchors(text: str) -> set[str]:
    """What GitHub makes of a document's headings."""
    tokens = PARSER.parse(text)
    titles = [inline.content for before, inline in itertools.pairwise(tokens) if before.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(path: Path) -> list[str]:
    """Links into the repository that lead nowhere, to a missing file or a missing heading."""
    broken = []
    for link in links(path.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", PROSE, ids=str)
def test_sentences_are_short(path: Path) -> None:
    found = long_sentences((ROOT / path).read_text())
    assert not found, "\n\n".join(f"{word_count(sentence)} words: {sentence}" for sentence in found)


@pytest.mark.parametrize("path", PROSE, ids=str)
def test_lines_of_prose_are_short(path: Path) -> None:
    found = long_lines((ROOT / path).read_text())
    assert not found, "\n".join(f"{len(line)}: {line}" for line in found)


@pytest.mark.parametrize("path", PROSE, ids=str)
def test_words_are_those_of_the_field(path: Path) -> None:
    text = " ".join(plain(token) for token in outside_tables((ROOT / path).read_text())).lower()
    assert not {private: standard for private, standard in PRIVATE.items() if private.lower() in text}


@pytest.mark.parametrize("path", ALL, ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    assert not broken_links(ROOT / path)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_README_LINES


def words(n: int) -> str:
    return " ".join(["word"] * n)


@pytest.mark.parametrize(
    ("text", "n_long"),
    [
        (f"{words(30)}.", 0),
        (f"{words(31)}.", 1),
        (f"{words(20)}, e.g. {words(20)}.", 1),  # an abbreviation is no end
        (f"{words(20)} in Fig. 3 {words(20)}.", 1),
        (f"{words(20)} (Li et al. 2020) {words(20)}.", 1),
        (f"{words(20)} by Z. Li {words(20)}.", 1),
        (f"{words(20)} takes 0.70 of {words(20)}.", 1),  # nor is a decimal point
        (f"{words(20)}. {words(20)}? {words(20)}! {words(20)}", 0),
        (f"{words(20)} (see `a`.) {words(20)}.", 0),  # a bracket after the full stop
        (f"**{words(20)}.** {words(20)}.", 0),
        (f"{words(20)}\n{words(20)}.", 1),  # a line's end is none
        (f"{words(20)}\n\n{words(20)}.", 0),  # a paragraph's is
        (f"- {words(20)}\n- {words(20)}\n", 0),  # as is a list item's
        (f"- {words(20)}\n  {words(20)}\n", 1),  # though not a line's in one
        (f"# {words(20)}\n{words(20)}\n", 0),
        (f"```\n{words(40)}\n```\n", 0),
        (f"    {words(40)}\n", 0),
        (f"| a | b |\n|---|---|\n| {words(40)} | b |\n", 0),
        (f"| a | b |\n|---|---|\n| a | b |\n\n{words(31)}", 1),  # prose after a table
        (f"{words(29)} `nvisa-tf train --dataset mnist`.", 0),  # code is one word
        (f"{words(30)} `code`.", 1),
        (f"{words(28)} [two words](https://example.org/a/b).", 0),
        (f"{words(30)} = + - {words(0)}.", 0),
    ],
)
def test_the_counter_of_words_is_not_fooled(text: str, n_long: int) -> None:
    assert len(long_sentences(text)) == n_long


@pytest.mark.parametrize(
    ("text", "n_long"),
    [
        ("x" * 120, 0),
        ("x" * 121, 1),
        (f"{'x' * 110} [here](https://example.org/{'y' * 80})", 0),
        (f"```\n{'x' * 200}\n```\n", 0),
        (f"| a |\n|---|\n| {'x' * 200} |\n", 0),
        (f"- a\n- {'x' * 120}\n", 1),
        (f"short\n{'x' * 121}\nshort\n", 1),
    ],
)
def test_the_measure_of_lines_is_not_fooled(text: str, n_long: int) -> None:
    assert len(long_lines(text)) == n_long


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A title, with `code` (1)\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#a-title-with-code-1) [c](https://example.org/none) ![d](none.png)\n\n"
        "| a |\n|---|\n| [e](none.md) |\n\n[f](there.md#none) `[g](none.md)`\n"
    )
    assert broken_links(page) == ["none.png", "none.md", "there.md#none"]
