import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.special import log_softmax

from nvisa_tf import NVISA, NVISAConfig, StdAnnealing


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def layer(dense, x):
    weights = [w.numpy().astype(np.float64) for w in dense.weights]
    return x @ weights[0] + (weights[1] if len(weights) > 1 else 0)


def softplus(x):
    return np.logaddexp(0, x)


def log_weights_in_numpy(model, x, draw):
    """log p(x, y, z) - log q(y, z|x) from the weights, in float64, knowing only the paper's model."""
    config = model.config
    y, z = draw.y.numpy(), draw.z.numpy().astype(np.float64)
    h = leaky(layer(model.encoder.layers[0], x))
    log_q_y = log_softmax(layer(model.cluster_head, h), 1)
    hidden = layer(model.latent_head.hidden, h)[None]
    if config.posterior == "full":
        hidden = hidden + model.latent_head.cluster.kernel.numpy()[y]
    hidden = leaky(hidden)
    q_z = stats.norm(
        layer(model.latent_head.loc, hidden), softplus(layer(model.latent_head.raw_scale, hidden)) + float(model.eps_z.numpy())
    )
    logits, loc, raw = (w.numpy().astype(np.float64) for w in (model.prior.logits, model.prior.loc, model.prior.raw_scale))
    log_p = log_softmax(logits)[y] + stats.norm(loc[y], softplus(raw[y])).logpdf(z).sum(-1)
    out = leaky(layer(model.decoder.trunk.layers[0], z))
    mean = layer(model.decoder.loc, out)
    if config.likelihood == "bernoulli":
        log_p_x = (x * -softplus(-mean) + (1 - x) * -softplus(mean)).sum(-1)
    else:
        raw_x = layer(model.decoder.scale_net, out) if config.decoder_scale == "network" else model.decoder.raw_scale.numpy()
        log_p_x = stats.norm(mean, softplus(raw_x) + float(model.eps_x.numpy())).logpdf(x).sum(-1)
    rows = np.arange(len(x))
    return log_p + log_p_x - log_q_y[rows, y] - q_z.logpdf(z).sum(-1)


def shaken(model):
    """Random values in every weight, so that no term is zero or constant by its initial value."""
    rng = np.random.default_rng(3)
    for weight in model.trainable_variables:
        weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
    return model


def draw_particles(model, x, n_samples, seed):
    h = model.encoder(x)
    q_y = model.q_y(h)
    return model.particles(h, q_y, model.propose(q_y, model.noise(len(x), n_samples, seed)))


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize(("likelihood", "scale"), [("gaussian", "network"), ("gaussian", "per_dimension"), ("bernoulli", "network")])
def test_log_weights_against_numpy(tiny_config, posterior, likelihood, scale, rng):
    config = dataclasses.replace(tiny_config, posterior=posterior, likelihood=likelihood, decoder_scale=scale, learn_prior_weights=True)
    model = shaken(NVISA(config))
    model.eps_x.assign(0.3)
    model.eps_z.assign(0.7)
    x = rng.uniform(size=(8, 6)).astype(np.float32)
    draw = draw_particles(model, tf.constant(x), 5, tf.constant([1, 2]))
    got = model.log_weights(tf.constant(x), 5, tf.constant([1, 2]))
    np.testing.assert_allclose(got, log_weights_in_numpy(model, x.astype(np.float64), draw), rtol=2e-5, atol=2e-4)
    assert len(np.unique(draw.y)) == 3


def test_particles_follow_the_posterior(tiny_config, rng):
    model = shaken(NVISA(tiny_config))
    x = tf.constant(rng.normal(size=(1, 6)), tf.float32)
    draw = draw_particles(model, x, 40_000, tf.constant([1, 2]))
    y, z = draw.y.numpy()[:, 0], draw.z.numpy()[:, 0]
    q = model(x).numpy()[0]
    np.testing.assert_allclose(np.bincount(y, minlength=3) / 40_000, q, atol=4 * 0.5 / 200)
    for k in np.flatnonzero(q > 0.05):
        q_z = model.q_z(model.encoder(x), tf.constant([k]))
        of_k = z[y == k]
        assert (np.abs(of_k.mean(0) - q_z.mean().numpy()[0]) < 4 * q_z.stddev().numpy()[0] / np.sqrt(len(of_k))).all()


