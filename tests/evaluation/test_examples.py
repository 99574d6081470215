import numpy as np

from nvisa_tf import Dataset
from nvisa_tf.data import Splits
from nvisa_tf.evaluation.assignments import assign
from nvisa_tf.evaluation.examples import Examples


class Echo:
    """A model whose embedding is the example."""

    capabilities = frozenset({"embed"})

    def predict_proba(self, x):
        return np.tile(np.array([[0.75, 0.25]], np.float32), (len(x), 1))

    def embed(self, x):
        return np.asarray(x, np.float32)


def check(parts):
    examples, found = Examples(parts), assign(Echo(), parts)
    np.testing.assert_array_equal(examples.names(), found.names)
    np.testing.assert_array_equal(examples.take(np.arange(len(examples))), found.embedding)
    some = np.random.default_rng(0).permutation(len(examples))[:7]
    np.testing.assert_array_equal(examples.take(some), found.embedding[some])
    again = np.full_like(found.embedding, np.nan)
    for places, part in examples.chunks():
        again[places] = part
    np.testing.assert_array_equal(again, found.embedding)


def test_examples_are_in_the_order_of_the_answers(tmp_path):
    x = np.arange(60, dtype=np.float32).reshape(20, 3)
    np.save(tmp_path / "x.npy", x)
    held_out = np.random.default_rng(0).random(20) < 0.3
    for values in (x, np.load(tmp_path / "x.npy", mmap_mode="r")):
        whole = Dataset("mine", values, ids=np.array([f"id{i}" for i in range(20)]))
        check([("all", whole)])
        check(Splits(whole.take(~held_out), whole.take(held_out), "").parts())
    # Two files, whose places overlap, stay one after another.
    check(Splits(Dataset("train", x[:12]), Dataset("test", x[12:]), "").parts())
