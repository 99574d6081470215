"""AE+GMM against scikit-learn's mixture on the same codes; what every method does is in contract.py."""

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from nvisa_tf import Dataset, RunConfig, Trainer, clustering_accuracy
from nvisa_tf.clustering.mixtures import FITS
from nvisa_tf.data import Splits
from nvisa_tf.models.stage import derived_seed
from nvisa_tf.runs.workflows import build_model

OPTIONS = {"n_clusters": 3, "latent_dim": 2, "encoder_units": (16,), "decoder_units": (16,), "epochs": 300, "batch_size": 32}


@pytest.fixture(scope="module", params=["full", "diag"])
def trained(request, make_blobs):
    data = Dataset("blobs", *make_blobs(60))
    config = RunConfig.of("ae_gmm", {**OPTIONS, "covariance": request.param, "seed": 3})
    model = build_model(config, Splits(data, data, ""))
    trainer = Trainer(model, config, data)
    trainer.train()
    return model, data, request.param, trainer.stages[-1].report


def test_clusters_are_those_of_the_mixture_of_the_codes(trained):
    model, data, covariance, report = trained
    codes = model.embed(data.x).astype(np.float64)
    reference = GaussianMixture(3, covariance_type=covariance, n_init=FITS, random_state=derived_seed(3, 3)).fit(codes)
    np.testing.assert_allclose(model.predict_proba(data.x), reference.predict_proba(codes), atol=1e-3)
    assert report["log_likelihood"] == pytest.approx(reference.lower_bound_, abs=1e-3)
    joint = reference.score_samples(codes)  # log p(z)
    np.testing.assert_allclose(model.prior.log_prob(codes.astype(np.float32)), joint, rtol=1e-3, atol=1e-2)
    assert clustering_accuracy(data.y, model.predict_clusters(data.x)) == report["accuracy"] > 0.97


def test_codes_have_a_standard_deviation_of_1_and_are_decoded_as_before(trained):
    model, data, _, report = trained
    codes = model.embed(data.x)
    np.testing.assert_allclose(codes.mean(0), 0, atol=1e-4)
    assert np.sqrt(np.mean(codes**2)) == pytest.approx(1, abs=1e-4)
    squares = (model.scaled(model.reconstruct(data.x)) - model.scaled(data.x)) ** 2
    assert report["held_out_squared_error"] == pytest.approx(np.mean(squares), rel=1e-4)
    assert np.mean(squares) < 0.2  # of values of standard deviation 1


def test_samples_of_a_cluster_are_put_into_it(trained):
    model = trained[0]
    for cluster in range(3):
        assert np.mean(model.predict_clusters(model.generate(50, cluster=cluster)) == cluster) > 0.9
