import numpy as np
import pytest

from nvisa_tf import Dataset, RunConfig, RunDirectory
from nvisa_tf.data import Origin, Splits
from nvisa_tf.evaluation.assignments import Assignments

EVIL = '"><img src=x onerror="window.hacked=1">&amp;.png'


def answers(splits, cluster, seed=0):
    """Answers as `assign` has them, for data whose clusters are given."""
    rng = np.random.default_rng(seed)
    parts = splits.parts()
    n, n_clusters = len(cluster), int(cluster.max()) + 1
    probability = rng.uniform(0.5, 1, n).astype(np.float32)
    labels = [data.y for _, data in parts]
    return Assignments(
        names=np.concatenate([data.names for _, data in parts]),
        id_name=parts[0][1].origin.id_name,
        split=np.repeat([name for name, _ in parts], [len(data) for _, data in parts]),
        y=None if labels[0] is None else np.concatenate(labels),
        cluster=cluster,
        probability=probability,
        second=(cluster + 1) % n_clusters,
        second_probability=1 - probability,
        typicality=rng.permutation(n).astype(np.float32) / n,
        error=rng.exponential(1, n).astype(np.float32),
        embedding=(rng.normal(0, 6, (n_clusters, 5))[cluster] + rng.normal(0, 1, (n, 5))).astype(np.float32),
    )


@pytest.fixture
def make_run(tmp_path):
    """A run directory with curves, without a model, for data and their clusters."""

    def make(splits, n_clusters):
        config = RunConfig().replace({"n_clusters": n_clusters, "input_shape": splits.train.shape})
        run = RunDirectory.create(tmp_path / "run", config, {"name": splits.train.name}, "nvisa-tf train")
        for epoch in range(1, 13):
            bounds = {"bound": -1e6 if epoch == 1 else -9.5 / epoch, "held_out_iw_bound": "nan" if epoch == 3 else -10 / epoch}
            others = {"eps_x": 0.5**epoch, "accuracy": 0.05 * epoch, "used_clusters": n_clusters}
            run.append_metrics({"epoch": epoch, "step": 10 * epoch, **bounds, **others})
        for epoch in (1, 2):
            run.append_stage({"stage": "autoencoder", "epoch": epoch, "step": epoch, "minutes": 0.1, "loss": 1 / epoch})
        return run, config

    return make


@pytest.fixture
def photos():
    """Forty photos in three clusters, some of whose names are markup."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 24, 20, 3)).astype(np.uint8)
    ids = np.array([f"{'cat' if i % 2 else 'dog'}/{i:03}{EVIL if i % 5 == 0 else '.png'}" for i in range(40)])
    origin = Origin(
        "folder",
        "file",
        class_names=("dog", f"cat{EVIL}</script x><script>window.hacked = 1</script>"),
        left_out=((f"broken{EVIL}", f"no image {EVIL}"),),
    )
    data = Dataset(f"photos{EVIL}", x, np.arange(40) % 2, 255.0, ids, origin=origin)
    return Splits(data, data, "trained and scored on all 40 examples"), np.arange(40) % 3


@pytest.fixture
def table():
    """A table of sixty rows with a one-hot column, a constant one and one whose name is markup."""
    rng = np.random.default_rng(1)
    cluster = np.repeat([0, 1, 2], 20)
    x = np.stack([rng.normal(5 * cluster, 1), rng.normal(100, 20, 60), (rng.random(60) < [0.1, 0.5, 0.9][1]) * 1.0, np.full(60, 7.0)], 1)
    x[:, 2] = cluster == 1
    names = ("weight in kg", f"height{EVIL}", "colour=red", "constant")
    data = Dataset(
        "people.csv", x, None, None, np.array([f"id{i}" for i in range(60)]), origin=Origin("table", "person", names, remarks=("One row.",))
    )
    return Splits(data, data, "trained and scored on all 60 examples"), cluster


@pytest.fixture
def make_answers():
    """`answers`, for tests that need others."""
    return answers
