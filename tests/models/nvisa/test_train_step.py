"""The gradient step of every objective: in chunks or at once, against a closed form, through the trainer."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from nvisa_tf import (
    NVISA,
    OBJECTIVES,
    Dataset,
    NVISAConfig,
    RunConfig,
    RunDirectory,
    StdAnnealing,
    StopReason,
    Trainer,
    clustering_accuracy,
    input_scaling,
)
from nvisa_tf.layers.augmentation import Augmentation, augment
from nvisa_tf.models.nvisa.train_step import AUGMENTATION

OPTIONS = [(name, "all") for name in OBJECTIVES] + [(name, "resampled") for name, m in OBJECTIVES.items() if not m.reparameterizes_z]
# One for each way to go through samples in chunks: tracing takes a hundred times as long as what is traced.
IN_GRAPHS = [
    ("vimco", "all", True),
    ("nvil", "resampled", True),
    *(pytest.param(*options, True, marks=pytest.mark.slow) for options in (("vimco", "resampled"), ("iwae", "all"), ("enum_y", "all"))),
]
FINDS_THE_BLOBS = {
    "epochs": 120, "batch_size": 32, "n_samples": 5, "learning_rate": 3e-3, "eps_halving_epochs": 30.0, "anneal_mode": "exponential",
    "eval_epochs": 120.0, "eval_samples": 5,
}  # fmt: skip


def shaken(config, rng):
    model = NVISA(config)
    for weight in model.trainable_variables:
        weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
    return model


@pytest.fixture
def config(tiny_config):
    return dataclasses.replace(tiny_config, baseline_units=(8,), learn_prior_weights=True)


@pytest.mark.parametrize(("name", "decoder_gradient", "graph"), [*((*options, False) for options in OPTIONS), *IN_GRAPHS])
def test_chunks_change_nothing_but_rounding(config, name, decoder_gradient, graph, rng):
    model, x = shaken(config, rng), tf.constant(rng.normal(size=(10, 6)), tf.float32)
    if name == "nvil":
        model.control_mean.assign(-3.0)
        model.control_variance.assign(2.0)
    results = []
    # 7 samples of 10 examples: at once, in chunks of 2, 2, 2, 1, of 5 and 2, and one by one.
    # For objectives that enumerate y, 7 draws in each of 3 clusters: one cluster, or two, at a time.
    for max_rows in (10_000, 20) if graph else (10_000, 20, 59, 140):
        model.compile(objective=name, n_samples=7, decoder_gradient=decoder_gradient, max_rows=max_rows)

        def function(x, seed):  # all but q(y|x), which a tf.function cannot give
            return model.gradient_step.loss_gradient(x, seed)[:3]

        found = (tf.function(function) if graph else function)(x, tf.constant([3, 4]))
        results.append([*found[0], *found[1][:3], *found[2]])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-5 * (1 + np.abs(a).max()))


@pytest.mark.parametrize(("decoder_gradient", "rows"), [("resampled", 70 + 10), ("all", 2 * 70)])
def test_the_decoder_runs_no_more_rows_in_chunks_than_it_must(config, monkeypatch, decoder_gradient, rows, rng):
    model, seen = shaken(config, rng), []
    model.compile(n_samples=7, decoder_gradient=decoder_gradient, max_rows=20)
    decoder = model.log_p_x

    def counted(x, z, *rest):
        seen.append(int(tf.size(z)) // config.latent_dim)
        return decoder(x, z, *rest)

    monkeypatch.setattr(model, "log_p_x", counted)
    model.gradient_step.loss_gradient(tf.constant(rng.normal(size=(10, 6)), tf.float32), tf.constant([3, 4]))
    assert sum(seen) == rows
    assert max(seen) <= 20


@pytest.mark.parametrize("max_rows", [10_000, 20])
@pytest.mark.parametrize("decoder_gradient", ["all", "resampled"])
@pytest.mark.parametrize(("spread", "moves"), [(0.01, False), (3.0, True)])
def test_held_scales_rise_but_do_not_fall(tiny_config, spread, moves, decoder_gradient, max_rows, rng):
    """A negligible sigma_x stays where the data would have it smaller still, and rises where they want it larger."""
    model = NVISA(dataclasses.replace(tiny_config, decoder_scale="per_dimension", hold_scales=True))
    model.decoder.loc.kernel.assign(tf.zeros_like(model.decoder.loc.kernel))
    model.decoder.raw_scale.assign(np.full(6, -8.0))
    constant = StdAnnealing.constant(0.5)
    options = {"n_samples": 5, "decoder_gradient": decoder_gradient, "max_rows": max_rows, "annealing_x": constant, "annealing_z": constant}
    model.compile(keras.optimizers.SGD(1.0), **options)
    model.train_step(tf.constant(spread * rng.normal(size=(20, 6)), tf.float32))
    change = model.decoder.raw_scale.numpy() + 8.0
    assert (change > 0).all() if moves else not change.any()


@pytest.mark.parametrize("name", ["enum_y", pytest.param("iwae", marks=pytest.mark.slow), "nvil"])
def test_expected_gradient_is_the_closed_form_of_a_linear_gaussian_mixture(name, rng):
    """With a linear decoder and one sample the ELBO and its gradient have a closed form; 1e6 draws, 4 standard errors."""
    model = shaken(
        NVISAConfig(
            input_shape=(3,), n_clusters=3, latent_dim=2, encoder_units=(4,), posterior_units=4, decoder_units=(),
            decoder_scale="per_dimension", learn_prior_weights=True, baseline_units=(4,),
        ),
        rng,
    )  # fmt: skip
    model.eps_x.assign(0.6)
    model.eps_z.assign(0.4)
    x = tf.constant([[0.5, -1.0, 0.8]])
    variables = [v for v in model.trainable_variables if "control" not in v.path]
    with tf.GradientTape() as tape:
        h = model.encoder(x)
        log_q_y = tf.nn.log_softmax(model.cluster_head(h))[0]
        q_z = model.q_z(h, tf.range(3)[:, None])
        mean, sd = q_z.mean()[:, 0], q_z.stddev()[:, 0]
        parameters = model.prior.parameters()
        logits, loc, raw = (parameters[name] for name in ("logits", "loc", "raw_scale"))
        prior_sd, sigma = tf.nn.softplus(raw), tf.nn.softplus(model.decoder.raw_scale.value) + 0.6
        kl = tf.reduce_sum(tf.math.log(prior_sd / sd) + (sd**2 + (mean - loc) ** 2) / (2 * prior_sd**2) - 0.5, 1)
        kernel, bias = model.decoder.loc.kernel.value, model.decoder.loc.bias.value
        square = (x - mean @ kernel - bias) ** 2 + sd**2 @ kernel**2
        log_p_x = -0.5 * tf.reduce_sum(math.log(2 * math.pi) + 2 * tf.math.log(sigma) + square / sigma**2, 1)
        value = tf.reduce_sum(tf.exp(log_q_y) * (tf.nn.log_softmax(logits) - log_q_y - kl + log_p_x))
    exact = [-g for g in tape.gradient(value, [v.value for v in variables])]
    model.compile(objective=name, n_samples=1)
    if name == "nvil":
        model.control_mean.assign(float(value))
        model.control_variance.assign(0.5)
    many = tf.repeat(x, 10_000, 0)
    step = tf.function(lambda seed: model.gradient_step.loss_gradient(many, seed)[0])
    names = [v.path for v in model.trainable_variables]
    draws = [[g for g, path in zip(step(tf.constant([1, i])), names, strict=True) if "control" not in path] for i in range(100)]
    for variable, e, *found in zip(variables, exact, *draws, strict=True):
        found = np.array(found, np.float64)
        error = found.std(0, ddof=1) / 10
        difference = np.abs(found.mean(0) - e.numpy())
        assert (difference <= 4 * error + 5e-5 * (1 + np.abs(e))).all(), variable.path


@pytest.mark.parametrize("graph", [False, True])
def test_consistency_adds_the_gradient_of_a_divergence_to_held_probabilities(tiny_config, graph, rng):
    model = shaken(dataclasses.replace(tiny_config, input_shape=(2, 3)), rng)
    model.compile(n_samples=3, augment=True, consistency_weight=2.5)
    x, changed = (tf.constant(rng.normal(size=(10, 6)), tf.float32) for _ in range(2))

    def function(*inputs):
        result = model.gradient_step.loss_gradient(*inputs)
        return result.gradients, result.consistency

    function = tf.function(function) if graph else function
    without, nothing = function(x, tf.constant([3, 4]))
    found, value = function(x, tf.constant([3, 4]), changed)
    p, q, h = (a.numpy().astype(np.float64) for a in (model.call(x), model.call(changed), model.encoder(changed)))
    assert float(nothing) == 0
    assert float(value) == pytest.approx(2.5 * (p * np.log(p / q)).sum(1).mean(), rel=1e-4)
    added = {"/".join(v.path.split("/")[-2:]): (a - b).numpy() for v, a, b in zip(model.trainable_variables, found, without, strict=True)}
    np.testing.assert_allclose(added["cluster_head/bias"], 2.5 * (q - p).mean(0), atol=1e-4)
    np.testing.assert_allclose(added["cluster_head/kernel"], 2.5 * h.T @ (q - p) / 10, atol=1e-4)
    moved = {path.split("/")[0] for path, change in added.items() if np.abs(change).max() > 1e-3}
    assert moved == {"encoder_0", "cluster_head"}


@pytest.mark.parametrize("learned", [False, True])
def test_balance_adds_the_gradient_of_the_divergence_of_the_batch_from_the_prior(tiny_config, learned, rng):
    x = tf.constant(rng.normal(size=(10, 6)), tf.float32)
    model = shaken(dataclasses.replace(tiny_config, learn_prior_weights=learned), rng)
    if not learned:
        model.prior.logits.assign(rng.normal(size=3))
    found = {}
    for weight in (0.0, 4.0):
        model.compile(n_samples=3, balance_weight=weight)
        found[weight] = model.gradient_step.loss_gradient(x, tf.constant([3, 4]))
    pi, q = softmax(model.prior.logits.numpy().astype(np.float64)), model.call(x).numpy().astype(np.float64)
    usage = q.mean(0)
    assert float(found[0.0].balance) == 0
    assert float(found[4.0].balance) == pytest.approx(4 * (usage * np.log(usage / pi)).sum(), rel=1e-4)
    added = {
        "/".join(v.path.split("/")[-2:]): (a - b).numpy()
        for v, a, b in zip(model.trainable_variables, found[4.0].gradients, found[0.0].gradients, strict=True)
    }
    ratio = np.log(usage / pi)
    expected = 4 * (q * (ratio - (q * ratio).sum(1, keepdims=True))).mean(0)
    np.testing.assert_allclose(added["cluster_head/bias"], expected, atol=1e-4)
    moved = {path.split("/")[0] for path, change in added.items() if np.abs(change).max() > 1e-3}
    assert moved == {"encoder_0", "cluster_head"}


def test_a_step_reports_the_loss_with_the_balance(tiny_config, rng):
    x = tf.constant(rng.normal(size=(32, 6)), tf.float32)
    losses = []
    for weight in (0.0, 30.0):
        model = shaken(tiny_config, np.random.default_rng(4))
        model.compile(keras.optimizers.SGD(0.0), n_samples=3, balance_weight=weight)
        values = {name: float(value) for name, value in model.train_step(x).items()}
        usage = np.log(3) - values["mean_assignment_entropy"]
        assert values["loss"] == pytest.approx(weight * usage - values["bound"], rel=1e-4)
        losses.append(values["loss"])
    assert losses[1] - losses[0] > 1e-3


WIDE = Augmentation(rotation=20.0, shift=0.1, scale=0.2, shear=0.3)
WIDE_OPTIONS = {f"augment_{name}": value for name, value in WIDE._asdict().items()}


def test_a_step_takes_the_gradient_with_the_consistency_of_its_own_draws(tiny_config):
    config = dataclasses.replace(tiny_config, input_shape=(8, 8))
    x = tf.constant(np.random.default_rng(3).uniform(0, 2, size=(64, 8, 8)), tf.float32)
    one = StdAnnealing.constant(1.0)
    moves = []
    for weight in (0.0, 50.0, 50.0):
        model = shaken(config, np.random.default_rng(4))
        model.compile(
            keras.optimizers.SGD(1.0),
            n_samples=3,
            augment=True,
            consistency_weight=weight,
            **WIDE_OPTIONS,
            annealing_x=one,
            annealing_z=one,
        )
        model.step.assign(7)
        model.eps_x.assign(1.0)
        model.eps_z.assign(1.0)
        seed = tf.constant([0, 7])
        changed = model.preprocess(augment(x, tf.random.fold_in(seed, AUGMENTATION), WIDE)) if weight else None
        expected = model.gradient_step.loss_gradient(model.preprocess(x), seed, changed)
        before = [v.numpy() for v in model.trainable_variables]
        values = {name: float(value) for name, value in tf.function(model.train_step)(x).items()}
        moves.append([b - v.numpy() for b, v in zip(before, model.trainable_variables, strict=True)])
        for move, gradient in zip(moves[-1], expected.gradients, strict=True):
            np.testing.assert_allclose(move, gradient, rtol=1e-3, atol=1e-3)
        assert values["loss"] == pytest.approx(values["consistency"] - values["bound"], rel=1e-4)
        assert values["consistency"] == pytest.approx(float(expected.consistency), rel=1e-3)
    without, held, again = moves
    assert max(np.abs(a - b).max() for a, b in zip(held, without, strict=True)) > 0.5
    for a, b in zip(held, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ("vimco", "nvil", "enum_y") else pytest.mark.slow) for name in OBJECTIVES]
)
def test_every_objective_finds_the_blobs(tiny_config, blobs, name):
    data = Dataset("blobs", *blobs)
    config = dataclasses.replace(tiny_config, baseline_units=(16,) if name == "nvil" else ())
    model = NVISA(config, seed=0)
    model.set_preprocessing(*input_scaling(data))
    Trainer(model, RunConfig().replace({**FINDS_THE_BLOBS, "objective": name}), data).train()
    # The score function without reparameterization or many samples is noisy: it finds two of the three.
    assert clustering_accuracy(data.y, model.predict_clusters(data.x)) > (0.6 if name == "nvil" else 0.95)


def test_the_objective_with_state_of_its_own_resumes_exactly(tiny_config, blobs, tmp_path):
    """vimco: tests/training/test_resume.py; the others keep no more than it does."""
    data = Dataset("blobs", *blobs)
    model_config = dataclasses.replace(tiny_config, baseline_units=(8,))
    config = RunConfig().replace(
        {"objective": "nvil", "epochs": 4, "batch_size": 50, "n_samples": 3, "eval_epochs": 4.0, "eval_samples": 5, "steps_per_call": 3}
    )

    def trainer(run=None):
        return Trainer(NVISA(model_config), config, data, run=run)

    straight = trainer()
    straight.train()
    run = RunDirectory.create(tmp_path / "run", RunConfig(), {})
    first = trainer(run)
    first.config = config.replace({"max_minutes": 1e-9})
    assert first.train() is StopReason.TIME_LIMIT
    second = trainer(run)
    assert 0 < second.resume() < second.total_steps
    second.train()
    for a, b in zip(straight.model.weights, second.model.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": "svi"}, "one of vimco, enum_y"),
        ({"objective": "enum_y", "decoder_gradient": "resampled"}, "takes its gradient through every sample; use all"),
        ({"objective": "rws", "n_samples": 1}, "rws needs at least 2"),
        ({"decoder_gradient": "some"}, "must be one of all, resampled"),
        ({"forward_precision": "half"}, "must be one of auto, float32, bfloat16"),
        ({"forward_precision": "bfloat16"}, "set decoder_gradient to resampled"),
        ({"augment": True}, r"augment is for images, and inputs have the shape \[6\]"),
        ({"consistency_weight": -1.0}, "at least 0"),
        ({"objective": "nvil"}, "set baseline_units"),
        ({"max_rows": 0}, "at least 1"),
        ({"objective": "enum_y", "baseline": "harmonic"}, "must be one of geometric, arithmetic"),
    ],
)
def test_options_that_cannot_be(tiny_config, options, words):
    with pytest.raises(ValueError, match=words):
        NVISA(tiny_config).compile(**options)


def test_nvil_learns_from_one_example_and_one_sample_at_a_time(config, rng):
    model = NVISA(config)
    model.compile(keras.optimizers.SGD(1e-3), objective="nvil", n_samples=1)
    before = model.cluster_head.kernel.numpy()
    for i in range(3):
        model.train_step(tf.constant(rng.normal(size=(1, 6)), tf.float32))
        assert (model.cluster_head.kernel.numpy() == before).all() == (i == 0)  # the first step has no moments yet


def test_the_test_step_goes_in_chunks_too(config, rng):
    model, x = shaken(config, rng), tf.constant(rng.normal(size=(10, 6)), tf.float32)
    at_once, in_chunks = (model.log_weights(x, 7, tf.constant([1, 2]), max_rows) for max_rows in (None, 20))
    np.testing.assert_allclose(in_chunks, at_once, rtol=1e-5)


def test_a_saved_model_comes_back_with_its_objective(config, tmp_path, rng):
    model = NVISA(config)
    model.compile(keras.optimizers.Adam(1e-3), objective="nvil", n_samples=2)
    model.train_step(tf.constant(rng.normal(size=(4, 6)), tf.float32))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert again.gradient_step.options.objective == "nvil"
    assert float(again.control_variance) == float(model.control_variance) > 0


@pytest.mark.parametrize("scale", ["network", "per_dimension"])
def test_bfloat16_is_for_the_products_of_the_forward_pass_alone(tiny_config, scale, rng):
    model = shaken(dataclasses.replace(tiny_config, decoder_scale=scale, encoder_units=(64, 64), decoder_units=(64, 64)), rng)
    x, found = tf.constant(rng.normal(size=(40, 6)), tf.float32), {}
    for precision in ("float32", "bfloat16"):
        model.compile(n_samples=7, decoder_gradient="resampled", forward_precision=precision)
        model.eps_x.assign(1.0)
        found[precision] = model.gradient_step.loss_gradient(x, tf.constant([3, 4]))
    exact, rough = found["float32"].log_probs, found["bfloat16"].log_probs
    for name in ("log_p_y", "log_p_z", "log_q_y", "log_q_z"):
        np.testing.assert_array_equal(getattr(rough, name), getattr(exact, name))
    error = np.abs(rough.log_p_x - exact.log_p_x)
    assert 0 < error.mean() < 0.03 * np.std(exact.log_p_x)  # a mantissa of 8 bits
    assert all(g.dtype == tf.float32 for g in found["bfloat16"].gradients)
    # The rounding is that of products with operands cut to bfloat16.
    z = rng.normal(size=(5, 2)).astype(np.float32)
    rows = z
    cut = tf.bfloat16.as_numpy_dtype
    for layer in [*model.decoder.trunk.layers, model.decoder.loc]:
        product = rows.astype(cut).astype(np.float32) @ np.asarray(layer.kernel).astype(cut).astype(np.float32)
        rows = product.astype(cut).astype(np.float32) + np.asarray(layer.bias)
        rows = rows if layer is model.decoder.loc else np.where(rows > 0, rows, 0.2 * rows)
    # Where terms cancel, what is left is no larger than their rounding.
    np.testing.assert_allclose(model.decoder(tf.constant(z), precision="bfloat16")[0], rows, rtol=0, atol=0.02 * np.abs(rows).max())


def test_bfloat16_finds_the_blobs(tiny_config, blobs):
    data = Dataset("blobs", *blobs)
    model = NVISA(tiny_config, seed=0)
    model.set_preprocessing(*input_scaling(data))
    options = {"decoder_gradient": "resampled", "forward_precision": "bfloat16"}
    Trainer(model, RunConfig().replace({**FINDS_THE_BLOBS, **options}), data).train()
    assert clustering_accuracy(data.y, model.predict_clusters(data.x)) > 0.95
