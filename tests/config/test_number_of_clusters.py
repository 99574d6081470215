import pytest

from nvisa_tf.config.number_of_clusters import Limits, limits_of


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        ("auto", Limits()),
        ("2-30", Limits(2, 30)),
        (10, None),
        ("10", None),
        (None, None),
        ("-3", None),
    ],
)
def test_what_stands_for_limits(value, limits):
    assert limits_of(value) == limits


@pytest.mark.parametrize("value", ["30-2", "1-5", "4-4", "0-0"])
def test_a_range_without_numbers_is_refused(value):
    with pytest.raises(ValueError, match=f"n_clusters is {value}; a range is of two numbers from 2 on, the first below the second"):
        limits_of(value)


@pytest.mark.parametrize("value", ["many", "2 - 30", "Auto", "2-", "1.5", "\u0662-\u0663", ""])
def test_other_text_is_refused(value):
    with pytest.raises(ValueError, match="it must be a whole number, auto, or a range such as 2-30"):
        limits_of(value)


def test_a_model_that_is_trained_on_keeps_its_number():
    for limits in (Limits(), Limits(2, 3), Limits(3, 9)):
        limits.check_kept(3)
    with pytest.raises(ValueError, match="n_clusters is 4-9, and a warm start keeps the 3 clusters of the last fit"):
        Limits(4, 9).check_kept(3)
