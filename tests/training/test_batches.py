import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf import NVISA
from nvisa_tf.training.batches import permutation, step_runner, steps_per_epoch


@pytest.mark.parametrize("n", [1, 2, 1000, 70_000])
def test_permutation_is_one(n):
    np.testing.assert_array_equal(np.sort(permutation(n, 3, tf.constant(2))), np.arange(n))


def test_permutations_differ_by_epoch_and_seed_and_repeat():
    a, b, c, again = (permutation(1000, *args).numpy() for args in ((1, 0), (1, 1), (2, 0), (1, 0)))
    np.testing.assert_array_equal(a, again)
    assert np.mean(a == b) < 0.05
    assert np.mean(a == c) < 0.05


def test_permutation_is_uniform():
    first = np.array([permutation(4, 0, tf.constant(epoch))[0] for epoch in range(600)])
    assert (np.abs(np.bincount(first, minlength=4) / 600 - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 600)).all()


class Recorder:
    """Stands in for a model: notes which rows each step sees."""

    def __init__(self, start=0):
        self.step = tf.Variable(start, dtype=tf.int64)
        self.seen = tf.Variable(tf.zeros([0], tf.int32), shape=[None])

    def train_step(self, x):
        self.seen.assign(tf.concat([self.seen, tf.cast(x[:, 0], tf.int32)], 0))
        self.step.assign_add(1)


def run(pipeline, calls, start=0, x=None):
    x = np.arange(50, dtype=np.uint8)[:, None] if x is None else x
    model = Recorder(start)
    runner = step_runner(model.train_step, model.step, x, batch_size=12, seed=7, pipeline=pipeline, total_steps=100, xla=False)
    for n in calls:
        runner(n)
    return model.seen.numpy()


@pytest.mark.parametrize("pipeline", ["memory", "stream"])
def test_epochs_are_permutations_whatever_the_calls(pipeline, tmp_path):
    seen = run(pipeline, [12])
    for epoch in range(3):  # 4 steps of 12 an epoch
        expected = permutation(50, 7, tf.constant(epoch)).numpy()[:48]
        np.testing.assert_array_equal(seen[epoch * 48 : epoch * 48 + 48], expected)
    np.testing.assert_array_equal(run(pipeline, [1, 5, 2, 4]), seen)
    np.testing.assert_array_equal(run(pipeline, [5], start=7), seen[7 * 12 :])  # resumed in the middle of an epoch
    np.save(tmp_path / "x.npy", np.arange(50, dtype=np.uint8)[:, None])
    np.testing.assert_array_equal(run(pipeline, [12], x=np.load(tmp_path / "x.npy", mmap_mode="r")), seen)


def weights_after(config, x, pipeline="memory"):
    model = NVISA(config)
    model.compile(n_samples=3)
    step_runner(model.train_step, model.step, x, batch_size=32, seed=0, pipeline=pipeline, total_steps=20, xla=False)(20)
    return [w.numpy() for w in model.weights]


def test_pipelines_and_xla_off_agree_on_weights(tiny_config, blobs):
    for a, b in zip(*(weights_after(tiny_config, blobs[0], pipeline) for pipeline in ("memory", "stream")), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_tensorflows_optimizer_of_graphs_the_steps_are_the_same(tiny_config, blobs):
    before = tf.config.optimizer.get_experimental_options()
    found = []
    try:
        for disabled in (False, True):
            tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": disabled})
            found.append(weights_after(tiny_config, blobs[0]))
    finally:
        tf.config.optimizer.set_experimental_options(before)
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("pipeline", "max_rows"), [pytest.param("memory", 64, marks=pytest.mark.slow), ("stream", 10_000)])
def test_xla_trains_too_also_in_chunks(tiny_config, blobs, pipeline, max_rows):
    x, _ = blobs
    model = NVISA(tiny_config)
    model.compile(n_samples=3, jit_compile=True, decoder_gradient="resampled", max_rows=max_rows)
    runner = step_runner(model.train_step, model.step, x, batch_size=32, seed=0, pipeline=pipeline, total_steps=200, xla=True)
    runner(20)
    early = float(model.trackers["bound"].result())
    model.reset_metrics()
    runner(180)
    assert (int(model.step), int(model.skipped)) == (200, 0)
    assert float(model.trackers["bound"].result()) > early


def test_fewer_examples_than_a_batch():
    assert steps_per_epoch(50, 12) == 4
    assert steps_per_epoch(5, 12) == 1
    np.testing.assert_array_equal(np.sort(run("memory", [1], x=np.arange(5, dtype=np.uint8)[:, None])), np.arange(5))
