import importlib
import os
import pickle

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from nvisa_tf import load_dataset, read_array_file
from nvisa_tf.config.datasets import DATASETS, defaults_of
from nvisa_tf.data import loaders


def test_digits_are_scikit_learns():
    splits = load_dataset("digits")
    bunch = load_digits()
    assert (len(splits.train), len(splits.test), splits.train.shape) == (1437, 360, (8, 8))
    np.testing.assert_array_equal(np.concatenate([splits.train.x, splits.test.x]), bunch.images)
    np.testing.assert_array_equal(np.concatenate([splits.train.y, splits.test.y]), bunch.target)
    assert "1,437" in splits.description


def test_a_file_may_have_its_own_split(tmp_path, rng):
    x, y = rng.normal(size=(30, 4)).astype(np.float32), np.arange(30) % 3
    path = str(tmp_path / "own.npz")
    np.savez(path, x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:])
    splits = load_dataset(path)
    for part, rows in ((splits.train, np.arange(20)), (splits.test, np.arange(20, 30))):
        np.testing.assert_array_equal(part.x, x[rows])
        np.testing.assert_array_equal(part.y, y[rows])
        np.testing.assert_array_equal(part.places, rows)
    both = load_dataset(path, split="all")
    assert len(both.train) == len(both.test) == len(read_array_file(path)) == 30
    with pytest.raises(ValueError, match="own split, x_train and x_test, so test_fraction would change nothing"):
        load_dataset(path, test_fraction=0.5)
    np.savez(path, x_train=x[:20], x_test=x[20:])
    splits = load_dataset(path)
    assert (len(splits.train), len(splits.test), splits.train.y, splits.test.y) == (20, 10, None, None)
    assert len(splits.train.take(slice(0, 5))) == 5


def test_split_all_is_everything_twice():
    splits = load_dataset("digits", split="all")
    assert len(splits.train) == len(splits.test) == 1797
    assert "all 1,797" in splits.description


@pytest.mark.parametrize(("name", "mean"), [("mnist", 33.3184), pytest.param("fashion_mnist", 72.9404, marks=pytest.mark.slow)])
def test_real_tfds_data(name, mean):
    folder = os.environ.get("TFDS_DATA_DIR")
    if not folder or not os.path.isdir(os.path.join(folder, name)):
        pytest.skip(f"TFDS_DATA_DIR names no folder with {name} prepared; nothing is downloaded in tests")
    splits = load_dataset(name, data_dir=folder)
    assert (splits.train.x.shape, splits.train.x.dtype, splits.test.x.shape) == ((60000, 28, 28), np.uint8, (10000, 28, 28))
    assert splits.train.x.mean() == pytest.approx(mean, abs=1e-3)
    # Same class counts as the originals.
    counts = np.bincount(splits.train.y)
    assert counts.tolist() == ([6000] * 10 if "fashion" in name else [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])


def test_files_with_and_without_labels(rng, tmp_path):
    x, y = rng.normal(size=(50, 4)), rng.integers(0, 3, 50)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "xy.npz", x=x, y=y)
    plain, labelled = load_dataset(str(tmp_path / "x.npy")), load_dataset(str(tmp_path / "xy.npz"), test_fraction=0.2)
    assert plain.train.y is None
    assert plain.train is plain.test  # nothing is held out where there is nothing to score
    assert len(plain.train) == 50
    assert len(load_dataset(str(tmp_path / "xy.npz")).test) == 5
    assert (len(labelled.train), len(labelled.test)) == (40, 10)
    # A partition: nothing lost, nothing in both, labels with their examples.
    both = np.concatenate([labelled.train.x, labelled.test.x])
    rows = [int(np.flatnonzero((x == row).all(1))[0]) for row in both]
    assert sorted(rows) == list(range(50))
    np.testing.assert_array_equal(np.concatenate([labelled.train.y, labelled.test.y]), y[rows])
    whole = load_dataset(str(tmp_path / "x.npy"), split="all")
    np.testing.assert_array_equal(whole.train.x, x)