def gradients(model, x, **options):
    """The one gradient that train_step applies, taken from a step of plain gradient descent with rate 1."""
    before = [w.numpy() for w in model.trainable_variables]
    model.compile(keras.optimizers.SGD(1.0), annealing_x=StdAnnealing.constant(0.5), annealing_z=StdAnnealing.constant(0.5), **options)
    model.train_step(x)
    return [a - w.numpy() for a, w in zip(before, model.trainable_variables, strict=True)]


def test_step_gradient_is_the_finite_difference_of_the_enumerated_bound():
    """The whole step against d/dw E[L_M], with z nearly constant so that y alone needs enumerating.

    q(z|y,x) and p(z|y) get a scale of 0.5 and z enters neither the decoder (kernel 0) nor, the
    densities being equal, the weights; so L_M depends on y only, and the mean over all (y_1, y_2)
    is exact for the cluster head.
    """
    config = NVISAConfig(
        input_shape=(2,), n_clusters=2, latent_dim=1, encoder_units=(3,), posterior_units=2, decoder_units=(2,), learn_prior_weights=True
    )
    x = np.array([[0.4, -1.0]], np.float32)

    def expected_bound(head_bias, logits):
        log_q = log_softmax(layer_logits + head_bias)
        log_w = log_softmax(logits) - log_q
        return sum(
            np.exp(log_q[a] + log_q[b]) * (np.logaddexp(log_w[a], log_w[b]) - np.log(2)) for a, b in itertools.product(range(2), repeat=2)
        )

    model = NVISA(config, seed=5)
    model.prior.logits.assign([0.3, -0.6])
    model.prior.loc.assign(np.zeros((2, 1)))
    model.prior.raw_scale.assign(np.full((2, 1), np.log(np.expm1(0.5))))
    for name in ("loc", "raw_scale"):
        getattr(model.latent_head, name).kernel.assign(np.zeros((2, 1)))
    model.latent_head.raw_scale.bias.assign([-100.0])  # softplus 0, and eps_z adds the 0.5
    model.decoder.trunk.layers[0].kernel.assign(np.zeros((1, 2)))
    layer_logits = layer(model.cluster_head, leaky(layer(model.encoder.layers[0], x.astype(np.float64))))[0]
    logits = np.array([0.3, -0.6])
    eye, d = np.eye(2), 1e-5
    want_head = [(expected_bound(d * e, logits) - expected_bound(-d * e, logits)) / (2 * d) for e in eye]
    want_prior = [(expected_bound(0, logits + d * e) - expected_bound(0, logits - d * e)) / (2 * d) for e in eye]
    tiled = np.repeat(x, 200_000, 0)
    found = dict(zip([w.path for w in model.trainable_variables], gradients(model, tiled, n_samples=2), strict=True))
    head = -next(v for k, v in found.items() if k.endswith("cluster_head/bias"))
    prior = -next(v for k, v in found.items() if k.endswith("prior/logits"))
    np.testing.assert_allclose(head, want_head, atol=4e-3)
    np.testing.assert_allclose(prior, want_prior, atol=4e-3)
    assert np.abs(want_head).max() > 0.03


def test_resampled_decoder_gradient_is_unbiased_for_the_decoder_and_exact_elsewhere(tiny_config, rng):
    x = np.repeat(rng.normal(size=(2, 6)).astype(np.float32), 20_000, 0)
    whole, resampled = (gradients(shaken(NVISA(tiny_config)), x, n_samples=4, decoder_gradient=kind) for kind in ("all", "resampled"))
    names = [w.path for w in NVISA(tiny_config).trainable_variables]
    for name, a, b in zip(names, whole, resampled, strict=True):
        tolerance = 0.03 * (1 + np.abs(a).max()) if "decoder" in name else 1e-6 * (1 + np.abs(a).max())
        np.testing.assert_allclose(b, a, atol=tolerance, err_msg=name)


