"""Text files of separated values, against what pandas and Python's own csv write and read."""

import gzip

import numpy as np
import pandas as pd
import pytest

from nvisa_tf.data.delimited import read_delimited

FRAME = pd.DataFrame({"size": [1.5, -2.25, 1e-3], "count": [3, 40, 5], "what": ["a b", "c; d", 'e, "f"']})


def read(tmp_path, content, name="t.csv", **how):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_delimited(str(path), **how)


def same(table, frame=FRAME):
    assert [column.name for column in table.columns] == list(frame.columns)
    for column in table.columns:
        assert column.values.tolist() == frame[column.name].tolist()
    return True


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_quotation_marks_and_ends_of_lines(tmp_path, delimiter, end):
    assert same(read(tmp_path, FRAME.to_csv(index=False, sep=delimiter, lineterminator=end)))


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_decimal_commas(tmp_path, delimiter):
    assert same(read(tmp_path, FRAME.to_csv(index=False, sep=delimiter, decimal=",")))


def test_quoted_decimal_commas_between_commas(tmp_path):
    table = read(tmp_path, 'a,b\n"1,5","2"\n"3,25","4"\n')
    assert [column.values.tolist() for column in table.columns] == [[1.5, 3.25], [2, 4]]


def test_commas_that_may_be_of_thousands_are_not_guessed(tmp_path):
    assert [column.kind for column in read(tmp_path, "a;b\n1,500;2\n3,250;4\n").columns] == ["grouped", "number"]
    # One of them is a decimal comma, so all are.
    assert [column.values.tolist() for column in read(tmp_path, "a;b\n1,500;2,5\n3,250;4,0\n").columns] == [[1.5, 3.25], [2.5, 4.0]]
    for text in ("a;b\n1,5;2.5\n3,2;4.5\n", "a;b\n1,5;1.000\n3,2;2.000\n"):
        with pytest.raises(ValueError, match=r"column b has numbers with a point and column a numbers with a comma; write all decimals"):
            read(tmp_path, text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path, encoding):
    table = read(tmp_path, "größe,wert\n1,2\n3,4\n".encode(encoding))
    assert [column.name for column in table.columns] == ["größe", "wert"]


def test_gzip(tmp_path):
    assert same(read(tmp_path, gzip.compress(FRAME.to_csv(index=False).encode()), "t.csv.gz"))


@pytest.mark.parametrize("header", ["", "a b c", "a,b,c"])
def test_what_numpy_writes(tmp_path, rng, header):
    x = rng.normal(size=(20, 3))
    np.savetxt(tmp_path / "t.txt", x, header=header, delimiter="," if "," in header else " ")
    table = read_delimited(str(tmp_path / "t.txt"))
    assert table.named == bool(header)
    assert [column.name for column in table.columns] == (["a", "b", "c"] if header else ["1", "2", "3"])
    np.testing.assert_allclose(np.stack([column.values for column in table.columns], 1), x)


def test_what_r_and_excel_write(tmp_path):
    r = read(tmp_path, '"mpg" "cyl"\n"Mazda RX4" 21 6\n"Datsun 710" 22.8 4\n', "t.txt")  # write.table: no name above the rows' names
    assert [(column.name, column.values.tolist()) for column in r.columns] == [
        ("", ["Mazda RX4", "Datsun 710"]),
        ("mpg", [21, 22.8]),
        ("cyl", [6, 4]),
    ]
    excel = read(tmp_path, "sep=;\r\na;b\r\n1,5;2\r\n2,25;3\r\n;\r\n;\r\n")
    assert [(column.name, column.values.tolist()) for column in excel.columns] == [("a", [1.5, 2.25]), ("b", [2, 3])]
    assert excel.places.tolist() == [3, 4]


def test_missing_values(tmp_path):
    table = read(tmp_path, "a,b\n,x\nNA,NaN\n?,null\n5,N/A\n7,y\n")
    assert table.columns[0].missing().tolist() == [True, True, True, False, False]
    assert table.columns[1].values.tolist() == ["x", None, None, None, "y"]


