"""Training on a table and predicting on others by the command line: what the columns are called is what counts."""

import contextlib
import io

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine

WINE = pd.DataFrame(load_wine().data)  # its columns are called 0 to 12
TINY = "--preset random_small --epochs 2 --n-clusters 3 --latent-dim 2 --encoder-units 16 --posterior-units 16 --decoder-units 16"


def command(*words):
    from nvisa_tf.cli.main import _dispatch, _parse

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = _dispatch(_parse(["nvisa-tf", *map(str, words)]))
    return code, out.getvalue() + err.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table and a run on it."""
    folder = tmp_path_factory.mktemp("runs")
    WINE.to_csv(folder / "t.csv", index=False)
    code, said = command("train", "--dataset", folder / "t.csv", "--out", folder / "run", *TINY.split())
    assert code == 0, said
    assert "trained and scored on all 178 examples" in said
    assert "(0, 1, 2, 3 and 9 more) was taken for the columns' names" in said
    return folder


def predicted(folder, table):
    code, said = command("predict", folder / "run", "--input", table, "--output", folder / "p.csv")
    return pd.read_csv(folder / "p.csv") if code == 0 else said


def test_names_that_are_numbers_are_no_example(folder):
    """Issue 21, 1.1: 179 predictions for 178 rows before."""
    from nvisa_tf import load_run

    found = predicted(folder, folder / "t.csv")
    expected = load_run(folder / "run")[0].predict_clusters(WINE.to_numpy())
    assert len(set(expected)) > 1
    np.testing.assert_array_equal(found.cluster, expected)


def test_columns_are_found_by_name(folder):
    """Issue 21, 1.2: all in one cluster before."""
    WINE[WINE.columns[::-1]].assign(new=1.0).to_csv(folder / "reversed.csv", index=False, sep=";", decimal=",")
    expected, got = predicted(folder, folder / "t.csv"), predicted(folder, folder / "reversed.csv")
    pd.testing.assert_frame_equal(expected, got)


def test_what_is_missing_is_named_and_nothing_is_written(folder):
    WINE.drop(columns=10).to_csv(folder / "less.csv", index=False)
    (folder / "p.csv").unlink(missing_ok=True)
    assert predicted(folder, folder / "less.csv").endswith("less.csv lacks the column 10, which the model was trained on.\n")
    assert not (folder / "p.csv").exists()