def test_binarized_inputs_are_0_or_1(tiny_config, rng):
    x = rng.uniform(0, 255, size=(5, 6))
    models = [NVISA(dataclasses.replace(tiny_config, likelihood="bernoulli", binarize=cut)) for cut in (False, True)]
    for model in models:
        model.set_preprocessing(1 / 255)
    np.testing.assert_allclose(models[0].preprocess(x), x / 255, rtol=1e-6)
    np.testing.assert_array_equal(models[1].preprocess(x), x / 255 >= 0.5)
    binary, values = (m.p_x(tf.ones([2])).log_prob(m.preprocess(x)) for m in (models[1], models[0]))
    assert not np.allclose(binary, values)


def test_labels_do_not_reach_the_weights(tiny_config, blobs):
    x, y = blobs
    with_labels, without = NVISA(tiny_config), NVISA(tiny_config)
    for model, data in ((with_labels, (x, y)), (without, x)):
        model.compile(n_samples=3)
        model.train_step(data)
    for a, b in zip(with_labels.trainable_variables, without.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("broken", [np.nan, np.inf, 1e30])
def test_a_step_that_is_not_finite_is_skipped_and_counted(tiny_config, broken, rng):
    model = NVISA(tiny_config)
    model.compile(n_samples=3)
    step = tf.function(model.train_step)
    good = rng.normal(size=(4, 6)).astype(np.float32)
    bad = good.copy()
    bad[2, 3] = broken
    step(good)
    before = [w.numpy() for w in (*model.trainable_variables, *model.optimizer.variables)]
    step(bad)
    step(bad)
    for a, b in zip(before, (*model.trainable_variables, *model.optimizer.variables), strict=True):
        np.testing.assert_array_equal(a, b.numpy())
    assert (int(model.step), int(model.skipped), int(model.skipped_in_a_row)) == (3, 2, 2)
    assert int(step(bad)["nonfinite_steps"]) == 3
    logs = step(good)
    assert (int(model.step), int(model.skipped), int(model.skipped_in_a_row)) == (5, 3, 0)
    assert all(np.isfinite(v) for v in logs.values())


def test_fit_shows_nan_not_0_for_an_epoch_of_skipped_steps(tiny_config):
    model = NVISA(tiny_config)
    model.compile(n_samples=3)
    history = model.fit(np.full((8, 6), np.inf, np.float32), epochs=2, batch_size=4, verbose=0).history
    assert np.isnan(history["bound"]).all()
    assert history["nonfinite_steps"] == [2, 4]


def test_fit_with_stock_callbacks_finds_the_blobs(tiny_config, blobs, tmp_path):
    x, y = blobs
    keras.utils.set_random_seed(0)  # of fit's own shuffle
    model = NVISA(dataclasses.replace(tiny_config, l2=1e-4))
    model.set_preprocessing(1 / x.std(0), -x.mean(0) / x.std(0))
    eps = StdAnnealing(60, mode="exponential")
    model.compile(keras.optimizers.Adam(1e-2), n_samples=5, annealing_x=eps, annealing_z=eps)
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_bound", mode="max", save_best_only=True),
        keras.callbacks.EarlyStopping(monitor="val_bound", mode="max", patience=50),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "tb"),
    ]
    history = model.fit(x, batch_size=64, epochs=25, validation_data=(x, y), callbacks=callbacks, verbose=0).history
    assert history["val_bound"][-1] > history["val_bound"][0] + 1
    assert history["l2"][-1] > 0
    np.testing.assert_allclose(history["loss"], np.array(history["l2"]) - history["bound"], rtol=1e-4)
    from nvisa_tf import clustering_accuracy

    assert clustering_accuracy(y, model.predict_clusters(x)) > 0.95
    assert clustering_accuracy(y, keras.saving.load_model(tmp_path / "best.keras").predict(x, verbose=0).argmax(1)) > 0.6


