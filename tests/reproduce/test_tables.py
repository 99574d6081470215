import csv
import io
from pathlib import Path

import pytest

from nvisa_tf import RunConfig
from nvisa_tf.reproduce.ablation import ABLATION
from nvisa_tf.reproduce.tables import as_csv, as_markdown
from nvisa_tf.runs.jobs import Job, Outcome


@pytest.fixture
def results():
    def at(seed, *values):
        return Job("vimco_annealed", seed, RunConfig(), Path(f"runs/seed{seed}")), Outcome(*values)

    return [
        at(0, "done", 2.0, 0.7, 0.6, 0.5, -10.0, 3.0),
        at(1, "done", 2.0, 0.8, 0.6, 0.5, -12.0, 5.0),
        at(2, "diverged", 1.25, None, None, None, None, 1.0),
        at(3, "missing"),
    ]


def test_csv(results):
    rows = list(csv.DictReader(io.StringIO(as_csv(results))))
    assert [row["status"] for row in rows] == ["done", "done", "diverged", "missing"]
    assert (rows[0]["accuracy"], rows[0]["held_out_iw_bound"], rows[2]["accuracy"], rows[2]["epoch"]) == ("0.7", "-10", "", "1.25")


def test_markdown_has_mean_sd_best_the_bounds_choice_and_what_diverged(results):
    lines = as_markdown({"vimco_annealed": ABLATION["vimco_annealed"], "vimco": ABLATION["vimco"]}, results).splitlines()
    expected = "| VIMCO | NVISA*, 15 samples | 98.40 | 75.00 +- 7.07; diverged at epoch 1.2 | 80.00 | 70.00 | 2 of 4, 1 not run | 4 |"
    assert lines[2] == expected
    assert lines[3] == "| VIMCO | NVISA | N/A | - | - | - | 0 | - |"
    assert r"Bernoulli p(x\|z) |" in as_markdown({"vimco_bernoulli": ABLATION["vimco_bernoulli"]}, results)
