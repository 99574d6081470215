"""Names of clusters: what is kept, shown and refused."""

import json

import pytest

from nvisa_tf.io.names import changed_names, given_names, read_names, write_names


def test_names_are_kept_and_the_others_are_numbered(tmp_path):
    assert read_names(tmp_path, 3) == ["cluster 0", "cluster 1", "cluster 2"]
    write_names(tmp_path, {2: 'dark "tops", Größe', 0: "boots"})
    assert json.loads((tmp_path / "names.json").read_text()) == {"0": "boots", "2": 'dark "tops", Größe'}
    assert given_names(tmp_path) == {0: "boots", 2: 'dark "tops", Größe'}
    assert read_names(tmp_path, 3) == ["boots", "cluster 1", 'dark "tops", Größe']


@pytest.mark.parametrize(
    ("given", "words", "expected"),
    [
        ({}, ["3=boots", "7=dark tops"], {3: "boots", 7: "dark tops"}),
        ({3: "boots"}, ["3=shoes"], {3: "shoes"}),
        ({3: "boots", 4: "bags"}, ["3="], {4: "bags"}),
        ({3: "boots"}, ["4= a=b, c "], {3: "boots", 4: "a=b, c"}),
        ({3: "boots", 4: "bags"}, ["3=bags", "4=boots"], {3: "bags", 4: "boots"}),  # they change places
        ({3: "boots"}, ["3=cluster 3"], {}),
    ],
)
def test_words_change_names(given, words, expected):
    before = dict(given)
    assert changed_names(given, words, 8) == expected
    assert given == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["boots"], "'boots' names no cluster; write its number, = and its name"),
        (["boots=3"], "names no cluster"),
        (["-1=boots"], "names no cluster"),
        (["²=boots"], "names no cluster"),
        (["8=boots"], "There is no cluster 8; the clusters are 0 to 7."),
        (["1=a", "1=b"], "Cluster 1 is named twice"),
        (["1=boots"], "The clusters 1 and 3 would both be called 'boots'"),
        (["1=cluster 2"], "The clusters 1 and 2 would both be called 'cluster 2'"),
        (["1=a\nb"], "has a line break"),  # labels.txt has a name a line
    ],
)
def test_what_is_no_name_is_one_sentence(words, expected):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        changed_names({3: "boots"}, words, 8)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": "b"}'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(ValueError, match=r"names.json cannot be read as names of clusters; remove it"):
        read_names(tmp_path, 3)
