import numpy as np
import pytest

from nvisa_tf import Dataset, load_dataset
from nvisa_tf.data import RowView


@pytest.fixture
def memmap(rng, tmp_path):
    np.save(tmp_path / "x.npy", rng.normal(size=(50, 3, 2)))
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def test_a_view_is_what_fancy_indexing_gives(memmap):
    rows = np.array([4, 1, 49, 7, 7])
    view, copied = RowView(memmap, rows), np.array(memmap)[rows]
    assert (view.shape, view.dtype, view.ndim, view.nbytes, len(view)) == (copied.shape, copied.dtype, 3, copied.nbytes, 5)
    np.testing.assert_array_equal(np.asarray(view), copied)
    for key in (slice(1, 4), slice(None, None, 2), np.array([3, 0]), 2):
        np.testing.assert_array_equal(view[key], copied[key])


def test_rows_of_a_memory_map_are_not_copied(memmap):
    assert isinstance(Dataset("d", memmap).take(np.arange(9)).x, RowView)
    chosen = Dataset("d", memmap, np.arange(50)).take(np.arange(50) % 7 == 0)
    assert len(chosen.x) == len(chosen.y) == 8
    np.testing.assert_array_equal(np.asarray(chosen.x), np.array(memmap)[::7])
    assert isinstance(Dataset("d", np.array(memmap)).take(np.arange(9)).x, np.ndarray)


def test_a_file_is_split_without_being_copied(memmap):
    splits = load_dataset(memmap.filename, test_fraction=0.1)
    assert isinstance(splits.train.x, RowView)
    both = np.concatenate([np.asarray(splits.train.x), np.asarray(splits.test.x)])
    assert len(splits.test) == 5
    np.testing.assert_array_equal(np.sort(both.ravel()), np.sort(np.ravel(memmap)))


def test_a_model_takes_a_view(memmap):
    from nvisa_tf import NVISA, NVISAConfig, evaluate_bound

    model = NVISA(NVISAConfig(input_shape=(3, 2), n_clusters=3, encoder_units=(8,), posterior_units=8, decoder_units=(8,)))
    view = RowView(memmap, np.arange(40, 10, -1))
    np.testing.assert_array_equal(model.predict_proba(view, batch_size=7), model.predict_proba(np.asarray(view), batch_size=7))
    assert evaluate_bound(model, view, 5) == evaluate_bound(model, np.asarray(view), 5)
