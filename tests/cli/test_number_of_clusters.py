"""nvisa-tf train --n-clusters auto, from the command to the report."""

import json
import tomllib

import numpy as np
import pytest

from nvisa_tf import load_run


@pytest.fixture(scope="module")
def blobs_npy(tmp_path_factory, make_blobs):
    folder = tmp_path_factory.mktemp("number")
    np.save(folder / "blobs.npy", make_blobs(60)[0])
    return folder / "blobs.npy"


def test_a_run_whose_number_is_found(cli, blobs_npy, tmp_path, tiny):
    run = tmp_path / "run"
    code, out, _ = cli("train", "--dataset", blobs_npy, "--out", run, "--n-clusters", "auto", *tiny, "--epochs", 3)
    assert code == 0
    assert out.count("clusters of part ") == 5
    sentence = (
        "3 clusters: so many are found in 5 of 5 random parts of the data. Between the two clusters that are the least apart the density"
    )
    assert f"Found {sentence} falls by " in out
    assert "; 3 clusters, 3 epochs." in out
    assert tomllib.loads((run / "config.toml").read_text())["model"]["n_clusters"] == 3
    model, config, directory = load_run(run)
    assert model.config.n_clusters == config.model.n_clusters == 3
    found = directory.data_info()["number_of_clusters"]
    assert (found["chosen"], found["found"], found["fewest"]) == (3, [3] * 5, None)
    page = (run / "report.html").read_text()
    assert sentence in page
    assert "Modularity against the number of clusters" in page
    assert "The number of clusters was found among the data." in page
    assert "was chosen by the user" not in page
    assert f"found     {sentence}" in cli("info", run)[1]
    # What was found is of the run for good, and another name of a cluster keeps it.
    assert cli("name", run, "0=first")[0] == 0
    assert sentence in (run / "report.html").read_text()
    assert cli("train", "--resume", run)[0] == 0
    code, _, err = cli("train", "--resume", run, "--n-clusters", "auto")
    assert code == 2
    assert "--n-clusters is to be found, and the run of --resume has its number already; leave --n-clusters out" in err


def test_a_range_is_a_limit_and_is_said(cli, blobs_npy, tmp_path, tiny):
    code, out, _ = cli("train", "--dataset", blobs_npy, "--out", tmp_path / "run", "--n-clusters", "4-6", *tiny, "--epochs", 3)
    assert code == 0
    assert "Found 4 clusters" in out
    assert " It was to be from 4 to 6." in out


@pytest.mark.slow
def test_restarts_have_the_number_that_was_found_once(cli, blobs_npy, tmp_path, forked_runs, tiny):
    words = ["train", "--dataset", blobs_npy, "--out", tmp_path / "runs", "--n-clusters", "auto", "--restarts", 2, *tiny, "--epochs", 3]
    code, out, _ = cli(*words)
    assert code == 0
    assert out.count("Found 3 clusters") == 1
    assert json.loads((tmp_path / "runs" / "restarts.json").read_text())["number_of_clusters"]["chosen"] == 3
    for seed in (0, 1):
        assert load_run(tmp_path / "runs" / f"seed{seed}")[0].config.n_clusters == 3


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            "30-2",
            "argument --n-clusters: n_clusters is 30-2; a range is of two numbers from 2 on, the first below the second, such as 2-30;",
        ),
        ("many", "argument --n-clusters: n_clusters is 'many'; it must be a whole number, auto, or a range such as 2-30;"),
        ("1", "n_clusters is 1; it must be at least 2."),
        ("-3", "n_clusters is -3; it must be at least 1."),
    ],
)
def test_what_is_no_number(cli, given, says):
    code, _, err = cli("train", "--n-clusters", given)
    assert code == 2
    assert says in err


def test_nothing_is_written_where_nothing_divides_the_data(cli, tmp_path, tiny):
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32))
    code, _, err = cli(
        "train", "--dataset", tmp_path / "noise.npy", "--out", tmp_path / "run", "--n-clusters", "auto", *tiny, "--epochs", 3
    )
    assert code == 2
    assert "nothing is seen that divides the examples" in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()
