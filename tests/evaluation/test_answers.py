"""The table of answers: its columns, and rows for what could not be read."""

import numpy as np
import pytest

from nvisa_tf import Dataset
from nvisa_tf.data import Origin
from nvisa_tf.evaluation.answers import table_of
from nvisa_tf.evaluation.assignments import Assignments


def assignments_of(data, id_name="file", y=None):
    n = len(data)
    return Assignments(
        names=data.names,
        id_name=id_name,
        split=np.array(["train", "test"] * n)[:n],
        y=y,
        cluster=np.arange(n) % 3,
        probability=np.linspace(0.5, 1, n).astype(np.float32),
        second=(np.arange(n) + 1) % 3,
        second_probability=np.linspace(0.5, 0, n).astype(np.float32),
        typicality=np.linspace(0, 1, n).astype(np.float32),
        error=None,
        embedding=np.zeros((n, 2), np.float32),
    )


def table(data, names=None, y=None, id_name="file", **options):
    return table_of(assignments_of(data, id_name, y), [("all", data)], names or {}, 3, **options)


def test_columns_stand_in_their_order():
    data = Dataset("x", np.zeros((4, 2)), origin=Origin(class_names=("cat", "dog")))
    found = table(data, {1: "boots"}, np.array([0, 1, 1, 0]), "row", split=True, more={"q": np.eye(4, 3)})
    assert list(found.columns) == [
        *("row", "split", "cluster", "name", "probability", "second", "second_probability", "typicality", "label", "q"),
    ]
    assert found.columns["row"].tolist() == [0, 1, 2, 3]
    assert found.columns["name"].tolist() == ["cluster 0", "boots", "cluster 2", "cluster 0"]
    assert found.columns["label"].tolist() == ["cat", "dog", "dog", "cat"]
    assert not found.blank.any()
    bare = table(data, typicality=False)
    assert list(bare.columns) == ["file", "cluster", "probability", "second", "second_probability"]


def test_labels_without_names_are_numbers():
    data = Dataset("x", np.zeros((3, 2)))
    assert table(data, y=np.array([-1, 7, 7])).columns["label"].tolist() == [-1, 7, 7]


def test_what_is_left_out_stands_at_its_place():
    left_out = (("b.png", "it is empty"), ("longer than the others.png", "no image"))
    data = Dataset("x", np.zeros((3, 2)), ids=np.array(["a.png", "c.png", "z.png"]), rows=np.array([0, 2, 4]))
    data = Dataset(data.name, data.x, ids=data.ids, rows=data.rows, origin=Origin("folder", "file", ("",), ("A",), left_out))
    found = table(data, {0: "boots"}, np.array([0, 0, 0]), split=True, more={"z": np.ones((3, 2), np.float32)})
    columns = found.columns
    assert columns["file"].tolist() == ["a.png", "b.png", "c.png", "longer than the others.png", "z.png"]
    assert columns["cluster"].tolist() == [0, -1, 1, -1, 2]
    assert columns["second"].tolist() == [1, -1, 2, -1, 0]
    assert columns["name"].tolist() == ["boots", "", "cluster 1", "", "cluster 2"]
    assert columns["label"].tolist() == ["A", "", "A", "", "A"]
    assert columns["error"].tolist() == ["", "it is empty", "", "no image", ""]
    assert columns["split"].tolist() == ["train", "", "test", "", "train"]
    assert np.isnan(columns["probability"]).tolist() == np.isnan(columns["z"][:, 1]).tolist() == found.blank.tolist()
    assert found.blank.tolist() == [False, True, False, True, False]


def test_what_has_no_place_stands_at_the_end():
    data = Dataset("x", np.zeros((2, 2)), ids=np.array(["a", "c"]), origin=Origin("folder", "file", left_out=(("b", "why"),)))
    assert table(data).columns["file"].tolist() == ["a", "c", "b"]
    rows = Dataset("x", np.zeros((2, 2)), rows=np.array([0, 2]), origin=Origin("table", "row", left_out=(("1", "no value"),)))
    assert table(rows, id_name="row").columns["row"].tolist() == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["cluster", "bound", "q", "z_0"])
def test_a_column_of_the_data_that_is_called_like_one_of_ours(name):
    found = table(Dataset("x", np.zeros((2, 2)), ids=np.array(["a", "b"])), id_name=name)
    assert list(found.columns)[:2] == [f"id_{name}", "cluster"]
