"""What the estimator takes as X, and what it says of what it cannot take.

Without graphs, as in tests/test_estimator_checks.py.
"""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import tensorflow as tf
from sklearn.exceptions import NotFittedError

from nvisa_tf import NVISAClustering

OPTIONS = {"encoder_units": (4,), "decoder_units": (4,), "latent_dim": 2, "epochs": 2}
VALUES = np.random.default_rng(0).normal(size=(40, 3)).round(3)
NAMES = ["age", "height", "weight"]
FRAME = pd.DataFrame(VALUES, columns=NAMES)
TRUE = VALUES > 0

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True, scope="module")
def without_graphs():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def small(**kwargs):
    return NVISAClustering(2, method="ae_gmm", options=OPTIONS, **kwargs)


@pytest.fixture(scope="module")
def of_array(without_graphs):
    return small().fit(VALUES)


@pytest.fixture(scope="module")
def of_frame(without_graphs):
    return small().fit(FRAME)


@pytest.mark.parametrize(
    "data",
    [
        VALUES.tolist(),
        VALUES.astype(object),
        VALUES.astype(str).astype(object),
        FRAME,
        FRAME.convert_dtypes(),
        FRAME.convert_dtypes(dtype_backend="pyarrow"),
        pl.DataFrame(VALUES, schema=NAMES),
        pa.table(dict(zip(NAMES, VALUES.T, strict=True))),
        sp.csr_matrix(VALUES),
        sp.coo_array(VALUES),
        tf.constant(VALUES),
        tf.data.Dataset.from_tensor_slices(VALUES),
        tf.data.Dataset.from_tensor_slices(VALUES).batch(16),
        np.asfortranarray(VALUES),
    ],
    ids=lambda data: f"{type(data).__module__.split('.')[0]}-{type(data).__name__}",
)
@pytest.mark.filterwarnings("ignore:X has feature names", "ignore:X does not have valid feature names")
def test_one_table_is_the_same_in_any_form(of_array, data):
    found = small().fit(data)
    np.testing.assert_array_equal(found.predict_proba(VALUES), of_array.predict_proba(VALUES))
    np.testing.assert_array_equal(of_array.transform(data), of_array.transform(VALUES))
    named = hasattr(data, "columns") or hasattr(data, "column_names")
    assert list(getattr(found, "feature_names_in_", [])) == (NAMES if named else [])
    assert found.n_features_in_ == 3


@pytest.mark.parametrize("truth", [TRUE, pd.DataFrame(TRUE), pd.DataFrame(TRUE).astype("boolean"), sp.csr_array(TRUE)])
def test_truth_values_are_0_and_1(truth):
    expected = small().fit(TRUE.astype(np.float64))
    np.testing.assert_array_equal(small().fit(truth).predict_proba(truth), expected.predict_proba(TRUE.astype(np.float64)))


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_columns_are_known_by_name(of_frame):
    for other, words in (
        (FRAME[NAMES[::-1]], "must be in the same order"),
        (FRAME[NAMES[:2]], "Feature names seen at fit time, yet now missing:\n- weight"),
        (FRAME.assign(shoe=1.0), "Feature names unseen at fit time:\n- shoe"),
        (pl.DataFrame(VALUES, schema=["age", "size", "weight"]), "unseen at fit time:\n- size"),
        (pa.table(dict(zip(NAMES[::-1], VALUES.T, strict=True))), "must be in the same order"),
    ):
        for method in ("predict", "predict_proba", "transform"):
            with pytest.raises(ValueError, match=words):
                getattr(of_frame, method)(other)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        of_frame.predict(VALUES)
    with pytest.raises(ValueError, match="X has 2 features, but NVISAClustering is expecting 3"):
        of_frame.predict(FRAME.set_axis(NAMES, axis=1)[NAMES[:2]].to_numpy())


def test_outputs_have_names(of_frame):
    names = ["nvisaclustering0", "nvisaclustering1"]
    assert of_frame.get_feature_names_out().tolist() == names
    named = small().set_output(transform="pandas").fit_transform(FRAME.set_index(FRAME.index + 7))
    assert list(named.columns) == names
    assert named.index.tolist() == list(range(7, 47))
    np.testing.assert_array_equal(named.to_numpy(), of_frame.transform(FRAME))
    assert small().set_output(transform="polars").fit(FRAME).transform(FRAME).columns == names


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (FRAME.assign(age="old"), ValueError, r"X has the text 'old' in row 0, column age; encode text as numbers"),
        (FRAME.assign(age=pd.Categorical(["a"] * 40)), ValueError, "the text 'a' in row 0, column age"),
        (pl.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["1", "2", "x"]}), ValueError, "the text 'x' in row 2, column b"),
        (pa.table({"a": [1.0, 2.0], "b": ["1", "x"]}), ValueError, "the text 'x' in row 1, column b"),
        (FRAME.assign(when=pd.Timestamp("2026-11-26")), TypeError, "X has a Timestamp in row 0, column when"),
        (np.array([[1, 2], [3, datetime.date(2026, 1, 1)]], object), TypeError, "a date in row 1, column 1"),
        (VALUES.astype(str), ValueError, "X has the type <U32; convert it to numbers first"),
        ([[1, 2], [3]], ValueError, "X has 2 values in row 0 and 1 value in row 1"),
        (FRAME.astype("Float64").mask(FRAME.iloc[3, 1] == FRAME), ValueError, "NaN or Inf, the first in example 3, column height"),
        (pl.DataFrame({"a": [1.0, None, 3.0], "b": [1, 2, 3]}), ValueError, "the first in example 1, column a"),
        (np.ma.masked_less(VALUES, -1), ValueError, "NaN or Inf"),
        (VALUES[:, 0], ValueError, "Reshape your data X, which have one axis"),
        (FRAME["age"], ValueError, "Reshape your data X, which have one axis"),
        (pl.DataFrame(VALUES).lazy(), ValueError, "X is of the type LazyFrame; give an array"),
        (VALUES[:1], ValueError, "minimum of 2 is required"),
        (np.full((5, 2), 3.0), ValueError, "every value of x is 3"),
    ],
)
def test_what_cannot_be_used_is_named(data, error, words):
    with pytest.raises(error, match=words) as found:
        small().fit(data)
    assert len(str(found.value)) < 300


def test_images(bar_images):
    x, _ = bar_images
    found = small().fit(x)
    assert found.n_features_in_ == 36
    np.testing.assert_array_equal(found.predict(x), found.labels_)
    for other in (x[..., None], x.reshape(300, 36), x[:, :5]):
        with pytest.raises(ValueError, match=r"this model takes \[n, 6, 6\]"):
            found.predict(other)
    with pytest.raises(NotFittedError):
        small().predict(x)
    colour = np.repeat(x[:60, ..., None], 3, 3)
    assert small().fit(colour).transform(colour).shape == (60, 2)
