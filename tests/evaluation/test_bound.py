import dataclasses

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from nvisa_tf import NVISA, evaluate_bound


@pytest.fixture
def linear_model(tiny_config):
    """A model with a linear decoder, so that p(x) is a Gaussian mixture in closed form."""
    model = NVISA(dataclasses.replace(tiny_config, decoder_units=(), decoder_scale="per_dimension"), seed=1)
    model.eps_x.assign(0.5)
    return model


def closed_form(model, x):
    """log p(x) of each example: sum_k 1/3 N(x; W mu_k + b, W S_k W' + D)."""
    kernel, bias = (w.numpy().astype(np.float64) for w in model.decoder.loc.weights)
    noise = (np.log1p(np.exp(model.decoder.raw_scale.numpy())) + float(model.eps_x.numpy())) ** 2
    loc, scale = model.prior.loc.numpy(), np.log1p(np.exp(model.prior.raw_scale.numpy()))
    terms = [
        stats.multivariate_normal(loc[k] @ kernel + bias, kernel.T @ np.diag(scale[k] ** 2) @ kernel + np.diag(noise)).logpdf(x)
        for k in range(3)
    ]
    return logsumexp(terms, axis=0) - np.log(3)


def test_tends_to_the_log_likelihood(linear_model, rng):
    x = rng.normal(size=(40, 6)).astype(np.float32)
    truth = closed_form(linear_model, x).mean()
    bounds = [evaluate_bound(linear_model, x, m) for m in (1, 10, 3000)]
    assert bounds[0] < bounds[1] < bounds[2] + 1e-3
    assert bounds[2] == pytest.approx(truth, abs=0.02)


def test_memory_is_bounded_by_chunks_and_the_chunks_add_up(linear_model, rng):
    x = rng.normal(size=(30, 6)).astype(np.float32)
    sizes = []
    original = linear_model.raw_log_weights

    def watched(x, n_samples, seed):
        sizes.append(int(x.shape[0] or 0) * n_samples)
        return original(x, n_samples, seed)

    linear_model.raw_log_weights = watched
    few = linear_model.score_samples(x, 2000, rows=600).mean()
    assert max(sizes) <= 600
    assert few == pytest.approx(closed_form(linear_model, x).mean(), abs=0.03)


def test_every_example_has_its_own(linear_model, rng):
    x = rng.normal(size=(30, 6)).astype(np.float32) * np.linspace(0.1, 1, 30)[:, None].astype(np.float32)
    found = linear_model.score_samples(x, 3000, rows=3000)  # in pieces
    np.testing.assert_allclose(found, closed_form(linear_model, x), atol=0.4)
    assert linear_model.score_samples(x, 3000).mean() == evaluate_bound(linear_model, x, 3000)


def test_same_seed_same_bound(linear_model, rng):
    x = rng.normal(size=(30, 6)).astype(np.float32)
    assert evaluate_bound(linear_model, x, 5, seed=3) == evaluate_bound(linear_model, x, 5, seed=3)
    assert evaluate_bound(linear_model, x, 5, seed=3) != evaluate_bound(linear_model, x, 5, seed=4)


def test_bad_arguments(linear_model):
    with pytest.raises(ValueError, match="at least 1"):
        evaluate_bound(linear_model, np.zeros((3, 6)), 0)
