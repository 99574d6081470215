"""Tables as data sets: which columns are used, what for, and the same columns again for a trained model."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine

from nvisa_tf import DataConfig, load_dataset, read_array_file
from nvisa_tf.data import load_splits, read_examples

WINE = load_wine(as_frame=True).frame


@pytest.fixture
def save(tmp_path):
    def write(table, name="t.csv", **how):
        path = tmp_path / name
        if isinstance(table, str):
            path.write_text(table)
        else:
            table.to_csv(path, **({"index": False} | how))
        return str(path)

    return write


def load(path, **options):
    return load_dataset(path, split="all", **options).train


def said(data):
    return " ".join(data.origin.remarks)


def mixed_table():
    """Wine with what tables of people have: an index, identifiers, colours, notes, dates, a column of one value."""
    frame = WINE.assign(
        Sample=[f"w{i:03}" for i in range(178)],
        colour=np.where(WINE.alcohol > 13, "red", "white"),
        old=WINE.ash > 2.3,
        when="2024-01-02",
        note=[f"note {i % 50}" for i in range(178)],
        unit=7,
    )
    return frame.rename(columns={"target": "Class", "Sample": "sample_id"})


def test_names_that_are_numbers_are_no_example(save):
    """Issue 21, 1.1: 179 predictions for 178 rows before."""
    data = load(save(pd.DataFrame(load_wine().data)))
    assert data.x.shape == (178, 13)
    assert data.origin.feature_names == tuple(map(str, range(13)))
    np.testing.assert_array_equal(data.x, load_wine().data)
    assert "The first line (0, 1, 2, 3 and 9 more) was taken for the columns' names" in said(data)


def test_every_column_is_accounted_for(save):
    data = load(save(mixed_table(), index=True))
    features = [*WINE.columns[:13], "colour = red", "colour = white", "old", "unit"]
    assert data.origin.feature_names == tuple(features)
    np.testing.assert_array_equal(data.x[:, :13], WINE.to_numpy()[:, :13])
    np.testing.assert_array_equal(data.x[:, 13], WINE.alcohol > 13)
    np.testing.assert_array_equal(data.x[:, 15], WINE.ash > 2.3)
    np.testing.assert_array_equal(data.y, WINE.target)
    assert data.ids[:2].tolist() == ["w000", "w001"]
    assert (data.origin.kind, data.origin.id_name) == ("table", "sample_id")
    for sentence in (
        "Clustered by 16 columns: alcohol, malic_acid, ash, alcalinity_of_ash, magnesium and 11 more.",
        "Labels, for scoring alone: column Class.",
        "Examples are identified by column sample_id.",
        "Left out: the 1st column (without a name); when (dates or times); note (text, such as 'note 0', 50 different).",
        "Column colour became 2 columns of 0 and 1 (red, white); if it holds labels, say --label colour.",
        "The same in every row, so of no use: unit.",
    ):
        assert sentence in said(data)


@pytest.mark.parametrize("name", ["y", "Label", "LABELS", "class", "Target"])
def test_labels_are_found_by_name_whatever_its_case(save, name):
    data = load(save(WINE.rename(columns={"target": name})))
    assert data.x.shape == (178, 13)
    np.testing.assert_array_equal(data.y, WINE.target)


def test_labels_of_text_have_names(save):
    names = np.array(["barolo", "grignolino", "barbera"])
    data = load(save(WINE.assign(target=names[WINE.target])))
    assert data.origin.class_names == ("barbera", "barolo", "grignolino")
    assert (np.array(data.origin.class_names)[data.y] == names[WINE.target]).all()


def test_labels_that_are_floats_but_whole_are_fine(save):
    data = load(save(WINE.assign(target=WINE.target.astype(float))))
    assert data.y.dtype == np.int64
    np.testing.assert_array_equal(data.y, WINE.target)


def test_a_label_that_is_named_or_refused(save):
    frame = WINE.assign(kind=WINE.target.map({0: "a", 1: "b", 2: "c"})).drop(columns="target")
    assert load(save(frame)).x.shape == (178, 16)
    named = load(save(frame), label="Kind")
    assert (named.x.shape, named.origin.class_names) == ((178, 13), ("a", "b", "c"))
    assert load(save(WINE), label="none").x.shape == (178, 14)
    assert load(save(WINE.assign(kind=frame.kind)), label="kind").x.shape == (178, 13)  # no other labels among the features
    with pytest.raises(ValueError, match=r"has no column 'kid', which label names; did you mean kind\.$"):
        load(save(frame), label="kid")
    with pytest.raises(ValueError, match=r"columns target and label may all be labels; name one by --label and the others by --drop\.$"):
        load(save(WINE.assign(label=WINE.target)))


def test_a_label_that_differs_in_every_row_is_asked_about(save):
    path = save(WINE.assign(target=np.arange(178)))
    with pytest.raises(
        ValueError, match=r"column target has another value in each row, so it holds no labels; leave it out by --drop target"
    ):
        load(path)
    assert load(path, drop=["target"]).x.shape == (178, 13)
    with pytest.raises(ValueError, match=r"column target, which label names, has another value in each row"):
        load(path, label="target")


@pytest.mark.parametrize("name", ["id", "ID", "index", "uuid", "sample_id", "sampleId", "sample id", "SampleID"])
def test_identifiers_are_found_by_name(save, name):
    ids = [f"{10**18 + i}" for i in range(178)]  # which float64 would not tell apart
    data = load(save(WINE.assign(**{name: ids})))
    assert data.ids.tolist() == ids
    assert data.origin.id_name == name
    assert data.x.shape == (178, 13)
    assert load(save(WINE.assign(**{name: ids})), id="none").ids is None


def test_identifiers_that_repeat(save):
    plain, other = load(save(WINE.assign(id=1))), load(save(WINE.assign(shop_id=np.arange(178) % 5)))
    assert (plain.x.shape, plain.ids) == ((178, 13), None)
    assert "id (an identifier)" in said(plain)
    assert (other.x.shape, other.ids) == ((178, 14), None)
    assert "Column shop_id is clustered by, though its name is that of an identifier; --drop shop_id leaves it out." in said(other)


def test_columns_that_count_the_rows(save):
    nameless = load(save(WINE.drop(columns="target"), index=True, header=False))
    assert nameless.origin.feature_names[0] == "column 2"
    assert nameless.x.shape == (178, 13)
    assert "Left out: column 1 (it counts the rows)." in said(nameless)
    named = load(save(WINE.assign(hour=np.arange(1, 179))))
    assert named.x.shape == (178, 14)
    assert "Column hour is clustered by, though it counts the rows; --drop hour leaves it out." in said(named)
    assert load(save(WINE, index=True, header=False), label="15", columns=["1", "2"]).x.shape == (178, 2)


def test_texts_that_are_all_different_name_the_rows(save):
    data = load(save(WINE.assign(Wine=[f"wine {i}" for i in range(178)])))
    assert (data.origin.id_name, data.ids[3]) == ("Wine", "wine 3")
    unnamed = load(save(WINE.set_axis([f"wine {i}" for i in range(178)]), index=True))
    assert (unnamed.origin.id_name, unnamed.ids[3], unnamed.x.shape) == ("name", "wine 3", (178, 13))


def test_columns_and_drop(save):
    path = save(mixed_table())
    some = load(path, columns=["ash", "alcohol", "note"][:2])
    assert some.origin.feature_names == ("alcohol", "ash")
    assert some.y is not None
    assert len(load(path, drop=["ash", "Colour"]).origin.feature_names) == 14
    for options, words in (
        ({"columns": ["ahs"]}, r"no column 'ahs', which columns names; did you mean ash"),
        ({"drop": ["alcohool"]}, r"no column 'alcohool', which drop names; did you mean alcohol"),
        ({"drop": ["ash"], "columns": ["ash"]}, "column ash stands in columns and in drop"),
        ({"columns": ["note"]}, r"column note cannot be clustered by: it is left out as text, such as 'note 0', 50 different"),
        ({"label": "ash", "columns": ["ash"]}, "column ash stands in label and in columns"),
        ({"drop": [*WINE.columns[:13], "colour", "old", "unit"]}, "has no column to cluster by"),
    ):
        with pytest.raises(ValueError, match=words):
            load(path, **options)


def test_text_columns_can_be_left_out(save):
    data = load(save(mixed_table()), text_columns="drop")
    assert data.x.shape == (178, 15)
    assert "colour (text, such as 'red', 2 different)" in said(data)


@pytest.mark.parametrize("missing", ["drop", "mean", "median"])
def test_missing_values(save, missing):
    frame = WINE.assign(colour=np.where(WINE.alcohol > 13.5, "red", "white"), name=[f"w{i}" for i in range(178)]).astype({"colour": object})
    frame.loc[5, "ash"] = frame.loc[9, "ash"] = frame.loc[9, "hue"] = np.nan
    frame.loc[11, "colour"] = None
    path = save(frame)
    with pytest.raises(ValueError, match=r"column ash has no value in line 7 \(4 values are missing in 3 columns\); say --missing drop"):
        load(path)
    data = load(path, missing=missing)
    expected = frame.drop(columns=["target", "name", "colour"])
    if missing == "drop":
        kept = [i for i in range(178) if i not in (5, 9, 11)]
        np.testing.assert_array_equal(data.x[:, :13], expected.loc[kept])
        assert data.places.tolist() == kept
        assert data.origin.left_out[0] == ("w5", "no value in column ash, line 7")
        assert len(data.y) == len(data.ids) == 175
        assert "Left out for missing values: 3 of 178 rows." in said(data)
        return
    np.testing.assert_allclose(data.x[:, :13], expected.fillna(getattr(expected, missing)()))
    assert data.x[11, 13:].tolist() == [0, 1]  # white is the commonest
    assert "ash (2), hue (1), colour (1)" in said(data)


def test_a_table_without_names_keeps_its_first_row(save):
    path = save(WINE.drop(columns="target"), header=False)
    data = load(path)
    assert data.x.shape == (178, 13)
    assert data.origin.feature_names[:2] == ("column 1", "column 2")
    assert load(path, drop=["2", "13"]).origin.feature_names[:2] == ("column 1", "column 3")
    with pytest.raises(ValueError, match=r"has 13 columns without names, so drop takes numbers from 1, and not 'ash'"):
        load(path, drop=["ash"])
    labelled = load(save(WINE, header=False), label="14")
    np.testing.assert_array_equal(labelled.y, WINE.target)


class TestAnotherTable:
    """What a trained model gets: the columns of the table that it was trained on, found by name."""

    @pytest.fixture
    def trained(self, save):
        data = load(save(mixed_table(), "train.csv"), missing="median")
        schema = json.loads(json.dumps(data.origin.table))  # as run.json keeps it
        return data, lambda path, **how: read_examples(path, DataConfig(missing="median", **how), schema)

    def test_another_order_another_delimiter_and_more_columns(self, trained, save):
        """Issue 21, 1.2: sizes 178 0 0 on the same columns in reverse order before."""
        data, again = trained
        frame = mixed_table()
        other = frame[frame.columns[::-1]].assign(new=1.0, extra="x")
        got = again(save(other, sep=";", decimal=","))
        np.testing.assert_array_equal(got.x, data.x)
        np.testing.assert_array_equal(got.y, data.y)
        np.testing.assert_array_equal(got.ids, data.ids)
        assert got.origin.feature_names == data.origin.feature_names
        assert dict(got.origin.table) == dict(data.origin.table)
        assert "Left out, as the model was not trained on them: note, when, new, extra." in said(got)

    def test_labels_and_identifiers_may_be_absent(self, trained, save):
        data, again = trained
        got = again(save(mixed_table().drop(columns=["Class", "sample_id"])))
        np.testing.assert_array_equal(got.x, data.x)
        assert (got.y, got.ids) == (None, None)

    def test_a_single_row(self, trained, save):
        data, again = trained
        np.testing.assert_array_equal(again(save(mixed_table().iloc[[7]])).x, data.x[[7]])

    def test_what_is_missing_is_named(self, trained, save):
        _, again = trained
        with pytest.raises(ValueError, match=r"lacks the columns alcohol, ash, which the model was trained on\.$"):
            again(save(mixed_table().drop(columns=["alcohol", "ash"])))
        with pytest.raises(ValueError, match=r"lacks the column ash, which the model was trained on; did you mean Ash\.$"):
            again(save(mixed_table().rename(columns={"ash": "Ash"})))
        with pytest.raises(ValueError, match=r"has no line of names, and the model was trained on columns by name"):
            again(save(WINE, header=False))

    def test_gaps_are_filled_as_in_training(self, trained, save):
        _, again = trained
        frame = mixed_table().iloc[:5].copy()
        frame.loc[:, "ash"] = np.nan
        np.testing.assert_array_equal(again(save(frame)).x[:, 2], [WINE.ash.median()] * 5)

    def test_categories_that_training_had_not(self, trained, save):
        _, again = trained
        got = again(save(mixed_table().assign(colour="rosé")))
        assert not got.x[:, 13:15].any()
        assert "Column colour has values that training had not: 'rosé', first in line 2; those 178 rows" in said(got)

    def test_text_among_numbers_is_refused_with_its_line(self, trained, save):
        _, again = trained
        frame = mixed_table().astype({"ash": object})
        frame.loc[3, "ash"] = "high"
        with pytest.raises(ValueError, match=r"column ash has 'high' in line 5, where a number should be"):
            again(save(frame))

    def test_labels_that_cannot_be_used_do_not_hinder(self, trained, save):
        data, again = trained
        got = again(save(mixed_table().assign(Class=0.5)))
        np.testing.assert_array_equal(got.x, data.x)
        assert got.y is None
        assert "There are no scores:" in said(got)

    def test_an_array_needs_as_many_values(self, trained, tmp_path):
        data, again = trained
        np.save(tmp_path / "x.npy", data.x)
        np.testing.assert_array_equal(again(str(tmp_path / "x.npy")).x, data.x)
        np.save(tmp_path / "x.npy", data.x[:, :13])
        with pytest.raises(
            ValueError, match="has 13 values for each example, and the model was trained on the 17 of a table's columns: alcohol"
        ):
            again(str(tmp_path / "x.npy"))

    def test_a_folder_is_no_table(self, trained, tmp_path):
        _, again = trained
        (tmp_path / "photos").mkdir()
        with pytest.raises(ValueError, match=r"photos is a folder, and the model was trained on a table; give a table or an array\.$"):
            again(str(tmp_path / "photos"))

    def test_label_names_keep_their_numbers(self, save):
        names = np.array(["c", "a", "b"])
        data = load(save(WINE.assign(target=names[WINE.target])))
        some = WINE.assign(target=names[WINE.target])[WINE.target != 1]  # no a
        got = read_examples(save(some.assign(target=some.target.replace("b", "aa"))), DataConfig(), data.origin.table)
        assert got.origin.class_names == ("a", "b", "c", "aa")
        assert set(got.y) == {2, 3}
        assert "Labels that training had not: 'aa'." in said(got)

    def test_without_names_the_number_of_columns_counts(self, save):
        data = load(save(WINE, header=False), label="14")
        schema = data.origin.table
        same = read_examples(save(WINE, header=False), DataConfig(), schema)
        np.testing.assert_array_equal(same.x, data.x)
        np.testing.assert_array_equal(same.y, data.y)
        named = read_examples(save(WINE.drop(columns="target")), DataConfig(), schema)
        np.testing.assert_array_equal(named.x, data.x)
        with pytest.raises(ValueError, match=r"has 11 columns, and the model was trained on 14 without names; give as many, in that order"):
            read_examples(save(WINE.iloc[:, :11], header=False), DataConfig(), schema)

    def test_a_first_line_in_doubt_is_what_training_had(self, save):
        """Predicting has no --header; that of training decides."""
        text = "4,2,9\n1,3,4\n2,2,2\n"
        named, nameless = load(save("1,2,3\n" + text), header="yes"), load(save("1,2,3\n" + text), header="no")
        doubtful = save("3,2,1\n" + text)
        with pytest.raises(ValueError, match="--header yes or --header no"):
            load(doubtful)
        assert read_examples(doubtful, DataConfig(), nameless.origin.table).x[0].tolist() == [3, 2, 1]
        assert read_examples(doubtful, DataConfig(), named.origin.table).x[0].tolist() == [9, 2, 4]  # found by name

    def test_a_run_reads_its_own_table_by_its_columns(self, trained, save):
        data, _ = trained
        moved = save(mixed_table()[mixed_table().columns[::-1]])
        splits = load_splits(DataConfig(dataset=moved, split="all", missing="median"), data.origin.table)
        np.testing.assert_array_equal(splits.train.x, data.x)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,3\n2,x\n3,4\n5,6\n", "column b has 'x' in line 3, where a number should be; correct it"),
        ("a,b\n1,3\n2,1e400\n3,4\n", "column b has a number in line 3 that is infinite or too large"),
        ("a,b\n1,3\n2,1e39\n3,4\n", "column b has a number in line 3 that is infinite or too large for 32-bit numbers"),
        ("a,b\n1,3\n2,-inf\n3,4\n", "column b has a number in line 3 that is infinite or too large"),
        ("a,b\n1,2\n1,nan\n", "column b has no value in line 3; say --missing drop, mean or median"),
        ("a,y\n1,0.5\n2,1\n", "column y has 0.5 in line 2, and labels must be whole numbers or text"),
        ("a,y\n1,0\n2,\n", "column y has no label in line 3"),
        ("a;b\n1,500;2\n3,250;4\n", "column a has '1,500' in line 2, which may have a separator of thousands"),
        ("when\n2024-01-01\n2024-01-02\n", r"has no column to cluster by \(left out are when: dates or times\)"),
        ("id\n1\n2\n", "has no column to cluster by"),
        ("a\n1\n1\n", "every value of x is 1; constant data has no clusters"),
    ],
)
def test_a_bad_table_is_one_sentence(save, text, words):
    with pytest.raises(ValueError, match=words) as caught:
        read_array_file(save(text))
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_no_row_is_left(save):
    with pytest.raises(ValueError, match=r"every row has a missing value, so --missing drop leaves none; columns with many are a, b\.$"):
        load(save("a,b,c\n,1,2\n,2,3\n4,,1\n"), missing="drop")


def test_a_run_of_a_table_finds_its_columns_again(save, tmp_path):
    """The origin's table is plain values, whatever the columns are."""
    data = load(save(mixed_table()))
    assert json.loads(json.dumps(dataclasses.asdict(data.origin)["table"])) == data.origin.table