@pytest.mark.parametrize(("scale", "shift"), [(np.nan, 0.0), (1.0, np.inf), (0.0, 0.0), (np.array([1, 1, 0, 1, 1, 1]), 0.0)])
def test_a_scaling_that_leaves_nothing_is_refused(tiny_config, scale, shift):
    with pytest.raises(ValueError, match="look for NaN or Inf"):
        NVISA(tiny_config).set_preprocessing(scale, shift)


def test_keras_file_round_trip(tiny_config, tmp_path, blobs):
    x, _ = blobs
    model = NVISA(dataclasses.replace(tiny_config, posterior="mean_field", decoder_scale="per_dimension"), seed=3)
    model.set_preprocessing(0.5, 1.0)
    model.compile(keras.optimizers.Adam(1e-3, global_clipnorm=5.0), n_samples=4, annealing_x=StdAnnealing(7), baseline="arithmetic")
    model.fit(x, epochs=2, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    assert again.config == model.config
    for method in ("predict_proba", "predict_clusters", "embed", "reconstruct"):
        np.testing.assert_array_equal(getattr(again, method)(x), getattr(model, method)(x))
    np.testing.assert_array_equal(again.generate(5, seed=2), model.generate(5, seed=2))
    # Training goes on from there the same: optimizer, step, annealing, draws.
    for m in (model, again):
        m.fit(x, epochs=2, verbose=0, shuffle=False)
    for a, b in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_inference_shapes_and_units(rng):
    config = NVISAConfig(input_shape=(4, 5, 3), n_clusters=7, latent_dim=2, encoder_units=(8,), posterior_units=8, decoder_units=(8,))
    model = NVISA(config)
    model.set_preprocessing(1 / 255)
    x = rng.integers(0, 256, (11, 4, 5, 3)).astype(np.uint8)
    proba = model.predict_proba(x, batch_size=4)
    assert proba.shape == (11, 7)
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(proba, model.predict(x, verbose=0), rtol=1e-5)
    np.testing.assert_allclose(proba, model.predict_proba(x.astype(np.float32)), rtol=1e-5)
    assert model.embed(x).shape == (11, 2)
    assert model.reconstruct(x).shape == x.shape
    assert model.generate(3, cluster=6).shape == (3, 4, 5, 3)
    # Back in the data's own units: a decoder mean of 1 is a byte of 255.
    model.decoder.loc.kernel.assign(np.zeros(model.decoder.loc.kernel.shape))
    model.decoder.loc.bias.assign(np.ones(60))
    np.testing.assert_allclose(model.reconstruct(x), 255, rtol=1e-5)


def test_embedding_is_the_posterior_mean_at_the_chosen_cluster(tiny_config, rng):
    model = shaken(NVISA(tiny_config))
    x = rng.normal(size=(20, 6)).astype(np.float32)
    means = np.stack([model.q_z(model.encoder(x), tf.fill([20], k)).mean() for k in range(3)], 1)
    np.testing.assert_allclose(model.embed(x), means[np.arange(20), model.predict_clusters(x)], rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"decoder_scale": "per_dimension", "hold_scales": True}, {"likelihood": "bernoulli"}])
