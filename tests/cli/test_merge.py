"""nvisa-tf merge, and what the commands make of the run that it writes."""

import csv
import json

import numpy as np
import pytest

from nvisa_tf import load_run
from nvisa_tf.cli import main


@pytest.fixture(scope="module")
def five(tmp_path_factory, make_blobs, tiny):
    """A run of five clusters on three blobs, some of them named."""
    folder = tmp_path_factory.mktemp("merge")
    x, y = make_blobs(60)
    np.savez(folder / "blobs.npz", x=x, y=y)
    for words in (
        ["train", "--dataset", folder / "blobs.npz", "--out", folder / "run", "--n-clusters", 5, *tiny, "--epochs", 40],
        ["name", folder / "run", "0=a", "1=b"],
    ):
        assert main._dispatch(main._parse(["nvisa-tf", *map(str, words)])) == 0
    return folder / "run"


def test_a_merged_run_is_a_run(five, cli, tmp_path):
    out = tmp_path / "three"
    code, said, _ = cli("merge", five, "--to", 3, "--out", out)
    assert code == 0
    assert said.count("cluster ") >= 3
    model, config, run = load_run(out)
    original = load_run(five)[0]
    assert model.config.n_clusters == config.model.n_clusters == 3
    x = np.load(five.parent / "blobs.npz")["x"]
    groups = run.data_info()["merged"]["groups"]
    expected = np.stack([original.predict_proba(x)[:, group].sum(1) for group in groups], 1)
    np.testing.assert_allclose(model.predict_proba(x), expected, atol=1e-6)
    with open(out / "clusters.csv") as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_array_equal([int(row["cluster"]) for row in rows], expected.argmax(1))
    before, after = (json.loads((folder / "report.json").read_text()) for folder in (five, out))
    assert after["epoch"] == before["epoch"]
    assert sum(after["cluster_sizes"]) == sum(before["cluster_sizes"])
    page = (out / "report.html").read_text()
    assert "Clusters of another run were merged after training" in page
    assert "Nearby clusters" in page
    assert cli("predict", out, "--input", five.parent / "blobs.npz", "--output", tmp_path / "new.csv", "--outliers", "0.05")[0] == 0
    assert cli("evaluate", out)[1].count("accuracy") >= 1
    about = cli("info", out)[1]
    assert "3 clusters" in about
    assert f" of {five}, which is what was trained" in about
    code, said, _ = cli("export", out, "--format", "tflite")
    assert code == 0
    assert "100.00% of" in said
    assert cli("name", out, "2=third")[0] == 0
    # The other run stays, and what merges does not train.
    assert load_run(five)[0].config.n_clusters == 5
    for words in (["--resume", out], ["--dataset", five.parent / "blobs.npz", "--init-from", out, "--method", "ae_gmm", "--epochs", 1]):
        code, _, err = cli("train", *words)
        assert code == 2
        assert f"{out} holds merged clusters, which are not trained; train {five}" in err


def test_named_clusters_are_merged_and_names_put_together(five, cli, tmp_path):
    code, said, _ = cli("merge", five, "--clusters", "0,1", "--clusters", "4,2", "--out", tmp_path / "out")
    assert code == 0
    assert "cluster 0: a and b" in said
    assert load_run(tmp_path / "out")[2].data_info()["merged"]["groups"] == [[0, 1], [2, 4], [3]]
    assert json.loads((tmp_path / "out" / "names.json").read_text()) == {"0": "a and b"}
    code, said, _ = cli("merge", tmp_path / "out", "--clusters", "1,2", "--out", tmp_path / "again")
    assert code == 0
    assert load_run(tmp_path / "again")[0].groups == [[0, 1], [2, 3, 4]]


def test_without_a_choice_the_hierarchy_is_shown(five, cli):
    folders = set(five.parent.iterdir())
    code, said, _ = cli("merge", five)
    assert code == 0
    lines = said.splitlines()
    assert lines[0].startswith("distance  clusters that join")
    assert len(lines) == 5
    assert [float(line.split()[0]) for line in lines[1:]] == sorted(float(line.split()[0]) for line in lines[1:])
    assert set(five.parent.iterdir()) == folders


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--to", 5], "--to is 5; the run has 5 clusters, so give a number from 2 to 4"),
        (["--to", 1], "--to is 1"),
        (["--to", 3, "--clusters", "0,1"], "give one of the two"),
        (["--clusters", "0,9"], "There is no cluster 9; the clusters are 0 to 4"),
        (["--clusters", "0,1", "--clusters", "1,2"], "Cluster 1 is named twice"),
        (["--clusters", "3"], "Cluster 3 alone is no merge"),
        (["--clusters", "none"], "name two clusters or more"),
        (["--clusters", "0,1,2,3,4"], "leave two groups or more"),
        (["--clusters", "a"], "'a' is not a list of integers"),
    ],
)
def test_what_cannot_be_merged(five, cli, tmp_path, words, says):
    code, _, err = cli("merge", five, *words, "--out", tmp_path / "out")
    assert code == 2
    assert says in err
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(five, cli, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    code, _, err = cli("merge", five, "--to", 3, "--out", tmp_path / "out")
    assert code == 2
    assert "is not empty" in err
