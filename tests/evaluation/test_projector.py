"""What TensorBoard's own projector makes of the files."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client

from nvisa_tf import Dataset
from nvisa_tf.data import Origin, Splits
from nvisa_tf.evaluation.assignments import Assignments
from nvisa_tf.evaluation.projector import write_projector


def answers(data):
    n, rng = len(data), np.random.default_rng(0)
    cluster, probability = np.arange(n) % 3, rng.uniform(0.5, 1, n).astype(np.float32)
    rest = (np.full(n, "all"), data.y, cluster, probability, (cluster + 1) % 3, 1 - probability, probability, None)
    return Assignments(data.names, data.origin.id_name, *rest, rng.normal(0, 1, (n, 4)).astype(np.float32))


def served(folder):
    """A function that asks TensorBoard's projector, as its page does."""
    plugin = ProjectorPlugin(TBContext(logdir=str(folder)))
    apps = plugin.get_plugin_apps()

    def ask(route, **query):
        response = Client(apps[route]).get("/", query_string={"run": ".", "name": "my run", **query})
        assert response.status_code == 200, response.data
        return response.data

    return ask


@pytest.fixture
def images():
    """Seven grey images of 10 x 6, each of one brightness, with names and labels."""
    x = np.arange(7, dtype=np.uint8)[:, None, None].repeat(10, 1).repeat(6, 2) * 40
    ids = np.array([f"a\tb/{i}.png" for i in range(7)])
    return Dataset("mine", x, np.arange(7) % 2, 255.0, ids, origin=Origin("folder", "file", class_names=("cat", "dog")))


def test_embeddings_names_and_thumbnails(images, tmp_path):
    found = answers(images)
    write_projector(tmp_path, "my run", Splits(images, images, ""), found, ["boots", "cluster 1", "dark tops"])
    ask = served(tmp_path)
    info = json.loads(ask("/info"))["embeddings"][0]
    assert (info["tensorName"], info["tensorShape"]) == ("my run", [7, 4])
    np.testing.assert_allclose(np.frombuffer(ask("/tensor"), np.float32).reshape(7, 4), found.embedding, rtol=1e-5)
    rows = [line.split("\t") for line in ask("/metadata").decode().splitlines()]
    assert rows[0] == ["cluster", "file", "probability", "typicality", "label"]
    assert [row[0] for row in rows[1:]] == ["boots", "cluster 1", "dark tops", "boots", "cluster 1", "dark tops", "boots"]
    assert rows[2][1] == "a b/1.png"
    assert [row[4] for row in rows[1:4]] == ["cat", "dog", "cat"]
    sheet = np.asarray(Image.open(io.BytesIO(ask("/sprite_image"))))
    side = info["sprite"]["singleImageDim"][0]
    assert sheet.shape == (3 * side, 3 * side)  # as many rows as columns
    middles = sheet[side // 2 :: side, side // 2 :: side].ravel()[:7]
    np.testing.assert_allclose(middles, np.arange(7) * 40, atol=6)


def test_vectors_have_no_thumbnails_and_many_are_sampled(tmp_path):
    data = Dataset("mine", np.random.default_rng(0).normal(0, 1, (6000, 3)))
    found = answers(data)
    write_projector(tmp_path, "my run", Splits(data, data, ""), found, ["a", "b", "c"])
    ask = served(tmp_path)
    assert "sprite" not in json.loads(ask("/info"))["embeddings"][0]
    rows = [line.split("\t") for line in ask("/metadata").decode().splitlines()]
    assert rows[0][1] == "row"
    kept = np.array([int(row[1]) for row in rows[1:]])
    assert (kept[0], kept[-1], len(kept)) == (0, 5999, 5000)
    written = np.frombuffer(ask("/tensor"), np.float32).reshape(5000, 4)
    np.testing.assert_allclose(written, found.embedding[kept], rtol=1e-5)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 1e6