def test_kinds(tmp_path):
    text = "n,b,t,d,m\n1,True,1_000,2024-01-02,1\n2,false,2_000,2023-12-31 10:00,2\n3,,3,2024-02-29,x\n"
    columns = {column.name: column for column in read(tmp_path, text).columns}
    assert {name: column.kind for name, column in columns.items()} == {
        "n": "number",
        "b": "bool",
        "t": "text",
        "d": "date",
        "m": "mixed",
    }
    assert columns["b"].values.tolist()[:2] == [1, 0]


def test_a_column_that_is_text_only_far_down_keeps_its_texts(tmp_path, monkeypatch):
    monkeypatch.setattr("nvisa_tf.data.delimited.BLOCK", 3)
    values = [f"{i:03}" for i in range(10)] + ["x"] * 30
    table = read(tmp_path, "a,b\n" + "".join(f"{value},{i}\n" for i, value in enumerate(values)))
    assert table.columns[0].values.tolist() == values
    assert table.columns[1].values.tolist() == list(range(40))


def test_identifiers_keep_their_digits(tmp_path):
    table = read(tmp_path, "id,a\n0012345678901234567890,1\n0012345678901234567891,2\n", keep_raw=lambda name: name == "id")
    assert table.columns[0].text().tolist() == ["0012345678901234567890", "0012345678901234567891"]


def test_lines_of_a_value_over_several_are_counted(tmp_path):
    table = read(tmp_path, 'a,b\n1,"x\ny"\n\n2,z\n')
    assert table.places.tolist() == [2, 5]


def test_every_header_that_is_asked_for(tmp_path):
    assert len(read(tmp_path, "1,2,3\n4,2,9\n1,3,4\n", header="no")) == 3
    assert [column.name for column in read(tmp_path, "1,2,3\n4,2,9\n1,3,4\n", header="yes").columns] == ["1", "2", "3"]
    known = read(tmp_path, "1,2,3\n4,2,9\n1,3,4\n", known=["3", "1", "2"])
    assert known.named


