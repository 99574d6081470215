import dataclasses

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from nvisa_tf import NVISA, NVISAConfig, evaluate_bound
from nvisa_tf.models import density


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


@pytest.fixture
def some(rng):
    """Examples of which some are far out, [40, 6]."""
    return (rng.normal(size=(40, 6)) * np.linspace(0.1, 2, 40)[:, None]).astype(np.float32)


def test_memory_is_bounded_by_chunks_and_the_chunks_add_up(linear_model, some):
    sizes = []
    original = linear_model.raw_log_weights

    def watched(x, gumbel, normal):
        sizes.append(len(x) * len(gumbel))
        return original(x, gumbel, normal)

    linear_model.graph_functions.traced = lambda function: function  # the sizes of every call, not of every trace
    whole = linear_model.score_samples(some, 110)
    linear_model.raw_log_weights = watched
    for rows in (600, 70, 7):  # several examples a call, one, and a part of one's block
        sizes.clear()
        np.testing.assert_allclose(linear_model.score_samples(some[:3], 110, rows=rows), whole[:3], atol=1e-4)
        assert max(sizes) <= rows
        assert sum(sizes) == 3 * 110


def test_every_example_has_its_own_and_its_standard_error_is_right(linear_model, rng):
    x = rng.normal(size=(200, 6)).astype(np.float32)
    found, std = linear_model.score_samples(x, 2000, seed=5, return_std=True)
    z = (found - closed_form(linear_model, x)) / std
    assert found.shape == std.shape == (200,)
    assert found.dtype == std.dtype == np.float64
    # The mean weight is p(x) without bias, and draws of different examples are independent: 200 standard normal values.
    assert abs(z.mean()) < 4 / np.sqrt(200)
    assert 0.8 < z.std() < 1.2
    assert linear_model.score_samples(x, 2000, 5).mean() == evaluate_bound(linear_model, x, 2000, 5)


def test_quadrature_of_a_nonlinear_decoder_gives_the_same(rng):
    config = NVISAConfig(input_shape=(3,), n_clusters=2, latent_dim=1, encoder_units=(8,), posterior_units=8, decoder_units=(8,))
    model = NVISA(config, seed=3)
    model.eps_x.assign(0.3)
    x = rng.normal(size=(20, 3)).astype(np.float32)
    z = np.linspace(-12, 12, 6001)
    loc, raw_scale = (np.asarray(array, np.float64) for array in model.decoder(z[:, None].astype(np.float32)))
    log_p_x = stats.norm.logpdf(x[:, None], loc, np.log1p(np.exp(raw_scale)) + 0.3).sum(-1)
    means, scales = model.prior.loc.numpy(), np.log1p(np.exp(model.prior.raw_scale.numpy()))
    p_z = np.mean([stats.norm.pdf(z, means[k, 0], scales[k, 0]) for k in range(2)], axis=0)
    truth = np.log(np.trapezoid(np.exp(log_p_x) * p_z, z, axis=1))
    found, std = model.score_samples(x, 5000, return_std=True)
    assert np.abs((found - truth) / std).max() < 4
    assert std.max() < 0.1


def test_copies_places_and_neighbours_do_not_matter(linear_model, some):
    copies = np.repeat(some[:1], 5, axis=0)
    for n_samples in (7, None):
        whole = linear_model.score_samples(some, n_samples)
        assert np.ptp(linear_model.score_samples(copies, n_samples)) < 1e-4
        order = np.random.default_rng(1).permutation(40)
        np.testing.assert_allclose(linear_model.score_samples(some[order], n_samples), whole[order], atol=1e-4)
        np.testing.assert_allclose(linear_model.score_samples(some[[30]], n_samples), whole[[30]], atol=1e-4)
        mixed = np.concatenate([some[30:33], copies, some[5:9]])
        np.testing.assert_allclose(linear_model.score_samples(mixed, n_samples, rows=200)[:3], whole[30:33], atol=1e-4)
    zeros = np.zeros((1, 6), np.float32)
    assert linear_model.score_samples(zeros, 5) == linear_model.score_samples(-zeros, 5)
    assert not np.isclose(linear_model.score_samples(zeros, 5), linear_model.score_samples(zeros + np.float32(1e-6), 5))


def test_wide_ones_get_more_samples_where_the_number_is_not_given(linear_model, some):
    asked = []
    original = density._log_sums

    def watched(model, x, keys, first, last, rows):
        asked.append((len(x), first, last))
        return original(model, x, keys, first, last, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(density, "_log_sums", watched)
        found, std = linear_model.score_samples(some, return_std=True)
    few, std_of_few = linear_model.score_samples(some, 50, return_std=True)
    assert asked[:2] == [(40, 0, 50), (np.count_nonzero(std_of_few > density.TOLERANCE), 50, 100)]
    assert 0 < asked[1][0] < 40
    assert [last for _, _, last in asked] == [50, 100, 200, 400, 800, 1600][: len(asked)]
    precise = std_of_few <= density.TOLERANCE
    np.testing.assert_array_equal(found[precise], few[precise])
    assert std[~precise].mean() < 0.8 * std_of_few[~precise].mean()
    last = density.MOST_SAMPLES
    wide = linear_model.score_samples(some, last, return_std=True)
    assert np.all((std <= density.TOLERANCE) | (np.isclose(found, wide[0]) & np.isclose(std, wide[1])))


def test_draws_are_standard_and_those_of_an_example_and_a_block_alone():
    keys = [density.example_key(np.float32([value]), 0) for value in range(100)]
    gumbel, normal = density.own_noise(keys, range(3), 50, 4, 2)
    assert (gumbel.shape, normal.shape) == ((150, 100, 4), (150, 100, 2))
    assert stats.kstest(gumbel[:, ::7].ravel(), "gumbel_r").pvalue > 1e-3
    assert stats.kstest(normal.ravel(), "norm").pvalue > 1e-3
    for draws, again in zip((gumbel, normal), density.own_noise(keys[7:8], range(1, 2), 50, 4, 2), strict=True):
        np.testing.assert_array_equal(again[:, 0], draws[50:100, 7])
        assert len(np.unique(draws)) > 0.99 * draws.size


def test_same_seed_same_bound(linear_model, rng):
    x = rng.normal(size=(30, 6)).astype(np.float32)
    assert evaluate_bound(linear_model, x, 5, seed=3) == evaluate_bound(linear_model, x, 5, seed=3)
    assert evaluate_bound(linear_model, x, 5, seed=3) != evaluate_bound(linear_model, x, 5, seed=4)


def test_bad_arguments(linear_model):
    with pytest.raises(ValueError, match="at least 1"):
        evaluate_bound(linear_model, np.zeros((3, 6)), 0)
