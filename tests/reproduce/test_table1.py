import pytest

from nvisa_tf.cli import reproduce
from nvisa_tf.cli.main import _parse
from nvisa_tf.reproduce.ablation import Row, run_config
from nvisa_tf.reproduce.table1 import TABLE1, choose


def test_a_row_is_a_run_on_its_data_set():
    assert {name: run_config(row, "random_fast", 2, None, {}).data.dataset for name, row in TABLE1.items()} == {
        name: name for name in TABLE1
    }
    assert [row.paper for row in TABLE1.values()] == ["96.55 +- 2.64, best 98.40", "62.63 +- 2.92, best 66.14"]
    assert list(choose(("fashion_mnist", "mnist"))) == ["mnist", "fashion_mnist"]


def test_unknown_data_sets_are_refused_before_anything_is_made(tmp_path):
    flags = _parse(["nvisa-tf", "reproduce", "table1", "--datasets", "mnist,fashion", "--out", str(tmp_path / "t")])
    with pytest.raises(ValueError, match="no row for the data set 'fashion'; did you mean fashion_mnist"):
        reproduce.run(flags)
    assert not (tmp_path / "t").exists()


def test_runs_table_and_figures(forked_runs, tmp_path, blobs_file, monkeypatch, capsys):
    monkeypatch.setitem(TABLE1, "mnist", Row("NVISA", "Blobs", "-", {"dataset": blobs_file}))
    words = [
        "reproduce",
        "table1",
        "--datasets",
        "mnist",
        "--preset",
        "random_small",
        "--epochs",
        "1",
        "--seeds",
        "0-1",
        "--out",
        str(tmp_path),
    ]
    flags = _parse(["nvisa-tf", *words, "--points", "20"])
    assert reproduce.run(flags) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"table1.csv", "table1.md", "losses.png", "samples.png", "latent.png", "runs"}
    assert {path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()} == {"mnist-seed0", "mnist-seed1"}
    row = (tmp_path / "table1.md").read_text().splitlines()[2]
    assert row.startswith("| NVISA | Blobs | - | ")
    assert " +- " in row
    capsys.readouterr()
    assert reproduce.run(flags) == 0  # nothing is run again
    assert "started" not in capsys.readouterr().out