@pytest.mark.parametrize(
    ("values", "some"),
    [
        (["TRUE", "FALSE", "UNKNOWN"], ["TRUE", "FALSE"]),
        (["007", "A1", "B2"], ["007"]),
        (["1.0", "low", "high"], ["1.0"]),
        (["2024-01-01", "never", "later"], ["2024-01-01"]),
    ],
)
@pytest.mark.parametrize("header", [True, False])
def test_categories_do_not_depend_on_the_other_rows_of_a_file(save, values, some, header):
    frame = WINE[["ash", "hue"]].assign(what=np.array(values)[np.arange(178) % 3])
    data = load(save(frame, header=header))
    rows = frame.what.isin(some).to_numpy()
    for columns in (frame.columns, frame.columns[:3]):
        got = read_examples(save(frame.loc[rows, columns], header=header), DataConfig(), data.origin.table)
        np.testing.assert_array_equal(got.x, data.x[rows])
        assert "training had not" not in said(got)


def test_identifiers_without_a_name_are_found_again(save):
    frame = WINE.set_axis([f"wine {i}" for i in range(178)])
    data = load(save(frame, index=True))
    assert "Examples are identified by the 1st column, which has no name." in said(data)
    schema = json.loads(json.dumps(data.origin.table))
    again = read_examples(save(frame[::-1], index=True), DataConfig(), schema)
    assert (again.origin.id_name, again.ids[:2].tolist()) == ("name", ["wine 177", "wine 176"])
    none = load(save(WINE, index=True)).origin.table
    assert read_examples(save(frame, index=True), DataConfig(), none).ids is None


def test_an_option_with_spaces_keeps_what_was_written(save):
    assert load(save(WINE.assign(Num=[f"{i:05}" for i in range(178)])), id=" num ").ids[3] == "00003"


def test_names_that_training_had_not_are_said(save):
    schema = load(save(WINE.iloc[:, :13], header=False)).origin.table
    got = read_examples(save(WINE.iloc[:, :13]), DataConfig(), schema)
    assert "The model was trained on columns without names, so these are taken by their place" in said(got)
