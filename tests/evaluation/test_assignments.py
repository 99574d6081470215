"""Assignments of a model that is a few lines of NumPy, against sorting and counting."""

import types

import numpy as np
import pytest

from nvisa_tf import Dataset
from nvisa_tf.data import Origin, Splits
from nvisa_tf.evaluation import pieces
from nvisa_tf.evaluation.assignments import Reference, assign
from nvisa_tf.evaluation.novelty import Inputs

CENTRES = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0], [900.0, 900.0]])  # the last is nobody's


class Nearest:
    """Clusters by the distance of the first two of four values; the embedding is these, the reconstruction leaves the others out."""

    def __init__(self, capabilities=("embed", "reconstruct")):
        self.config = types.SimpleNamespace(n_clusters=len(CENTRES), input_shape=(4,))
        self.capabilities = frozenset(capabilities)
        self.largest = 0

    def predict_proba(self, x, facet=0):
        self.largest = max(self.largest, len(x))
        logits = -((x[:, None, :2] - CENTRES) ** 2).sum(-1) / 4
        q = np.exp(logits - logits.max(1, keepdims=True))
        return (q / q.sum(1, keepdims=True)).astype(np.float32)

    def embed(self, x):
        assert "embed" in self.capabilities
        return x[:, :2].astype(np.float32)

    def reconstruct(self, x):
        assert "reconstruct" in self.capabilities
        return (x * [1, 1, 0, 0]).astype(np.float32)

    def scaled(self, x):
        return 2 * x + 1


@pytest.fixture
def data(rng):
    y = rng.integers(0, 3, 200)
    x = np.hstack([CENTRES[y] + rng.normal(0, 1.5, (200, 2)), rng.normal(0, 1, (200, 2))])
    return Dataset("points", x, y, ids=np.array([f"p{i}" for i in range(200)]), origin=Origin("table", "point"))


@pytest.fixture
def parts(data):
    order = np.random.default_rng(1).permutation(200)
    return Splits(data.take(order[:150]), data.take(order[150:]), "").parts()


def test_answers_are_in_the_order_of_the_file(data, parts):
    found = assign(Nearest(), parts)
    q = Nearest().predict_proba(data.x)
    order = np.argsort(-q, axis=1)
    assert found.id_name == "point"
    np.testing.assert_array_equal(found.names, data.ids)
    np.testing.assert_array_equal(found.y, data.y)
    np.testing.assert_array_equal(found.cluster, order[:, 0])
    np.testing.assert_array_equal(found.second, order[:, 1])
    np.testing.assert_allclose(found.probability, np.sort(q)[:, -1])
    np.testing.assert_allclose(found.second_probability, np.sort(q)[:, -2])
    np.testing.assert_allclose(found.embedding, data.x[:, :2], rtol=1e-6)
    np.testing.assert_allclose(found.error, (4 * data.x[:, 2:] ** 2).sum(1) / 4, rtol=1e-5)
    held_out = set(parts[1][1].ids)
    assert [name == "test" for name in found.split] == [name in held_out for name in data.ids]


def test_parts_from_files_of_their_own_stay_one_after_another(data):
    train, test = (Dataset("mnist", data.x[rows], data.y[rows]) for rows in (slice(0, 120), slice(120, 200)))
    found = assign(Nearest(), [("train", train), ("test", test)])
    assert found.names.tolist() == [*range(120), *range(80)]
    np.testing.assert_array_equal(found.y, data.y)
    assert found.split.tolist() == ["train"] * 120 + ["test"] * 80


def test_typicality_is_the_share_of_training_members_as_far_or_farther(parts):
    found = assign(Nearest(), parts)
    trained = found.split == "train"
    for k in range(3):
        z, of_train = found.embedding[found.cluster == k], trained[found.cluster == k]
        members = z[of_train].astype(float)
        distance = np.sqrt((((z - members.mean(0)) / members.std(0)) ** 2).sum(1))
        expected = [(distance[of_train] >= d - 1e-6).mean() for d in distance]
        np.testing.assert_allclose(found.typicality[found.cluster == k], expected, atol=1e-6)
        assert found.typicality[(found.cluster == k) & trained].max() == 1
    assert found.typicality.min() >= 0


def test_memory_stays_that_of_a_piece_and_answers_stay_the_same(parts, monkeypatch):
    whole = assign(Nearest(), parts)
    monkeypatch.setattr(pieces, "PIECE_VALUES", 7 * 4)
    model = Nearest()
    found = assign(model, parts)
    assert model.largest == 7
    for name, value in found._asdict().items():
        np.testing.assert_array_equal(value, getattr(whole, name), err_msg=name)


def test_a_model_without_embedding_and_reconstruction(data):
    found = assign(Nearest(capabilities=()), [("all", Dataset("points", data.x))])
    q = Nearest().predict_proba(data.x)
    np.testing.assert_array_equal(found.embedding, q)
    assert found.error is None
    assert found.y is None
    assert found.typicality.max() == 1


def test_new_examples_are_measured_against_the_training_data(data, parts, tmp_path):
    reference = Reference.of(4, assign(Nearest(), parts))
    reference.save(tmp_path / "reference.npz", Inputs.of(Nearest(), data))
    loaded = Reference.load(tmp_path / "reference.npz")
    known = assign(Nearest(), [("all", data)], loaded)
    np.testing.assert_array_equal(known.typicality, assign(Nearest(), parts).typicality)
    new = np.array([[0.0, 30, 0, 0], [800, 800, 0, 0], [*parts[0][1].x[known.cluster[0]][:2], 0, 0]])
    found = assign(Nearest(), [("all", Dataset("new", new))], loaded)
    assert found.cluster[:2].tolist() == [2, 3]
    assert found.typicality[:2].tolist() == [0, 0]  # far from its cluster, and in one that no training example is in
    assert found.typicality[2] > 0


def test_one_example_alone_in_its_cluster_is_typical_of_it():
    x = np.array([[0.0, 0, 0, 0], [0.1, 0, 0, 0], [900, 900, 0, 0]])
    found = assign(Nearest(), [("all", Dataset("three", x))])
    assert found.cluster.tolist() == [0, 0, 3]
    assert found.typicality.tolist() == [1, 1, 1]
    nearby = assign(Nearest(), [("all", Dataset("near", x + 5))], Reference.of(4, found))
    assert nearby.typicality.tolist() == [0, 0, 0]


@pytest.mark.parametrize("content", [b"", b"PK no", None])
def test_a_damaged_reference_is_named(tmp_path, content):
    path = tmp_path / "reference.npz"
    if content is None:
        np.savez(path, mean=np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"reference.npz is damaged or no file of ours; remove it to predict without typicality\."):
        Reference.load(path)
