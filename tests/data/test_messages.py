"""Whatever is given, what is wrong with it is one sentence that names the file and has no words of a library's own."""

import builtins
import gzip
import io
import re

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from nvisa_tf import load_dataset
from nvisa_tf.cli.main import _dispatch, _parse

LIBRARIES = r"expected|could not convert|codec|Errno|Traceback|\bdtype\b|delimiter=|pickle_|invalid literal|tokeniz|None\b|Error\b|unpack"
TEXT = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 3)), columns=list("abc")).to_csv(index=False)


def npz(**arrays):
    with io.BytesIO() as file:
        np.savez(file, **arrays)
        return file.getvalue()


def npy(array):
    with io.BytesIO() as file:
        np.save(file, array, allow_pickle=True)
        return file.getvalue()


def sparse_npz(indices):
    return npz(format=b"csr", shape=np.array([3, 3]), data=np.ones(2), indices=np.array(indices), indptr=np.array([0, 1, 2, 2]))


# Name, content, options, and what the sentence says.
INPUTS = [
    ("empty.csv", "", {}, "is empty"),
    ("blank.csv", "\n \n\n", {}, "is empty"),
    ("names.csv", "a,b\n", {}, "columns' names alone"),
    ("long.csv", "a,b\n1,2\n3,4,5\n6,7\n", {}, "line 3 has 3 values where the line of names has 2"),
    ("short.tsv", "a\tb\n1\t2\n3\n", {}, "line 3 has 1 value where the line of names has 2"),
    ("spaces.txt", "1.5 2 3\n4 5\n", {}, "line 2 has 2 values where line 1 has 3"),
    ("binary.csv", bytes(range(256)) * 10, {}, "is not a text file"),
    ("zip.csv", b"PK\x03\x04\x00\x00", {}, "is not a text file"),
    ("nul.csv", "a,b\n1,\x002\n", {}, "is not a text file"),
    ("utf16.csv", "a,b\n1,2\n".encode("utf-16-le"), {}, "is not a text file"),
    ("latin1.csv", "größe,b\n1,2\n".encode("latin-1"), {}, "is not in UTF-8: line 1 has the byte 0xf6"),
    ("page.csv", "<html><body>Not found</body></html>", {}, "is a web page"),
    ("json.csv", '{"a": [1, 2]}', {}, "is JSON"),
    ("mixed.csv", "a,b\n1,2\n3,x\n5,6\n7,8\n", {}, "column b has 'x' in line 3, where a number should be"),
    ("dash.csv", "a,b\n-,1\n2,3\n3,4\n", {}, "column a has '-' in line 2"),
    ("twice.csv", "a,a\n1,2\n3,4\n", {}, "two columns named a"),
    ("inf.csv", "a,b\n1,inf\n2,3\n", {}, "column b has a number in line 2 that is infinite"),
    ("huge.csv", "a,b\n1,1e400\n2,3\n", {}, "column b has a number in line 2 that is infinite or too large"),
    ("nan.csv", "a,b\n1,nan\n2,3\n", {}, "column b has no value in line 2"),
    ("gaps.csv", "a,b\n,\n1,\n1,2\n", {}, r"column a has no value in line 2 \(3 values are missing in 2 columns\)"),
    ("none_left.csv", "a,b\n1,\n,2\n", {"missing": "drop"}, "every row has a missing value"),
    ("constant.csv", "a,b\n1,1\n1,1\n", {}, "constant data has no clusters"),
    ("cut.csv.gz", gzip.compress(TEXT.encode(), mtime=0)[:-30], {}, "cut off, damaged"),
    ("plain.csv.gz", TEXT, {}, "not compressed by gzip"),
    ("open.csv", 'a,b\n1,"2\n3,4\n', {}, "line 2 has a quotation mark"),
    ("after.csv", 'a,b\n1,"2"3\n3,4\n', {}, "line 2 has a quotation mark"),
    ("thousands.csv", 'a,b\n"1,234",2\n"3,400",4\n', {}, "column a has '1,234' in line 2"),
    ("german.csv", "a;b\n-1.234,5;2\n3.400,25;4\n", {}, "column a has '-1.234,5' in line 2"),
    ("french.csv", "a;b\n1 234,5;2\n3 400,25;4\n", {}, "column a has '1 234,5' in line 2, which may have a separator of thousands"),
    ("two_ways.csv", "a;b\n1,5;2.5\n3,2;4.5\n", {}, "column b has numbers with a point and column a numbers with a comma"),
    ("euros.csv", "a;b\n1,5 €;2\n3,4 €;4\n", {}, "column a has '1,5 €' in line 2; write plain numbers, without other signs"),
    ("percent.csv", "a,b\n12%,2\n13%,4\n", {}, "column a has '12%' in line 2"),
    ("minus.csv", "a,b\n\u22121,2\n\u22123,4\n", {}, "column a has '\u22121' in line 2; write plain numbers"),
    ("accounts.csv", "a,b\n(1.5),2\n($3.25),4\n", {}, r"column a has '\(1\.5\)' in line 2"),
    ("label.csv", TEXT, {"label": "x"}, "no column 'x', which label names; there are a, b, c"),
    ("columns.csv", TEXT, {"columns": ["A", "d"]}, "no column 'd', which columns names"),
    ("drop.csv", TEXT, {"drop": ["a", "b", "c"]}, "has no column to cluster by"),
    ("id.csv", "id,a\nx,1\n,2\n", {"id": "id"}, "line 3 has no value in id"),
    ("even.csv", "1,2,3\n4,2,9\n1,3,4\n", {}, "say --header yes or --header no"),
    ("date.csv", "when\n2024-01-02\n2024-01-03\n", {}, r"has no column to cluster by \(left out are when: dates or times\)"),
    ("labels.csv", "y\n0\n1\n", {}, "it has labels and identifiers alone"),
    ("no_label.csv", "a,y\n1,0\n2,\n3,1\n", {}, "column y has no label in line 3"),
    ("fraction.csv", "a,y\n1,0.5\n2,1\n3,1\n", {}, "column y has 0.5 in line 2"),
    ("layer.csv", TEXT, {"layer": "x"}, "layer is for an .h5ad file"),
    ("shape.csv", TEXT, {"image_shape": (8, 8)}, "image_shape is for a folder of images"),
    ("header.npy", npy(np.eye(3)), {"header": "no"}, "header is for a table"),
    ("missing.npz", npz(x=np.eye(3)), {"missing": "mean"}, "missing is for a table"),
    ("sheet.xlsx", b"PK\x03\x04", {}, "is a spreadsheet; save its sheet as CSV"),
    ("values.data", "1,2\n", {}, "has an ending that stands for no format here"),
    ("begin.parquet", b"PAR1", {}, "no Parquet file"),
    ("text.parquet", TEXT, {}, "no Parquet file"),
    ("text.h5ad", TEXT, {}, "no AnnData file"),
    ("begin.h5", b"\x89HDF\r\n\x1a\n", {}, "no AnnData file"),
    ("text.npy", TEXT, {}, "is not a NumPy array file"),
    ("objects.npy", npy(np.array([{"a": 1}])), {}, "holds pickled objects, which are never loaded"),
    ("scalar.npy", npy(np.float64(3)), {}, "x has 0 axes"),
    ("words.npy", npy(np.array([["a", "b"]])), {}, "x has the type <U1"),
    ("fields.npy", npy(np.zeros(3, [("a", "f8"), ("b", "f8")])), {}, "x has the type"),
    ("other.npz", npz(data=np.eye(3)), {}, r"has no array x \(it has data\); save it with"),
    ("nothing.npz", npz(), {}, "has no array x"),
    ("labels.npz", npz(x=np.eye(3), y=np.arange(2)), {}, r"y has the shape \[2\] but x has 3 examples"),
    ("sparse.npz", npz(format=b"csr", shape=np.array([3, 3]), data=np.ones(2)), {}, "is damaged or cut off"),
    ("outside.npz", sparse_npz([0, 9]), {}, "is damaged or cut off"),
]


