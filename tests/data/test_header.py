"""What the first line of a table is, on tables as pandas, NumPy, R and spreadsheets write them."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, load_wine

from nvisa_tf.data.header import Header, find_header

WINE = load_wine(as_frame=True).frame
NUMBERED = pd.DataFrame(load_wine().data)


def first_and_body(text):
    rows = list(csv.reader(io.StringIO(text)))
    return rows[0], rows[1:]


def written(frame, **how):
    return find_header(*first_and_body(frame.to_csv(**how)))


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize(
    "names",
    [
        range(13),
        range(1, 14),
        range(1990, 2003),
        range(1960, 2025, 5),
        [f"{350.5 + i / 2}" for i in range(13)],
        list(WINE.columns[:13]),
    ],
)
def test_names_that_pandas_writes(names, index):
    assert written(NUMBERED.set_axis(list(names), axis=1), index=index) is Header.NAMES


@pytest.mark.parametrize("columns", [2, 3, 8])
def test_few_columns_with_numbers_as_names(rng, columns):
    assert written(pd.DataFrame(rng.normal(size=(50, columns))), index=False) is Header.NAMES
    assert written(pd.DataFrame(rng.normal(size=(50, columns))), index=True) is Header.NAMES


def test_bytes_under_numbers_as_names(rng):
    pixels = rng.integers(0, 256, (40, 64))
    assert written(pd.DataFrame(pixels), index=False) is Header.NAMES
    assert written(pd.DataFrame(pixels), index=False, header=False) is Header.EXAMPLE


def test_no_first_line_of_numbers_is_lost(rng):
    """Of tables without names; what cannot be told is UNSURE and asked about, and only where the first line counts up evenly."""
    unsure = 0
    for table in range(400):
        columns = 1 + table % 9
        x = [
            rng.normal(size=(30, columns)),
            rng.integers(0, 5, (30, columns)),
            np.round(rng.normal(size=(30, columns)), 1),
            rng.integers(0, 1000, (30, columns)),
        ][table % 4]
        answer = written(pd.DataFrame(x), index=False, header=False)
        assert answer is not Header.NAMES, x[0]
        unsure += answer is Header.UNSURE
    assert unsure <= 20


def test_known_tables_without_names():
    wine, iris = WINE.drop(columns="target"), load_iris(as_frame=True).frame.assign(target=lambda t: t.target.map({0: "a", 1: "b", 2: "c"}))
    for frame in (wine, iris):
        assert written(frame, index=False) is Header.NAMES
        assert written(frame, index=False, header=False) is Header.EXAMPLE


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("a,b\n1,2\n3,4\n", Header.NAMES),
        ("a,b\n", Header.NAMES),
        ("1,2\n", Header.EXAMPLE),
        ("name,2000,2001\nx,1,5\ny,7,2\n", Header.UNSURE),
        ("name,2000,2001,2002\nx,1.5,5.5,4.5\ny,7.5,2.5,1.5\n", Header.NAMES),
        ("id,1990,1995,2001\n1,1.5,5.5,4.5\n2,7.5,2.5,1.5\n", Header.UNSURE),  # a name, or a gap
        ("oops,2.5,3.5\n4.5,2.5,9.5\n1.5,3.5,4.5\n", Header.UNSURE),
        ("NA,2.5,3.6\n4.5,2.5,9.5\n1.5,3.5,4.5\n", Header.EXAMPLE),
        ("1,2,3\n4,2,9\n1,3,4\n2,2,2\n", Header.UNSURE),
        ("1,2,3\n2,3,4\n3,4,5\n4,5,6\n", Header.UNSURE),  # every line counts up
        ("400,412,455\n0.1,0.2,0.4\n0.3,0.1,0.2\n0.2,0.4,0.1\n", Header.UNSURE),
        ("5,5,1\n4,2,9\n1,3,4\n", Header.EXAMPLE),
        ("p,x,s\ne,x,s\np,y,n\ne,x,s\n", Header.EXAMPLE),
        ("cap,odor,ring\ne,x,s\np,y,n\ne,x,s\n", Header.NAMES),
        ("p,odor,ring\ne,x,s\np,y,n\ne,x,s\n", Header.UNSURE),
        ("0,1,2\ne,x,s\np,y,n\ne,x,s\n", Header.NAMES),
        ("7,1,2\ne,x,s\np,y,n\ne,x,s\n", Header.UNSURE),
        ("1.0e+00,2.0e+00\n3.0e+00,4.0e+00\n", Header.EXAMPLE),
        (",0\n0,1.5\n1,2.5\n2,3.5\n", Header.NAMES),
        (",10,3,7\n0,1.5,2,5\n1,2.5,9,3\n2,3.5,4,8\n", Header.NAMES),  # an index without a name
        (",10,3,7\n5,1.5,2,5\n3,2.5,9,3\n4,3.5,4,8\n", Header.EXAMPLE),  # a gap
        ("0\n1.5\n2.5\n", Header.NAMES),
        ("0\n1\n0\n1\n", Header.UNSURE),
        ("1\n1\n0\n1\n", Header.EXAMPLE),
        ("nan,nan\n1,2\n", Header.EXAMPLE),
    ],
)
def test_what_the_first_line_is(text, answer):
    assert find_header(*first_and_body(text)) is answer
