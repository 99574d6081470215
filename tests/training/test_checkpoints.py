import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf import NVISA
from nvisa_tf.training.checkpoints import Checkpoints, numbered_checkpoints, restore_part


def objects_of(model, minutes):
    running = {name: [variable.value for variable in metric.variables] for name, metric in model.trackers.items()}
    return {"model": model, "optimizer": model.optimizer, "metrics": running, "minutes": minutes}


@pytest.fixture
def trained(tiny_config, blobs, tmp_path):
    """A model with checkpoints at steps 1, 2 and 3, and its weights at each."""
    model = NVISA(tiny_config)
    model.compile(n_samples=3)
    minutes = tf.Variable(0.0)
    checkpoints = Checkpoints(tmp_path, objects_of(model, minutes), keep=3)
    weights = {}
    for step in (1, 2, 3):
        model.train_step(blobs[0][:32])
        minutes.assign(float(step))
        checkpoints.save(step)
        weights[step] = [w.numpy() for w in (*model.weights, *model.optimizer.variables)]
    return tmp_path, weights


def fresh(tiny_config, folder):
    model = NVISA(tiny_config, seed=99)
    model.compile(n_samples=3)
    minutes = tf.Variable(0.0)
    return model, minutes, Checkpoints(folder, objects_of(model, minutes), keep=3)


def assert_equal(model, expected):
    for a, b in zip((*model.weights, *model.optimizer.variables), expected, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


def test_restores_everything(trained, tiny_config):
    folder, weights = trained
    model, minutes, checkpoints = fresh(tiny_config, folder)
    assert checkpoints.restore() == (3, [])
    assert_equal(model, weights[3])
    assert float(minutes) == 3.0
    assert int(model.step) == 3
    assert float(model.trackers["bound"].count) == 3


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("file", ["step-3.data-00000-of-00001", "step-3.index"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(trained, tiny_config, damage, file):
    folder, weights = trained
    damage(folder / file)
    model, _, checkpoints = fresh(tiny_config, folder)
    assert checkpoints.restore() == (2, ["step-3"])
    assert_equal(model, weights[2])
    # Going on overwrites the damaged one.
    checkpoints.save(3)
    assert checkpoints.restore() == (3, [])


def test_a_lost_list_of_checkpoints_does_not_matter(trained, tiny_config):
    folder, weights = trained
    (folder / "checkpoint").write_text("garbage")
    model, _, checkpoints = fresh(tiny_config, folder)
    assert checkpoints.restore() == (3, [])
    assert_equal(model, weights[3])


def test_none_left(trained, tiny_config):
    folder, _ = trained
    for path in folder.glob("*.index"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="none of step-3, step-2, step-1 can be read"):
        fresh(tiny_config, folder)[2].restore()
    with pytest.raises(ValueError, match="there is none"):
        restore_part(folder / "nowhere", {"model": NVISA(tiny_config)})


def test_old_ones_are_deleted_also_after_a_restore(trained, tiny_config):
    folder, _ = trained
    _, _, checkpoints = fresh(tiny_config, folder)
    checkpoints.restore()
    for step in (4, 5):
        checkpoints.save(step)
    assert [path.name for path in numbered_checkpoints(folder)] == ["step-5", "step-4", "step-3"]


def test_weights_only(trained, tiny_config):
    folder, weights = trained
    model = NVISA(tiny_config, seed=99)
    assert restore_part(folder, {"model": model}) == (3, [])
    for a, b in zip(model.weights, weights[3], strict=False):
        np.testing.assert_array_equal(a.numpy(), b)