def test_density_compiled_in_a_graph_is_the_plain_one_with_its_gradient(tiny_config, options, rng):
    model = shaken(NVISA(dataclasses.replace(tiny_config, **options)))
    model.eps_x.assign(0.3)
    x, z = (tf.constant(rng.uniform(size=shape), tf.float32) for shape in [(5, 6), (4, 5, 2)])

    def run():
        with tf.GradientTape() as tape:
            log_p_x = model.log_p_x(x, z)
        return log_p_x, tape.gradient(log_p_x, [v.value for v in model.decoder.trainable_variables])

    (plain, expected), (found, gradients) = run(), tf.function(run)()
    np.testing.assert_allclose(plain, model.p_x(z).log_prob(x), rtol=1e-6)
    np.testing.assert_allclose(found, plain, rtol=1e-5)
    for a, b in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_more_samples_than_clusters_have_the_posterior_of_each_alone(tiny_config, rng):
    model = shaken(NVISA(tiny_config))
    h = model.encoder(rng.normal(size=(5, 6)).astype(np.float32))
    y = rng.integers(0, 3, size=(7, 5))

    def parameters(y):
        with tf.GradientTape() as tape:
            q_z = model.q_z(h, y)
            total = tf.reduce_sum(q_z.log_prob(tf.ones([len(y), 5, 2])))
        return q_z.mean(), q_z.stddev(), tape.gradient(total, [v.value for v in model.latent_head.trainable_variables])

    mean, stddev, gradient = parameters(y)
    one_by_one = [parameters(row[None]) for row in y]
    np.testing.assert_allclose(mean, np.concatenate([m for m, _, _ in one_by_one]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stddev, np.concatenate([s for _, s, _ in one_by_one]), rtol=1e-5, atol=1e-6)
    for whole, *parts in zip(gradient, *(g for _, _, g in one_by_one), strict=True):
        np.testing.assert_allclose(whole, np.sum(parts, 0), rtol=1e-4, atol=1e-4)


def test_generate_draws_from_the_prior_of_its_cluster(tiny_config):
    model = NVISA(tiny_config)
    np.testing.assert_array_equal(model.generate(4, seed=1), model.generate(4, seed=1))
    assert np.abs(model.generate(4, seed=1) - model.generate(4, seed=2)).max() > 1e-3
    model.prior.raw_scale.assign(np.full((3, 2), -100.0))  # no spread: z is mu_y
    for k in range(3):
        expected = model.p_x(model.prior.loc[k : k + 1]).mean()
        np.testing.assert_allclose(model.generate(2, cluster=k), np.repeat(expected, 2, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.predict_clusters(np.zeros((3, 5))), r"shape \[3, 5\]; this model takes \[n, 6\]"),
        (lambda m: m.embed(np.full((2, 6), np.nan)), "NaN or Inf, the first in example 0"),
        (lambda m: m.embed(np.zeros((0, 6))), "no examples"),
        (lambda m: m.embed(np.array([["a"] * 6])), "integers or floats"),
        (lambda m: m.generate(0), "at least 1"),
        (lambda m: m.generate(1, cluster=3), "clusters are 0 to 2"),
    ],
)
def test_bad_input(tiny_config, call, words):
    with pytest.raises(ValueError, match=words):
        call(NVISA(tiny_config))


def test_input_shape_is_required():
    with pytest.raises(ValueError, match="input_shape is empty"):
        NVISA(NVISAConfig())


def test_seed_decides_the_weights(tiny_config):
    a, b, c = NVISA(tiny_config, seed=1), NVISA(tiny_config, seed=1), NVISA(tiny_config, seed=2)
    np.testing.assert_array_equal(a.encoder.weights[0], b.encoder.weights[0])
    assert np.abs(a.encoder.weights[0] - c.encoder.weights[0]).max() > 1e-3


def test_y_is_ignored_by_the_mean_field_posterior_and_used_by_the_full_one(tiny_config, rng):
    x = rng.normal(size=(4, 6)).astype(np.float32)
    for posterior, differs in (("full", True), ("mean_field", False)):
        model = NVISA(dataclasses.replace(tiny_config, posterior=posterior))
        a, b = (model.q_z(model.encoder(x), tf.fill([4], k)).mean().numpy() for k in (0, 1))
        assert (np.abs(a - b).max() > 1e-3) == differs


def test_adam_sees_dense_gradients(tiny_config, rng):
    """Adam's first step moves every entry by the learning rate, whatever its gradient, if it sees the summed gradient."""
    model = shaken(NVISA(tiny_config))
    before = [model.prior.loc.numpy(), model.prior.raw_scale.numpy()]
    model.compile(keras.optimizers.Adam(1e-3), n_samples=15)
    model.train_step(rng.normal(size=(128, 6)).astype(np.float32))
    for a, b in zip(before, (model.prior.loc, model.prior.raw_scale), strict=True):
        np.testing.assert_allclose(np.abs(a - b), 1e-3, rtol=5e-2)


def test_saving_without_compiling(tiny_config, tmp_path):
    model = NVISA(tiny_config)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    again.save(tmp_path / "n.keras")
    np.testing.assert_array_equal(again.embed(np.ones((2, 6))), model.embed(np.ones((2, 6))))
