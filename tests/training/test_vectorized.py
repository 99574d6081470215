"""Models trained in one program against the same models trained one by one."""

from typing import NamedTuple

import numpy as np
import pytest

from nvisa_tf import NVISA, Dataset, RunConfig
from nvisa_tf.models.nvisa.training import NVISAStage
from nvisa_tf.training.batches import step_runner
from nvisa_tf.training.vectorized import vectorized_runner

X = np.random.default_rng(1).uniform(size=(50, 4, 3)).astype(np.float32)
SEEDS = (3, 4)
SMALL = {
    "encoder_units": (16,), "posterior_units": 16, "decoder_units": (16,), "n_clusters": 3, "latent_dim": 2, "n_samples": 5,
    "eps_halving_epochs": 3.0, "learning_rate": 1e-2, "clip_norm": 5.0,
}  # fmt: skip
RESAMPLED = {"decoder_gradient": "resampled", "hold_scales": True, "decoder_scale": "per_dimension"}


class Trained(NamedTuple):
    model: NVISA
    stage: NVISAStage


def trained(**options):
    """A model and its stage of training for each seed."""
    config = RunConfig().replace({**SMALL, **options, "input_shape": (4, 3), "batch_size": 10})
    found = []
    for seed in SEEDS:
        model = NVISA(config.model, seed=seed)
        found.append(Trained(model, NVISAStage(model, Dataset("noise", X), config.model, config.replace({"seed": seed}).train)))
    return found


def run_alone(one, n_steps, xla=False):
    stage = one.stage
    step_runner(stage.train_step, stage.step, X, batch_size=10, seed=stage.shuffle_seed, pipeline="memory", total_steps=20, xla=xla)(
        n_steps
    )


def runner_of(found, xla=False):
    stages = [one.stage for one in found]
    return vectorized_runner(stages, stages[0].step, X, batch_size=10, seeds=SEEDS, xla=xla)


def state(model):
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]


def assert_same(alone, together):
    for a, b in zip(state(alone), state(together), strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=2e-4, atol=1e-4, err_msg=a.path)


@pytest.mark.parametrize(
    ("options", "xla", "looked_at"),
    [
        # XLA has other random numbers than the plain kernels, so both sides have it.
        pytest.param(RESAMPLED, True, 1, marks=pytest.mark.slow),
        (
            {**RESAMPLED, "augment": True, "consistency_weight": 10.0, "augment_scale": 0.3, "augment_brightness": 1.0, "l2": 1e-3},
            False,
            1,
        ),
        pytest.param(
            {"objective": "nvil", "baseline_units": (8,), "l2": 1e-3, "lr_eps_power": 0.5, "ema_momentum": 0.5},
            False,
            0,
            marks=pytest.mark.slow,
        ),
        pytest.param({"objective": "iwae", "max_rows": 20}, False, 0, marks=pytest.mark.slow),
        ({"objective": "enum_y", "n_samples": 1, "learn_prior_weights": True, "likelihood": "bernoulli"}, False, 1),
    ],
    ids=["resampled-xla", "augmented", "nvil", "iwae-in-chunks", "enum_y-bernoulli"],
)
def test_each_model_goes_its_own_way(options, xla, looked_at):
    alone, together = trained(**options)[looked_at], trained(**options)  # tracing one more alone would take as long as all the rest
    first, second = (one.model for one in together)
    before = [v.numpy() for v in first.trainable_variables]
    run_alone(alone, 12, xla)
    run = runner_of(together, xla)
    for n_steps in (7, 5):  # the first call ends within an epoch
        run(n_steps)
    assert_same(alone.model, together[looked_at].model)
    assert [int(first.step), int(second.step)] == [12, 12]
    moved = max(np.abs(v.numpy() - old).max() for v, old in zip(first.trainable_variables, before, strict=True))
    assert moved > 0.05
    assert np.abs(first.prior.loc.numpy() - second.prior.loc.numpy()).max() > 0.1


def test_a_model_whose_steps_are_not_finite_is_skipped_alone():
    options = {**RESAMPLED, "ema_momentum": 0.5}
    alone, together = trained(**options)[0], trained(**options)
    good, broken = (one.model for one in together)
    broken.decoder.loc.bias.assign(np.full(12, np.nan))
    held = [v.numpy() for v in state(broken) if v.path.endswith(("kernel", "momentum", "velocity", "average"))]
    runner_of(together)(4)
    run_alone(alone, 4)
    assert [one.stage.nonfinite_steps() for one in together] == [(0, 0), (4, 4)]
    assert_same(alone.model, good)
    now = [v.numpy() for v in state(broken) if v.path.endswith(("kernel", "momentum", "velocity", "average"))]
    for old, new in zip(held, now, strict=True):
        np.testing.assert_array_equal(new, old)


def test_models_that_differ_are_refused():
    one, other = trained(), trained(n_clusters=4)
    with pytest.raises(ValueError, match="one configuration"):
        runner_of([one[0], other[1]])
    one[0].model.step.assign(3)
    with pytest.raises(ValueError, match="one step"):
        runner_of(one)
