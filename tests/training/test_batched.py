"""Models trained in one program against the same models trained one by one."""

import dataclasses

import numpy as np
import pytest

from nvisa_tf import NVISA, RunConfig
from nvisa_tf.training.batched import batched_runner
from nvisa_tf.training.batches import step_runner
from nvisa_tf.training.trainer import compile_for_training

X = np.random.default_rng(0).uniform(size=(50, 4, 3)).astype(np.float32)
SEEDS = (3, 4)
SMALL = {
    "encoder_units": (16,), "posterior_units": 16, "decoder_units": (16,), "n_clusters": 3, "latent_dim": 2, "n_samples": 5,
    "eps_halving_epochs": 3.0, "learning_rate": 1e-2, "clip_norm": 5.0,
}  # fmt: skip
RESAMPLED = {"decoder_gradient": "resampled", "hold_scales": True, "decoder_scale": "per_dimension"}


def models(**options):
    config = RunConfig().replace({**SMALL, **options})
    found = [NVISA(dataclasses.replace(config.model, input_shape=(4, 3)), seed=seed) for seed in SEEDS]
    for model in found:
        compile_for_training(model, config.train, 5)
    return found


def state(model):
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]


def assert_same(alone, together):
    for a, b in zip(state(alone), state(together), strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=2e-4, atol=1e-4, err_msg=a.path)


@pytest.mark.parametrize(
    ("options", "xla", "looked_at"),
    [
        (RESAMPLED, True, 1),  # XLA has other random numbers than the plain kernels, so both sides have it
        ({**RESAMPLED, "augment": True, "consistency": 10.0, "augment_scale": 0.3, "augment_brightness": 1.0}, False, 1),
        ({"objective": "nvil", "baseline_units": (8,), "l2": 1e-3, "lr_eps_power": 0.5, "ema_momentum": 0.5}, False, 0),
        ({"objective": "iwae", "max_rows": 20}, False, 0),
        ({"objective": "enum_y", "n_samples": 1, "learn_prior_weights": True, "likelihood": "bernoulli"}, False, 1),
    ],
    ids=["resampled-xla", "augmented", "nvil", "iwae-in-chunks", "enum_y-bernoulli"],
)
def test_each_model_goes_its_own_way(options, xla, looked_at):
    alone, together = models(**options)[looked_at], models(**options)  # tracing one more alone would take as long as all the rest
    before = [v.numpy() for v in together[0].trainable_variables]
    step_runner(alone, X, batch_size=10, seed=SEEDS[looked_at], pipeline="memory", total_steps=20, xla=xla)(12)
    run = batched_runner(together, X, batch_size=10, seeds=SEEDS, xla=xla)
    for n_steps in (7, 5):  # the first call ends within an epoch
        run(n_steps)
    assert_same(alone, together[looked_at])
    assert [int(model.step) for model in together] == [12, 12]
    moved = max(np.abs(v.numpy() - old).max() for v, old in zip(together[0].trainable_variables, before, strict=True))
    assert moved > 0.05
    assert np.abs(together[0].prior.loc.numpy() - together[1].prior.loc.numpy()).max() > 0.1


def test_a_model_whose_steps_are_not_finite_is_skipped_alone():
    options = {**RESAMPLED, "ema_momentum": 0.5}
    alone, together = models(**options)[0], models(**options)
    together[1].decoder.loc.bias.assign(np.full(12, np.nan))
    held = [v.numpy() for v in state(together[1]) if v.path.endswith(("kernel", "momentum", "velocity", "average"))]
    batched_runner(together, X, batch_size=10, seeds=SEEDS, xla=False)(4)
    step_runner(alone, X, batch_size=10, seed=SEEDS[0], pipeline="memory", total_steps=20, xla=False)(4)
    assert [int(model.skipped) for model in together] == [0, 4]
    assert int(together[1].skipped_in_a_row) == 4
    assert_same(alone, together[0])
    now = [v.numpy() for v in state(together[1]) if v.path.endswith(("kernel", "momentum", "velocity", "average"))]
    for old, new in zip(held, now, strict=True):
        np.testing.assert_array_equal(new, old)


def test_models_that_differ_are_refused():
    one, other = models(), models(n_clusters=4)
    with pytest.raises(ValueError, match="one configuration"):
        batched_runner([one[0], other[1]], X, batch_size=10, seeds=(3, 4), xla=False)
    one[0].step.assign(3)
    with pytest.raises(ValueError, match="one step"):
        batched_runner(one, X, batch_size=10, seeds=SEEDS, xla=False)
