import numpy as np
import pytest
from sklearn.datasets import make_blobs

from nvisa_tf import Dataset, RunConfig
from nvisa_tf.clustering import number_of_clusters as search
from nvisa_tf.config.number_of_clusters import Limits
from nvisa_tf.data import input_scaling
from nvisa_tf.data.dataset import of_unit_length
from nvisa_tf.runs.number_of_clusters import number_of_clusters


@pytest.fixture(autouse=True)
def few_parts(monkeypatch):
    monkeypatch.setattr(search, "PARTS", 2)


def blobs(centers=3):
    x, y = make_blobs(100, centers=centers, n_features=4, random_state=3)
    return Dataset("blobs", (1000 * x).astype(np.float32), y, None)


def test_the_configuration_gets_the_number():
    config, found = number_of_clusters(blobs(), RunConfig().replace({"seed": 4}), Limits())
    assert found.chosen == config.model.n_clusters == 3
    assert config == RunConfig().replace({"seed": 4, "n_clusters": 3})


def test_examples_are_seen_on_the_scale_of_the_model(monkeypatch):
    seen = []
    monkeypatch.setattr(search, "components", lambda x, seed: seen.append(x) or x)
    data = blobs()
    number_of_clusters(data, RunConfig(), Limits(2, 5))
    scale, shift = input_scaling(data)
    everything = {tuple(row) for row in (data.x * scale + shift).astype(np.float32)}
    assert all(tuple(row) in everything for part in seen for row in part)
    seen.clear()
    number_of_clusters(data, RunConfig().replace({"unit_length": True}), Limits(2, 5))
    scale, shift = input_scaling(data, unit_length=True)
    directions = (of_unit_length(data.x) * scale + shift).astype(np.float32)
    assert {tuple(row) for part in seen for row in part} <= {tuple(row) for row in directions}


def test_labels_change_nothing():
    data = blobs()
    shuffled = Dataset(data.name, data.x, np.random.default_rng(0).permutation(data.y), None)
    assert number_of_clusters(data, RunConfig(), Limits())[1] == number_of_clusters(shuffled, RunConfig(), Limits())[1]


def test_one_cluster_is_none_to_train():
    data = Dataset("noise", np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32), None, None)
    with pytest.raises(
        ValueError, match=r"noise: nothing is seen .* in 2 random parts of them: 1, 1\); give n_clusters a number, or a range such as 2-10"
    ):
        number_of_clusters(data, RunConfig(), Limits())
    assert number_of_clusters(data, RunConfig(), Limits(2, 10))[1].chosen == 2
