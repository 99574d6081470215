"""Columns in .csv, .npy and .npz files, read back by others' readers."""

import csv

import numpy as np
import pandas
import pytest

from nvisa_tf.io.answer_files import with_cluster_names, write_columns

NAMES = ['a "b", c.png', "new\nline\rs.png", "ü; é\t.png", "not text \udce9.png", "=1+1"]
COLUMNS = {
    "file": np.array(NAMES),
    "cluster": np.array([0, 2, -1, 1, 0]),
    "probability": np.array([0.5, 1 / 3, np.nan, 1e-9, 1], np.float32),
    "q": np.arange(10, dtype=np.float32).reshape(5, 2) / 3,
    "error": np.array(["", "", "broken, alas", "", ""]),
}
BLANK = np.array([False, False, True, False, False])


def read(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_csv_is_read_back_as_it_was(tmp_path):
    write_columns(tmp_path / "o.csv", COLUMNS, BLANK)
    rows = read(tmp_path / "o.csv")
    assert list(rows[0]) == ["file", "cluster", "probability", "q_0", "q_1", "error"]
    assert [row["file"] for row in rows] == NAMES
    assert [row["cluster"] for row in rows] == ["0", "2", "", "1", "0"]
    assert [row["probability"] for row in rows] == ["0.5", "0.333333", "", "1e-09", "1"]
    assert [row["q_1"] for row in rows] == ["0.333333", "1", "", "2.33333", "3"]
    assert rows[2]["error"] == "broken, alas"
    table = pandas.read_csv(tmp_path / "o.csv", encoding_errors="surrogateescape")
    assert table.file.tolist() == NAMES
    assert table.cluster.isna().tolist() == BLANK.tolist()


def test_the_first_column_is_written_for_every_row(tmp_path):
    write_columns(tmp_path / "o.csv", {"row": np.arange(2), "cluster": np.array([1, -1])}, np.array([False, True]))
    assert (tmp_path / "o.csv").read_text() == "row,cluster\n0,1\n1,\n"


def test_npy_and_npz_need_no_pickle(tmp_path):
    for name in ("o.npy", "o.npz"):
        write_columns(tmp_path / name, COLUMNS, BLANK)
        found = np.load(tmp_path / name, allow_pickle=False)
        assert set(found.files if name == "o.npz" else found.dtype.names) == set(COLUMNS)
        for column, values in COLUMNS.items():
            np.testing.assert_array_equal(found[column], values)
            assert found[column].dtype == values.dtype


def test_names_of_clusters_come_change_and_go(tmp_path):
    path = tmp_path / "clusters.csv"
    write_columns(path, COLUMNS, BLANK)
    before = read(path)
    for names in (["x", 'y "z", \n', "w"], ["cluster 0", "b", "c"]):
        path.write_text(with_cluster_names(path, names), encoding="utf-8", errors="surrogateescape", newline="")
        rows = read(path)
        assert list(rows[0]) == ["file", "cluster", "name", "probability", "q_0", "q_1", "error"]
        assert [row.pop("name") for row in rows] == [names[0], names[2], "", names[1], names[0]]
        assert rows == before
    path.write_text(with_cluster_names(path, None), encoding="utf-8", errors="surrogateescape", newline="")
    assert read(path) == before


def test_a_first_column_named_cluster_is_left_alone(tmp_path):
    path = tmp_path / "clusters.csv"
    path.write_text("name,cluster,second\n7,1,0\n")
    assert with_cluster_names(path, ["a", "b"]) == "name,cluster,name,second\n7,1,b,0\n"


@pytest.mark.parametrize("text", ["", "row;cluster\n0;1\n", "row,cluster\n0\n", "row,cluster\n0,5\n", "row,cluster\n0,x\n", "cluster\n0\n"])
def test_what_is_no_table_of_answers_is_refused(tmp_path, text):
    path = tmp_path / "clusters.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"clusters.csv is no table of the run's clusters any more; remove it"):
        with_cluster_names(path, ["a", "b"])