def test_npy_files_are_mapped_not_read(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(24.0).reshape(6, 4))
    assert isinstance(read_array_file(str(tmp_path / "x.npy")).x, np.memmap)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def make_bad(folder):
    rng = np.random.default_rng(0)
    good = rng.normal(size=(30, 4))
    nan = good.copy()
    nan[17, 2:] = np.nan
    nan[20, 0] = np.inf
    np.save(folder / "object.npy", np.array([Bomb()] * 3), allow_pickle=True)
    np.savez(folder / "object.npz", x=np.array([Bomb()] * 3))
    (folder / "pickle.npy").write_bytes(pickle.dumps([1, 2, 3]))
    (folder / "text.npy").write_text("not an array")
    (folder / "text.npz").write_text("not an archive")
    (folder / "empty.npz").write_bytes(b"")
    (folder / "empty.npy").write_bytes(b"")
    np.save(folder / "whole.npy", good)
    (folder / "cut.npy").write_bytes((folder / "whole.npy").read_bytes()[:300])
    np.savez(folder / "nokey.npz", data=good)
    np.savez(folder / "onepart.npz", x_train=good)
    np.savez(folder / "shapes.npz", x_train=good, x_test=good[:, 1:])
    np.savez(folder / "types.npz", x_train=good, x_test=good.astype(np.uint8))
    np.savez(folder / "nothingheldout.npz", x_train=good, x_test=good[:0])
    np.savez(folder / "onelabel.npz", x_train=good, x_test=good, y_train=np.zeros(30, int))
    np.savez(folder / "labelsofother.npz", x_train=good[:20], x_test=good, y_train=np.zeros(30, int), y_test=np.zeros(20, int))
    np.savez(folder / "labeltypes.npz", x_train=good, x_test=good, y_train=np.zeros(30, int), y_test=np.array(["a"] * 30))
    np.save(folder / "nan.npy", nan)
    np.save(folder / "rank1.npy", good[0])
    np.save(folder / "rank5.npy", np.zeros((2, 2, 2, 2, 2)))
    np.save(folder / "none.npy", good[:0])
    np.save(folder / "constant.npy", np.ones((30, 4)))
    np.save(folder / "complex.npy", good + 1j)
    np.save(folder / "long.npy", good.astype(np.longdouble))
    np.savez(folder / "ylength.npz", x=good, y=np.zeros(29, int))
    np.savez(folder / "yfloat.npz", x=good, y=np.arange(30) / 6)
    np.savez(folder / "yobject.npz", x=good, y=np.array(["a"] * 30, object))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("object.npy", "never loaded"),
        ("object.npz", "never loaded"),
        ("pickle.npy", "is not a NumPy array file"),
        ("text.npy", "is not a NumPy array file"),
        ("text.npz", "is not a NumPy array file"),
        ("empty.npz", "is damaged or cut off; save it again"),
        ("empty.npy", "is damaged or cut off; save it again"),
        ("cut.npy", "is damaged or cut off; save it again"),
        ("nokey.npz", r"has no array x \(it has data\)"),
        ("onepart.npz", r"has no array x \(it has x_train\)"),
        ("shapes.npz", r"an example of x_train has the shape \[\d\] and one of x_test \[\d\]; they must be the same"),
        ("types.npz", "x_train is of type float64 and x_test of type uint8; save both as one type"),
        ("nothingheldout.npz", "x_test has no examples; leave it out"),
        ("onelabel.npz", "has only one of y_train and y_test; give both, or neither"),
        ("labelsofother.npz", r"x_train has 20 examples and y_train the shape \[30\]"),
        ("labeltypes.npz", "y_train is of type int64 and y_test of type str"),
        ("nan.npy", "3 values that are NaN or Inf, the first in example 17"),
        ("rank1.npy", "1 axes"),
        ("rank5.npy", "5 axes"),
        ("none.npy", "is empty"),
        ("constant.npy", "constant data has no clusters"),
        ("complex.npy", "type complex128"),
        ("long.npy", "at most 64 bits"),
        ("ylength.npz", r"y has the shape \[29\] but x has 30 examples"),
        ("yfloat.npz", "y has 0.166667 for example 1; labels must be whole numbers or text"),
        ("yobject.npz", "never loaded"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path, file, words):
    make_bad(tmp_path)
    with pytest.raises(ValueError, match=words) as caught:
        load_dataset(str(tmp_path / file))
    assert "\n" not in str(caught.value)


def test_no_such_data_set_names_the_near_ones():
    with pytest.raises(ValueError, match="did you mean fashion_mnist"):
        load_dataset("fashion-mnist")


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        load_dataset(str(tmp_path / "missing.npz"))


def test_not_prepared_and_offline_is_one_sentence(tmp_path, monkeypatch, caplog):
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)  # of a download that did not end

    def unreachable(host):
        raise OSError(f"{host} cannot be reached")

    monkeypatch.setattr(loaders, "_check_reachable", unreachable)
    with pytest.raises(FileNotFoundError, match=r"not prepared in .* and could not be downloaded .*; connect .* --data-dir") as caught:
        load_dataset("mnist", data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "shape", "classes"), [("stl10", (96, 96, 3), 10), ("cifar10", (32, 32, 3), 10), ("cifar100", (32, 32, 3), 100)]
)
def test_photo_data_sets_are_those_of_tensorflow_datasets(name, shape, classes, tmp_path):
    """Random pixels, written by tensorflow-datasets as it keeps the set itself."""
    builder = tfds.builder(name, data_dir=str(tmp_path))
    x = np.random.default_rng(0).integers(0, 256, (6, *shape), dtype=np.uint8)
    y = np.linspace(0, classes - 1, 6).round().astype(np.int64)
    parts = {"train": slice(0, 4), "test": slice(4, 6)}
    values = {"image": x, "label": y, "coarse_label": y // 5, "id": np.array([f"no {i}" for i in range(6)])}
    values = {key: values[key] for key in builder.info.features}
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=str(builder.version),
        features=builder.info.features,
        split_datasets={
            part: tf.data.Dataset.from_tensor_slices({key: value[rows] for key, value in values.items()}) for part, rows in parts.items()
        },
        data_dir=str(tmp_path),
        disable_shuffling=True,
    )
    splits = load_dataset(name, data_dir=str(tmp_path))
    assert splits.train.shape == splits.test.shape == shape
    assert splits.train.is_image
    assert (splits.test.x.dtype, splits.test.y.dtype, splits.test.max_value) == (np.uint8, np.int64, 255.0)
    for part, rows in zip((splits.train, splits.test), parts.values(), strict=True):
        np.testing.assert_array_equal(part.x, x[rows])
        np.testing.assert_array_equal(part.y, y[rows])
    assert {**defaults_of(name)}.get("n_clusters", 10) == classes


def test_every_known_name_has_a_loader():
    for source in DATASETS.values():
        module, name = source.loader.split(":")
        assert callable(getattr(importlib.import_module(module), name))