@pytest.mark.parametrize(("name", "content", "options", "words"), INPUTS, ids=[case[0] for case in INPUTS])
def test_what_is_wrong_is_one_sentence(tmp_path, monkeypatch, name, content, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=words) as caught:
        load_dataset(f"./{name}", **options)
    sentence = str(caught.value)
    assert name in sentence
    assert re.search(r"[^.]\.$", sentence)
    assert "\n" not in sentence
    assert ". " not in sentence
    assert len(sentence.split()) <= 30
    assert not re.search(LIBRARIES, sentence)


def test_indices_of_a_sparse_matrix_are_looked_at(tmp_path):
    (tmp_path / "good.npz").write_bytes(sparse_npz([0, 2]))
    np.testing.assert_array_equal(np.asarray(load_dataset(tmp_path / "good.npz").train.x), [[1, 0, 0], [0, 0, 1], [0, 0, 0]])
    sparse.save_npz(tmp_path / "no.npz", sparse.csr_matrix((3, 0)))
    with pytest.raises(ValueError, match="x is empty"):
        load_dataset(tmp_path / "no.npz")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_folder_with_the_name_of_a_file(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=rf"{name} is a folder; give the path of a {name[1:]} file\.$"):
        load_dataset(tmp_path / name)


def test_no_file_and_no_permission(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*t\.tsv; give the path of"):
        load_dataset(tmp_path / "t.tsv")
    (tmp_path / "t.csv").write_text(TEXT)

    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(builtins, "open", refused)  # root may read everything
    with pytest.raises(ValueError, match=r"t\.csv cannot be read: Permission denied; check its permissions\.$"):
        load_dataset(tmp_path / "t.csv")


def test_the_command_ends_with_2_and_one_line(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,x\n5,6\n7,8\n")
    words = ["nvisa-tf", "train", "--dataset", str(tmp_path / "t.csv"), "--out", str(tmp_path / "run")]
    assert _dispatch(_parse(words)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "column b has 'x' in line 3, where a number should be" in lines[0]
    assert not (tmp_path / "run").exists()
