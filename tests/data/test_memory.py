"""Arrays, sparse matrices and `tf.data.Dataset` in memory, and sparse files."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from nvisa_tf import Dataset, input_scaling, load_dataset
from nvisa_tf.data import RowView, as_dataset


def test_an_array_is_split_as_a_file_is(rng, tmp_path):
    x, y = rng.normal(size=(50, 4)), rng.integers(0, 3, 50)
    np.savez(tmp_path / "f.npz", x=x, y=y)
    file, memory = load_dataset(tmp_path / "f.npz"), load_dataset(x, y)
    np.testing.assert_array_equal(file.train.x, memory.train.x)
    np.testing.assert_array_equal(file.test.y, memory.test.y)
    assert load_dataset(x).train is not None
    assert len(load_dataset(x).train) == 50
    assert len(load_dataset(x.tolist(), split="all").train) == 50


@pytest.mark.parametrize(
    ("y", "names"),
    [
        (np.arange(6) % 3.0, ()),
        (np.arange(6)[:, None] % 3, ()),
        ([0, 1, 2, 0, 1, 2], ()),
        (np.array([0, 1, 2, 0, 1, 2], object), ()),
        (list("abcabc"), ("a", "b", "c")),
        (np.array(list("abcabc"), object), ("a", "b", "c")),
    ],
)
def test_labels_that_are_whole_or_text(rng, y, names):
    data = as_dataset(rng.normal(size=(6, 2)), y)
    np.testing.assert_array_equal(data.y, np.arange(6) % 3)
    assert data.y.dtype.kind == "i"
    assert data.origin.class_names == names


def test_objects_and_truth_values(rng):
    x = rng.normal(size=(6, 3))
    np.testing.assert_array_equal(as_dataset(x.astype(object)).x, x)
    assert as_dataset(x > 0).x.dtype == np.uint8


def test_a_read_only_memory_map_stays_one(rng, tmp_path):
    np.save(tmp_path / "x.npy", rng.normal(size=(6, 3)))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(load_dataset(x, split="all").train.x, np.memmap)
    assert isinstance(load_dataset(x, test_fraction=0.5).train.x, RowView)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, sparse.coo_array, sparse.csr_array])
@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint8, bool])
def test_a_sparse_matrix_is_as_the_dense_one(rng, form, dtype, monkeypatch):
    monkeypatch.setattr("nvisa_tf.data.dataset.CHUNK", 7)
    x = (rng.poisson(0.3, (50, 8)) * 3).astype(dtype)
    data, dense = as_dataset(form(x)), as_dataset(x)
    assert isinstance(data.x, RowView)
    assert (data.shape, len(data), data.x.dtype, data.max_value, data.x.nbytes) == (
        dense.shape,
        50,
        dense.x.dtype,
        dense.max_value,
        dense.x.nbytes,
    )
    assert data.fingerprint() == dense.fingerprint()
    for got, expected in zip(input_scaling(data), input_scaling(dense), strict=True):
        np.testing.assert_array_equal(got, expected)
    rows = rng.permutation(50)[:20]
    some = data.take(rows)
    assert isinstance(some.x, RowView)
    np.testing.assert_array_equal(np.asarray(some.x), dense.x[rows])
    np.testing.assert_array_equal(np.asarray(some.take(slice(3, 9)).x), dense.x[rows[3:9]])
    for key in (3, slice(2, 9), slice(None, None, 5), np.array([4, 4, 1]), -1):
        np.testing.assert_array_equal(data.x[key], dense.x[key])
        assert isinstance(data.x[key], np.ndarray)
    splits, dense_splits = load_dataset(form(x), test_fraction=0.2), load_dataset(x, test_fraction=0.2)
    np.testing.assert_array_equal(np.asarray(splits.test.x), dense_splits.test.x)


def test_sparse_vectors_standardized_as_scikit_learn_does(rng):
    x = rng.poisson(2.0, (200, 5)).astype(np.float64)
    scale, shift = input_scaling(Dataset("d", sparse.csr_matrix(x)))
    np.testing.assert_allclose(x * scale + shift, StandardScaler().fit_transform(x), atol=1e-5)


def test_a_sparse_file(rng, tmp_path):
    x = rng.poisson(0.3, (50, 8)).astype(np.float32)
    for form in (sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix):
        sparse.save_npz(tmp_path / "s.npz", form(x))
        data = load_dataset(tmp_path / "s.npz", split="all").train
        assert isinstance(data.x, RowView)
        np.testing.assert_array_equal(np.asarray(data.x), x)


def test_a_model_takes_a_sparse_matrix(rng, tiny_config):
    from nvisa_tf import NVISA, evaluate_bound

    x = rng.poisson(1.0, (64, 6)).astype(np.float32)
    model, rows = NVISA(tiny_config, seed=0), as_dataset(sparse.csr_matrix(x)).x
    np.testing.assert_array_equal(model.predict_proba(rows, batch_size=7), model.predict_proba(x, batch_size=7))
    assert evaluate_bound(model, rows, 5) == evaluate_bound(model, x, 5)


@pytest.mark.parametrize("pipeline", ["memory", "stream"])
def test_training_gets_batches_of_a_sparse_matrix(rng, pipeline):
    import tensorflow as tf

    from nvisa_tf.training.batches import step_runner

    x = rng.poisson(1.0, (64, 6)).astype(np.float32)
    seen = {}
    for name, form in (("dense", np.asarray), ("sparse", sparse.csr_matrix)):
        step, batches = tf.Variable(0, dtype=tf.int64), tf.Variable(tf.zeros([0, 6]), shape=[None, 6])

        def train_step(batch, step=step, batches=batches):
            batches.assign(tf.concat([batches, batch], 0))
            step.assign_add(1)

        how = {"batch_size": 16, "seed": 0, "pipeline": pipeline, "total_steps": 8, "xla": False}
        step_runner(train_step, step, as_dataset(form(x)).x, **how)(8)
        seen[name] = batches.numpy()
    assert seen["sparse"].shape == (128, 6)
    np.testing.assert_array_equal(seen["sparse"], seen["dense"])


class TestTensorFlow:
    @pytest.mark.parametrize("batch", [None, 7])
    @pytest.mark.parametrize("labelled", [True, False])
    @pytest.mark.parametrize("shape", [(5,), (6, 5, 1), (6, 5, 3)])
    def test_elements_and_batches(self, rng, batch, labelled, shape):
        import tensorflow as tf

        x, y = rng.normal(size=(28, *shape)).astype(np.float32), rng.integers(0, 3, 28)
        source = tf.data.Dataset.from_tensor_slices((x, y) if labelled else x)
        data = as_dataset(source.batch(batch) if batch else source)
        np.testing.assert_array_equal(data.x, x)
        if labelled:
            np.testing.assert_array_equal(data.y, y)
            assert len(load_dataset(source).test) == 3

    def test_what_may_be_examples_or_batches_is_refused(self, rng):
        import tensorflow as tf

        x, y = rng.normal(size=(28, 6, 5, 1)).astype(np.float32), rng.integers(0, 3, 28)
        slices = tf.data.Dataset.from_tensor_slices
        decoded = tf.TensorSpec([None, None, 1], tf.float32)
        sources = [
            tf.data.Dataset.from_generator(lambda: iter(x), output_signature=decoded),  # as decode_png gives
            slices((x, np.eye(3)[y])),
            slices((x, y)).batch(7, drop_remainder=True),
            slices((x[:, :, 0, 0], y)).batch(6, drop_remainder=True),
            *(slices(part).batch(7, drop_remainder=True) for part in (x, x[..., 0], x[:, :, 0, 0])),
            *(tf.data.Dataset.from_tensors(part) for part in (x, x[..., 0], x[:, :, 0, 0])),
            tf.data.Dataset.from_tensors((x, y)),
        ]
        for source in sources:
            with pytest.raises(ValueError, match="X has elements that may be examples or batches; give single examples of known shape"):
                as_dataset(source)
        labelled = (decoded, tf.TensorSpec([], tf.int64))
        assert len(as_dataset(tf.data.Dataset.from_generator(lambda: zip(x, y, strict=True), output_signature=labelled))) == 28

    def test_what_cannot_be_taken(self, rng):
        import tensorflow as tf

        vectors = tf.data.Dataset.from_tensor_slices(rng.normal(size=(8, 3)))
        ragged = tf.data.Dataset.from_generator(lambda: iter([np.ones(2), np.ones(3)]), output_signature=tf.TensorSpec([None], tf.float32))
        ragged = ragged.map(lambda x: (x, 0))
        for source, words in (
            (vectors.repeat(), r"X repeats without end; take\(\) a number of its elements"),
            (vectors.take(0), "X has no elements"),
            (vectors.map(lambda x: {"a": x}), r"X has elements other than x or \(x, y\)"),
            (ragged.batch(1), "X has elements of different shapes"),
        ):
            with pytest.raises(ValueError, match=words):
                as_dataset(source)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([[1.0, 2.0], [3.0]], None, "X has rows of different lengths"),
        (np.array([[1, "a"], [2, 3]], object), None, r"X: x\[0, 1\] is str, not a number"),
        (np.array([["1", "2"]]), None, "x has the type <U1"),
        (np.ones(3), None, "x has 1 axes"),
        (np.array([[1, -1e39], [2, 3]]), None, r"x has values as large as 1e\+39, too large for 32-bit numbers; divide them first"),
        ({"a": [1, 2]}, None, "X is a dict, of which no array can be made; give an array, a frame or a tf.data.Dataset"),
        (np.ma.masked_equal(np.eye(3), 0), None, "x has 6 masked values, the mask of which would be lost; fill them first"),
        (sparse.csr_matrix((0, 3)), None, "x is empty"),
        (sparse.csr_matrix(np.ones((3, 2))), None, "every value of x is 1"),
        (sparse.csr_matrix([[1, np.nan], [2, 3]]), None, "1 values that are NaN or Inf, the first in example 0"),
        (np.eye(3), [0.5, 1, 2], "y has 0.5 for example 0; labels must be whole numbers or text"),
        (np.eye(3), [0, 1, np.nan], "y has nan for example 2"),
        (np.eye(3), [0, 1], r"y has the shape \[2\] but x has 3 examples"),
        (np.eye(3), np.eye(3), r"y has the shape \[3, 3\] but x has 3 examples"),
        (np.eye(3), np.array([0, None, "a"], object), "y has objects that are neither numbers nor text"),
        (Dataset("d", np.eye(3), np.arange(3)), [0, 1, 2], "X has labels of its own and y was given too"),
        ("digits", [0, 1], "y is for data in memory"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(x, y, words):
    with pytest.raises(ValueError, match=words) as caught:
        load_dataset(x, y)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
