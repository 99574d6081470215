"""nvisa-tf name: names are kept, and stand wherever the run's clusters are shown."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nvisa_tf.export import naming, sidecar

AWKWARD = 'tops, "dark" </script>'


@pytest.fixture
def run(bars_run, tmp_path):
    """A run of three clusters, its own to change."""
    return Path(shutil.copytree(bars_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "tensorboard")))


def named(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {row["cluster"]: row.get("name") for row in csv.DictReader(file)}


def add_site(run):
    """What `nvisa-tf export --format web` leaves of names in a site, and its worker."""
    content = {"run": "run", "cluster_names": ["cluster 0", "cluster 1", "cluster 2"], "files": []}
    (run / "site" / "models").mkdir(parents=True)
    sidecar.write(run / "site" / "models", content)
    web = Path(naming.__file__).parent / "web"
    shutil.copy(web / "sw.js", run / "site" / "sw.js")
    naming.set_version(run / "site")


def version(run):
    return re.search(r"const VERSION = '([0-9a-f]{16})';", (run / "site" / "sw.js").read_text())[1]


def test_names_are_kept_listed_and_taken_away(run, cli):
    before = (run / "clusters.csv").read_bytes()
    assert cli("name", run) == (0, "   0  (no name)\n   1  (no name)\n   2  (no name)\n", "")
    code, out, _ = cli("name", run, f"2={AWKWARD}", "0=boots")
    assert code == 0
    assert out.endswith(f"   0  boots\n   1  (no name)\n   2  {AWKWARD}\n")
    assert cli("name", run)[1] == out[out.index("   0") :]
    assert json.loads((run / "names.json").read_text()) == {"0": "boots", "2": AWKWARD}
    assert named(run / "clusters.csv") == {"0": "boots", "1": "cluster 1", "2": AWKWARD}
    assert "names     0 boots, 2 tops" in cli("info", run)[1]
    assert cli("name", run, "0=", "2=")[0] == 0
    assert (run / "clusters.csv").read_bytes() == before
    assert "names " not in cli("info", run)[1]


def test_the_page_is_written_with_the_names(run, cli):
    content = re.compile(r'<script type="application/json" id="content">.*?</script>', re.DOTALL)
    before = (run / "report.html").read_text()
    assert cli("name", run, f"1={AWKWARD}")[0] == 0
    after = (run / "report.html").read_text()
    assert "tops, &#34;dark&#34; &lt;/script&gt;" in after
    assert AWKWARD not in after
    assert content.search(after)[0] == content.search(before)[0]
    assert cli("name", run, "1=")[0] == 0
    assert (run / "report.html").read_text() == before


def test_exported_files_are_given_the_names(run, cli):
    add_site(run)
    first = version(run)
    assert cli("name", run, f"1={AWKWARD}")[0] == 0
    expected = ["cluster 0", AWKWARD, "cluster 2"]
    models = run / "site" / "models"
    assert sidecar.read(models)["cluster_names"] == expected
    assert (models / "labels.txt").read_text().splitlines() == expected
    assert version(run) != first  # a browser that has kept the site loads it anew
    assert cli("name", run, "1=")[0] == 0
    assert version(run) == first
    # Names that are from labels stay where no other was given.
    sidecar.write(models, {**sidecar.read(models), "cluster_names": ["left", "middle", "right"]})
    assert cli("name", run, "2=starboard")[0] == 0
    assert sidecar.read(models)["cluster_names"] == ["left", "middle", "starboard"]


def test_export_and_classify_show_the_names(run, cli, tmp_path):
    np.save(tmp_path / "x.npy", np.tile(np.arange(6, dtype=np.uint8) * 40, (3, 6, 1)))
    assert cli("name", run, "0=a", "1=b", "2=c")[0] == 0
    assert cli("export", run, "--signature", "cluster")[0] == 0
    assert sidecar.read(run / "export")["cluster_names"] == ["a", "b", "c"]
    assert (run / "export" / "labels.txt").read_text() == "a\nb\nc\n"
    files = sidecar.read(run / "export")["files"]
    assert cli("name", run, "0=d", "1=e", "2=f")[0] == 0
    assert sidecar.read(run / "export")["files"] == files
    code, out, err = cli("classify", run / "export" / "encoder.tflite", tmp_path / "x.npy")
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["name"] for row in rows] == ["def"[int(row["cluster"])] for row in rows] != []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["RUN", "3=boots"], "There is no cluster 3; the clusters are 0 to 2."),
        (["RUN", "boots"], "'boots' names no cluster; write its number, = and its name"),
        (["RUN", "0=boots", "1=boots"], "The clusters 0 and 1 would both be called 'boots'"),
        (["RUN", "0=a", "0=b"], "Cluster 0 is named twice"),
        (["nowhere", "0=a"], "is not a run directory"),
    ],
)
def test_what_is_no_name_is_refused_and_nothing_is_written(run, cli, words, expected):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, _, err = cli("name", *[run if word == "RUN" else word for word in words])
    assert code == 2
    assert expected in err
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("file", ["clusters.csv", "report.html", "site/models/model.json", "names.json"])
def test_a_damaged_file_is_refused_before_anything_is_written(run, cli, file):
    add_site(run)
    (run / file).write_text("{")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, _, err = cli("name", run, "0=boots")
    assert code == 2
    assert Path(file).name in err
    assert err.endswith(".\n")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("command", "words"), [("name", ["0=boots"]), ("info", [])])
def test_tensorflow_is_not_loaded(run, command, words):
    program = """if True:
        import sys
        from nvisa_tf.cli.main import main
        sys.argv[0] = "nvisa-tf"
        try:
            main()
        finally:
            print("tensorflow" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-P", "-c", program, command, run, *words], capture_output=True, text=True, check=True)
    assert ("report.html" in done.stdout) == (command == "name")
    assert done.stdout.endswith("False\n")
