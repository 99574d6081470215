import pytest

from nvisa_tf.config.number_of_clusters import Limits, limits_of


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        ("auto", Limits()),
        ("2-30", Limits(2, 30)),
        (10, None),
        ("10", None),
        ("many", None),
        (None, None),
        ("-3", None),
        ("\u0662-\u0663", None),
    ],
)
def test_what_stands_for_limits(value, limits):
    assert limits_of(value) == limits


@pytest.mark.parametrize("value", ["30-2", "1-5", "4-4", "0-0"])
def test_a_range_without_numbers_is_refused(value):
    with pytest.raises(ValueError, match=f"n_clusters is {value}; a range is of two numbers from 2 on, the first below the second"):
        limits_of(value)
