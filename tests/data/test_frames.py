"""Frames of pandas, polars and Arrow, and Parquet files, give what the same table gives as a text file."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from nvisa_tf import load_dataset
from nvisa_tf.data import as_dataset
from nvisa_tf.data.frames import is_frame, table_of_frame


def frame():
    return pd.DataFrame(
        {
            "item_id": [10**18 + i for i in range(30)],
            "size": np.linspace(-1, 1, 30),
            "count": np.arange(30) % 7,
            "old": np.arange(30) % 3 == 0,
            "colour": np.array(["red", "blue", "green"])[np.arange(30) % 3],
            "when": pd.date_range("2024-01-01", periods=30),
            "label": np.array(["a", "b"])[np.arange(30) % 2],
        }
    )


KINDS = {
    "pandas": lambda f: f,
    "nullable": lambda f: f.convert_dtypes(),
    "arrow_backed": lambda f: f.convert_dtypes(dtype_backend="pyarrow"),
    "categorical": lambda f: f.astype({"colour": "category", "label": "category"}),
    "objects": lambda f: f.astype({"size": object, "count": object, "old": object}),
    "polars": pl.from_pandas,
    "polars_categorical": lambda f: pl.from_pandas(f).with_columns(pl.col("colour").cast(pl.Categorical)),
    "arrow": pa.Table.from_pandas,
    "record_batch": pa.RecordBatch.from_pandas,
    "chunks": lambda f: pa.concat_tables([pa.Table.from_pandas(f[:11]), pa.Table.from_pandas(f[11:], preserve_index=False)]),
    "interchange": lambda f: Interchange(f),
}


class Interchange:
    """A frame that speaks the dataframe protocol alone."""

    def __init__(self, inner):
        self._inner = inner

    def __dataframe__(self, *args, **kwargs):
        return self._inner.__dataframe__(*args, **kwargs)

    def __len__(self):
        return len(self._inner)


@pytest.fixture(scope="module")
def from_text(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "t.csv"
    frame().to_csv(path, index=False)
    return load_dataset(path, split="all").train


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_frame_is_as_its_text(kind, from_text):
    data = as_dataset(KINDS[kind](frame()))
    np.testing.assert_array_equal(data.x, from_text.x)
    np.testing.assert_array_equal(data.y, from_text.y)
    np.testing.assert_array_equal(data.ids, from_text.ids)
    assert data.origin.feature_names == ("size", "count", "old", "colour = blue", "colour = green", "colour = red")
    assert (data.origin.class_names, data.origin.id_name) == (("a", "b"), "item_id")
    again = as_dataset(KINDS[kind](frame().iloc[:, ::-1]), table=from_text.origin.table)
    np.testing.assert_array_equal(again.x, from_text.x)


def test_an_array_needs_as_many_values_as_the_frame_became(from_text):
    np.testing.assert_array_equal(as_dataset(from_text.x, table=from_text.origin.table).x, from_text.x)
    with pytest.raises(
        ValueError, match="has 5 values for each example, and the model was trained on the 6 of a table's columns: size, count, old"
    ):
        as_dataset(from_text.x[:, :5], table=from_text.origin.table)


@pytest.mark.parametrize("kind", ["pandas", "nullable", "arrow_backed", "polars", "arrow"])
def test_missing_values_of_every_kind(kind):
    gaps = frame().astype({"count": "Int64", "old": "boolean"})
    gaps.loc[3, "size"] = np.nan
    gaps.loc[4, "count"] = gaps.loc[5, "old"] = pd.NA
    gaps.loc[6, "colour"] = None
    with pytest.raises(ValueError, match=r"^X: column size has no value in row 3 \(4 values are missing in 4 columns\)"):
        load_dataset(KINDS[kind](gaps))
    data = load_dataset(KINDS[kind](gaps), missing="drop", split="all").train
    assert data.places.tolist() == [i for i in range(30) if i not in (3, 4, 5, 6)]


def test_the_index_of_pandas_names_the_rows():
    named = as_dataset(frame().drop(columns="item_id").set_index(pd.Index([f"r{i}" for i in range(30)], name="row")))
    assert (named.origin.id_name, named.ids[2]) == ("row", "r2")
    filtered = as_dataset(frame().drop(columns="item_id")[lambda f: f["count"] > 1])
    assert (filtered.origin.id_name, filtered.ids[:2].tolist()) == ("index", ["2", "3"])
    assert as_dataset(frame().drop(columns="item_id")).ids is None


def test_numbers_as_names_and_numbers_of_other_kinds(rng):
    x = rng.normal(size=(20, 3))
    assert as_dataset(pd.DataFrame(x)).origin.feature_names == ("0", "1", "2")
    np.testing.assert_array_equal(as_dataset(pd.DataFrame(x).map(decimal.Decimal)).x, x)
    np.testing.assert_array_equal(
        as_dataset(pa.table({"a": pa.array([decimal.Decimal("1.5"), decimal.Decimal("2.25")])})).x, [[1.5], [2.25]]
    )
    np.testing.assert_array_equal(as_dataset(pd.DataFrame(x > 0).astype(pd.SparseDtype(bool))).x, x > 0)
    for narrow in (np.float32, np.float16):
        np.testing.assert_array_equal(as_dataset(pd.DataFrame(x.astype(narrow))).x, x.astype(narrow))


def test_what_is_neither_number_nor_text_is_left_out():
    uneven = [[1], [2, 3]] * 15
    data = as_dataset(frame().assign(uneven=uneven, words=[["a"]] * 30, at=datetime.time(10), place=[object()] * 30))
    assert data.x.shape == (30, 6)
    assert "uneven, words, place (neither numbers nor text)" in " ".join(data.origin.remarks)


@pytest.mark.parametrize("kind", [pa.float32(), pa.list_(pa.float32(), 4)])
def test_embeddings_are_a_column_for_each_value(rng, tmp_path, kind):
    x = rng.normal(size=(30, 4)).astype(np.float32)
    column = pa.array(list(x), kind if pa.types.is_fixed_size_list(kind) else pa.list_(kind))
    table = pa.concat_tables([pa.table({"photo": [f"{i}.jpg" for i in range(30)], "vector": column}).slice(start, 15) for start in (0, 15)])
    parquet.write_table(table, tmp_path / "e.parquet")
    for data in (as_dataset(table), load_dataset(tmp_path / "e.parquet").train):
        np.testing.assert_array_equal(data.x, x)
        assert data.origin.feature_names == ("vector[0]", "vector[1]", "vector[2]", "vector[3]")
        assert (data.origin.id_name, data.ids[3]) == ("photo", "3.jpg")
    np.testing.assert_array_equal(as_dataset(pd.DataFrame({"vector": list(x)})).x, x)


def test_parquet(tmp_path, from_text):
    frame().to_parquet(tmp_path / "t.parquet")
    data = load_dataset(tmp_path / "t.parquet", split="all").train
    np.testing.assert_array_equal(data.x, from_text.x)
    np.testing.assert_array_equal(data.y, from_text.y)
    frame().set_index("item_id").set_axis([f"r{i}" for i in range(30)]).to_parquet(tmp_path / "i.parquet")
    assert load_dataset(tmp_path / "i.parquet", split="all").train.ids[1] == "r1"


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense PAR1", None])
def test_a_damaged_parquet_file(tmp_path, content):
    frame().to_parquet(tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[:-50] if content is None else content)
    with pytest.raises(ValueError, match=r"t\.parquet is damaged, cut off or no Parquet file; write it again\.$"):
        load_dataset(tmp_path / "t.parquet")


def test_bad_frames():
    twice = pd.DataFrame(np.ones((3, 2)), columns=["a", "a"])
    for data, words in (
        (twice, "X has two columns named a; give each column a name of its own"),
        (frame()[:0], "X has no rows; a table has a row for each example"),
        (pd.DataFrame(index=[1, 2]), "X has no column"),
        (frame().assign(size=["x"] * 3 + [1.5] * 27), "column size has 'x' in row 0, where a number should be"),
        (frame().assign(size=np.inf), "column size has a number in row 0 that is infinite or too large"),
    ):
        with pytest.raises(ValueError, match=words):
            as_dataset(data)


def test_what_is_a_frame():
    assert is_frame(frame())
    assert is_frame(pl.DataFrame({"a": [1]}))
    assert is_frame(pa.table({"a": [1]}))
    for other in (np.ones((2, 2)), [1, 2], frame()["size"], pl.Series([1]), pa.array([1])):
        assert not is_frame(other)


def test_a_frame_has_a_row_for_each_value():
    table = table_of_frame(frame())
    assert len(table) == 30
    assert table.where(7) == "row 7"


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_values_with_types_match_categories_and_labels_of_text(tmp_path, kind):
    flags, codes = np.array(["TRUE", "FALSE", "UNKNOWN", "UNKNOWN"]), np.array(["007", "8", "x", "y"])
    text = pd.DataFrame({"size": np.linspace(-1, 1, 28), "flag": flags[np.arange(28) % 4], "code": codes[np.arange(28) % 4]})
    text["label"] = flags[np.arange(28) % 2]
    text.to_csv(tmp_path / "t.csv", index=False)
    data = load_dataset(tmp_path / "t.csv", split="all").train
    some = np.arange(28) % 4 < 2
    typed = text[some].assign(flag=text.flag[some] == "TRUE", code=text.code[some].astype(int), label=text.label[some] == "TRUE")
    got = as_dataset(KINDS[kind](typed), table=data.origin.table)
    np.testing.assert_array_equal(got.x, data.x[some])
    np.testing.assert_array_equal(got.y, data.y[some])
    assert got.origin.class_names == data.origin.class_names
    ambiguous = text.assign(flag=np.array(["TRUE", "FALSE", "UNKNOWN", "true"])[np.arange(28) % 4])  # True may be either
    schema = as_dataset(KINDS[kind](ambiguous)).origin.table
    assert "flag has values that training had not: 'True'" in " ".join(as_dataset(KINDS[kind](typed), table=schema).origin.remarks)


def test_a_type_that_arrow_does_not_know_is_named():
    wide = pl.DataFrame({"a": [1.0, 2.0], "big": pl.Series([1, 2], dtype=pl.Int128)})
    with pytest.raises(
        ValueError, match=r"^X: column big has a type that Arrow does not know; convert it, such as to float64, or drop it\.$"
    ):
        as_dataset(wide)