def test_numbers_that_were_taken_for_names_are_said(tmp_path):
    remarks = read(tmp_path, "2000,2001,2002\n1.5,2.5,3.6\n9.1,2.2,3.3\n").remarks
    assert remarks == ("The first line (2000, 2001, 2002) was taken for the columns' names; if it is an example, say --header no.",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty; a table has a line for each example"),
        ("\n\n", "is empty"),
        ("# only a comment\n", "is empty"),
        ("a,b\n", "has the columns' names alone"),
        ("a,b\n1,2\n3\n", "line 3 has 1 value where the line of names has 2"),
        ("1,2.5\n3,4\n5\n", "line 3 has 1 value where line 1 has 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 values"),
        ("a\n1,5\n2,5\n2,7\n", "line 2 has 2 values where the line of names has 1"),
        ('a,b\n1,"2\n3,4\n', "line 2 has a quotation mark that is not closed"),
        ('a,b\n1,"2"x\n3,4\n', "line 2 has a quotation mark"),
        ("1,2,3\n4,2,9\n1,3,4\n", r"line 1 \(1, 2, 3\) may have the columns' names or an example; say --header yes or --header no"),
        ("a,a\n1,2\n", "two columns named a"),
        (b"a,b\n1,2\n3,\xe9\n", "is not in UTF-8: line 3 has the byte 0xe9; save it as CSV in UTF-8"),
        (b"PK\x03\x04\x00\x00binary", "is not a text file; save the table as CSV"),
        (b"\xff\xfea\x00,", "is not in UTF-16"),
        pytest.param("a,b\n1," + "x" * 200_000 + "\n", "line 2 has a value of more than 131,072 characters", id="long"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, content, words):
    with pytest.raises(ValueError, match=words) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(str(tmp_path))
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


WHOLE = gzip.compress(b"a,b\n1,2\n" * 1000, mtime=0)  # the same in each process of the tests


@pytest.mark.parametrize("content", [b"no gzip", WHOLE[:-20], WHOLE[:25]], ids=["no gzip", "cut", "a start"])
def test_a_damaged_gzip_file(tmp_path, content):
    with pytest.raises(ValueError, match=r"is cut off, damaged or not compressed by gzip; copy it again\.$"):
        read(tmp_path, content, "t.csv.gz")


@pytest.mark.parametrize(
    "content",
    [
        "x\n1,5\n2,5\n3,7\n",  # decimal commas between commas
        "item,price\ni0,0,5\ni1,2,5\n",
        "a,b\n0.5,7,0\n1.5,8,0\n",
        '"a","b"\n"0.5",7,0\n"1.5",8,0\n',
        '"a","b"\n"i",7,0\n"i",8,0\n',
    ],
)
@pytest.mark.parametrize("known", [None, ["x"], ["item", "price"], ["a", "b"]])
def test_lines_of_a_value_too_many_do_not_shift_the_names(tmp_path, content, known):
    with pytest.raises(ValueError, match=r"line 2 has \d values where the line of names has \d; name every column, or put values"):
        read(tmp_path, content, known=known)


def test_row_names_that_r_counts(tmp_path):
    table = read(tmp_path, '"a" "b"\n"1" 0.5 7\n"2" 1.5 8\n"3" 2.5 9\n', "t.txt")
    assert [(column.name, column.values.tolist()) for column in table.columns] == [
        ("", [1, 2, 3]),
        ("a", [0.5, 1.5, 2.5]),
        ("b", [7, 8, 9]),
    ]


@pytest.mark.parametrize("first", ["1,2,3", "0,1,2", "2000,2001,2002"])
def test_without_names_a_first_line_that_counts_is_an_example(tmp_path, first):
    body = "\n1.5,2.5,3.6\n9.1,2.2,3.3\n"
    assert read(tmp_path, first + body).named
    assert len(read(tmp_path, first + body, known=[])) == 3
    assert len(read(tmp_path, "red,low\nblue,high\n", known=[])) == 2
    assert read(tmp_path, "a,b,c" + body, known=[]).named


def test_a_first_line_of_text_above_text_is_said(tmp_path):
    table = read(tmp_path, "alice,red\nbob,blue\ncarol,green\n")
    assert table.remarks == ("The first line (alice, red) was taken for the columns' names; if it is an example, say --header no.",)


@pytest.mark.parametrize(
    ("content", "names", "rows", "remarks"),
    [
        ("#ff0000,1,2.5\n#00ff00,3,4.5\nred,5,6.5\n", ["1", "2", "3"], 3, ()),
        ("#ff0000,1,2.5\n#00ff00,3,4.5\n", ["1", "2", "3"], 2, ()),
        ("#1,2.5\n", ["1", "2"], 1, ()),
        ("# of 2024\n#ff0000,1\n#00ff00,3.5\n", ["1", "2"], 2, ("Lines that begin with # and were passed over as comments: 1.",)),
        ("# one, 2\n# two\na,b\n1,2.5\n", ["a", "b"], 1, ("Lines that begin with # and were passed over as comments: 2.",)),
        ("# made by x\n#a,b\n1,2.5\n", ["a", "b"], 1, ("Lines that begin with # and were passed over as comments: 1.",)),
    ],
)
def test_rows_that_begin_as_comments_do(tmp_path, content, names, rows, remarks):
    table = read(tmp_path, content)
    assert ([column.name for column in table.columns], len(table), table.remarks) == (names, rows, remarks)
    assert table.places[-1] == content.count("\n")


def test_what_only_begins_as_another_format(tmp_path):
    assert [column.name for column in read(tmp_path, "<lod,b\n1,2\n3,4\n").columns] == ["<lod", "b"]
    assert [column.name for column in read(tmp_path, "{a},b\n1,2\n3,4\n").columns] == ["{a}", "b"]
    for content, what in (("<!DOCTYPE html>\n<p>", "a web page"), ('{"a": 1}\n{"a": 2}\n', "JSON"), ('[{"a":\n1}]', "JSON")):
        with pytest.raises(ValueError, match=f"is {what}, and no table"):
            read(tmp_path, content)


def test_an_ending_in_capitals(tmp_path):
    assert same(read(tmp_path, gzip.compress(FRAME.to_csv(index=False).encode()), "T.CSV.GZ"))
