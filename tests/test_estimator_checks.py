"""What scikit-learn asks of every estimator, of both methods.

Without graphs, as tracing them is nearly all of the time, and what is asked does not depend on them; the other tests of the estimator have
them.
"""

import pytest
import tensorflow as tf
from sklearn.utils import estimator_checks
from sklearn.utils._testing import assert_allclose_dense_sparse
from sklearn.utils.estimator_checks import parametrize_with_checks

from nvisa_tf import NVISAClustering

NETWORKS = {"encoder_units": (4,), "decoder_units": (4,), "latent_dim": 2, "epochs": 1}
NVISA = {**NETWORKS, "posterior_units": 4, "n_samples": 2, "decoder_gradient": "all", "eval_samples": 1}
ESTIMATORS = [
    NVISAClustering(3, preset="random_small", options=NVISA),
    NVISAClustering(3, method="ae_gmm", options=NETWORKS),
]
# Sparse data are taken, and tests/test_estimator.py has them. The check takes every estimator with predict_proba for a classifier.
REASON = "scikit-learn's check asks a clusterer for the tags of a classifier"
EXPECTED = {"check_estimator_sparse_array": REASON, "check_estimator_sparse_matrix": REASON}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::sklearn.exceptions.SkipTestWarning")


@pytest.fixture(autouse=True)
def without_graphs():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda estimator: EXPECTED)
def test_it_is_an_estimator(estimator, check, monkeypatch):
    # On some processors the last bit of a float32 product depends on a row's place, and the check asks for more digits than these have.
    if check.func.__name__ == "check_methods_sample_order_invariance":
        monkeypatch.setattr(estimator_checks, "assert_allclose_dense_sparse", to_float32)
    check(estimator)


def to_float32(one, other, err_msg="", **_):
    assert_allclose_dense_sparse(one, other, rtol=1e-5, atol=1e-6, err_msg=err_msg)
