"""nvisa-tf predict and the clusters.csv of train: every example by its name, whatever its name is and whatever could not be read."""

import contextlib
import csv
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nvisa_tf import Dataset, load_run
from nvisa_tf.cli import main
from nvisa_tf.cli.next_steps import next_steps
from nvisa_tf.data import Origin
from nvisa_tf.io.run_directory import FORMAT, RunDirectory

TINY = [
    "--preset", "random_small", "--encoder-units", "16", "--posterior-units", "16", "--decoder-units", "16", "--latent-dim", "2",
    "--n-samples", "3", "--eval-samples", "5", "--eval-examples", "50", "--batch-size", "64", "--epochs", "3",
]  # fmt: skip
NAMES = ['a, "b".png', "ä ö.png", "plain.png"]  # some of the photos


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def values_of(i):
    """The pixels of photo i, dark for even ones and light for odd."""
    return (np.random.default_rng(i).integers(0, 60, (6, 6, 3)) + 180 * (i % 2)).astype(np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """40 photos, two files that are none and one that is cut short, and the values of each photo by its name."""
    folder = tmp_path_factory.mktemp("photos") / "photos"
    folder.mkdir()
    named = dict(enumerate(NAMES))
    values = {named.get(i, f"{i:02}.png"): values_of(i) for i in range(40)}
    for name, pixels in values.items():
        Image.fromarray(pixels).save(folder / name)
    (folder / "05b.png").write_bytes((folder / "05.png").read_bytes()[:60])
    (folder / "zz.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder, values


@pytest.fixture(scope="module")
def photo_run(photos):
    """A short run on these; what train printed stands beside it in out.txt."""
    folder, _ = photos
    run = folder.parent / "run"
    words = ["train", "--dataset", folder, "--image-shape", "6,6,3", "--n-clusters", 2, "--out", run, *TINY]
    with open(folder.parent / "out.txt", "w") as out, contextlib.redirect_stdout(out):
        assert main._dispatch(main._parse(["nvisa-tf", *map(str, words)])) == 0
    return run


def test_train_lists_every_photo_by_its_name(photos, photo_run):
    _, values = photos
    rows = read(photo_run / "clusters.csv")
    assert list(rows[0]) == ["file", "split", "cluster", "probability", "second", "second_probability", "typicality", "error"]
    assert [row["file"] for row in rows] == sorted([*values, "05b.png", "zz.png"])
    model = load_run(photo_run)[0]
    for row in rows:
        if row["file"] in ("05b.png", "zz.png"):
            assert (row["cluster"], row["probability"], row["typicality"]) == ("", "", "")
            assert len(row["error"]) > 5
            continue
        q = model.predict_proba(values[row["file"]][None])[0]
        assert int(row["cluster"]) == q.argmax()
        assert float(row["probability"]) == pytest.approx(q.max(), rel=1e-4)
        assert (int(row["second"]), float(row["second_probability"])) == (q.argmin(), pytest.approx(q.min(), rel=1e-4))
        assert 0 < float(row["typicality"]) <= 1
        assert (row["split"], row["error"]) == ("all", "")
    assert json.loads((photo_run / "run.json").read_text())["data"]["left_out"] == 2


def test_info_tells_of_left_out_files_and_warnings(photo_run, cli):
    code, out, _ = cli("info", photo_run)
    assert code == 0
    assert "left out  2 files or rows" in out
    assert "held out" not in out.split("progress")[1]
    warnings = json.loads((photo_run / "report.json").read_text())["warnings"]
    assert [line.removeprefix("warning   ") for line in out.splitlines() if line.startswith("warning ")] == warnings != []


def test_predict_on_a_folder_gives_the_same(photos, photo_run, cli, tmp_path):
    folder, _ = photos
    code, out, err = cli("predict", photo_run, "--input", folder, "--output", tmp_path / "o.csv")
    assert code == 0
    assert "40 examples clustered into" in out
    assert "2 left out" in out
    assert "zz.png" in err
    trained = [{name: value for name, value in row.items() if name != "split"} for row in read(photo_run / "clusters.csv")]
    assert read(tmp_path / "o.csv") == trained


def test_arrays_keep_rows_that_could_not_be_read(photos, photo_run, cli, tmp_path):
    folder, _ = photos
    rows = read(photo_run / "clusters.csv")
    words = ["--probabilities", "--embedding", "--bound"]
    for name in ("o.npy", "o.npz"):
        assert cli("predict", photo_run, "--input", folder, "--output", tmp_path / name, *words)[0] == 0
        found = np.load(tmp_path / name, allow_pickle=False)
        assert found["file"].tolist() == [row["file"] for row in rows]
        assert found["cluster"].tolist() == [int(row["cluster"] or -1) for row in rows]
        assert np.isnan(found["bound"]).tolist() == np.isnan(found["z"][:, 0]).tolist() == [bool(row["error"]) for row in rows]
        assert found["q"].shape == found["z"].shape == (42, 2)


def test_names_of_clusters_and_labels_are_told(photo_run, cli, tmp_path):
    shutil.copytree(photo_run, tmp_path / "run")
    assert cli("name", tmp_path / "run", '0=night, "late"', "1=day")[0] == 0
    for kind in ("light", "dark"):
        (tmp_path / "new" / kind).mkdir(parents=True)
    for i in range(6):
        Image.fromarray(values_of(i)).save(tmp_path / "new" / ("light" if i % 2 else "dark") / f"{i}.png")
    code, out, _ = cli("predict", tmp_path / "run", "--input", tmp_path / "new", "--output", tmp_path / "o.csv")
    assert code == 0
    assert 'night, "late" ' in out
    rows = read(tmp_path / "o.csv")
    assert list(rows[0]) == ["file", "cluster", "name", "probability", "second", "second_probability", "typicality", "label"]
    assert [row["file"] for row in rows] == ["dark/0.png", "dark/2.png", "dark/4.png", "light/1.png", "light/3.png", "light/5.png"]
    assert [row["label"] for row in rows] == ["dark"] * 3 + ["light"] * 3
    assert all(row["name"] == {"0": 'night, "late"', "1": "day"}[row["cluster"]] for row in rows)


def test_other_images_are_warned_of_and_the_same_are_not(photos, photo_run, cli, tmp_path):
    _, values = photos
    same = np.stack([*values.values()])
    noise = np.random.default_rng(0).integers(0, 256, same.shape, dtype=np.uint8)
    for x, warned in ((same, False), (noise, True)):
        np.save(tmp_path / "x.npy", x)
        code, _, err = cli("predict", photo_run, "--input", tmp_path / "x.npy", "--output", tmp_path / "o.csv")
        assert code == 0
        assert (" of 40 examples (" in err and "are unlike the training data" in err) == warned, err
        assert err.count("\n") == warned


def test_a_run_of_before_predicts_without_typicality(photo_run, cli, tmp_path):
    shutil.copytree(photo_run, tmp_path / "run")
    (tmp_path / "run" / "reference.npz").unlink()
    np.save(tmp_path / "x.npy", np.stack([values_of(0), values_of(1)]))
    assert cli("predict", tmp_path / "run", "--input", tmp_path / "x.npy", "--output", tmp_path / "o.csv")[0] == 0
    assert list(read(tmp_path / "o.csv")[0]) == ["row", "cluster", "probability", "second", "second_probability"]
    (tmp_path / "run" / "reference.npz").write_bytes(b"no")
    code, _, err = cli("predict", tmp_path / "run", "--input", tmp_path / "x.npy", "--output", tmp_path / "o2.csv")
    assert (code, (tmp_path / "o2.csv").exists()) == (2, False)
    assert "reference.npz is damaged or no file of ours; remove it to predict without typicality." in err


def test_outliers_have_no_cluster(photo_run, cli, tmp_path):
    run = shutil.copytree(photo_run, tmp_path / "run")
    (run / "names.json").write_text(json.dumps({"0": "dark", "1": "light"}))
    odd = np.zeros((6, 6, 3), np.uint8)
    odd[::2, :, 0], odd[:, ::2, 2] = 255, 255
    np.save(tmp_path / "x.npy", np.stack([values_of(i) for i in range(40, 50)] + [odd, np.full((6, 6, 3), 255, np.uint8)]))
    words = ["predict", run, "--input", tmp_path / "x.npy"]
    code, out, _ = cli(*words, "--outliers", "0.05", "--output", tmp_path / "o.csv")
    assert code == 0
    rows = read(tmp_path / "o.csv")
    assert [row["cluster"] for row in rows[10:]] == ["-1", "-1"]
    assert [row["name"] for row in rows[10:]] == ["outlier", "outlier"]
    kept = [row for row in rows if row["cluster"] != "-1"]
    assert len(kept) >= 8
    assert cli(*words, "--output", tmp_path / "plain.csv")[0] == 0
    plain = read(tmp_path / "plain.csv")
    assert "novelty" not in plain[0]
    assert [row["nearest"] for row in rows] == [row["cluster"] for row in plain]
    for row in rows:
        assert (float(row["novelty"]) > 1) == (row["cluster"] == "-1")
        assert row["cluster"] in ("-1", row["nearest"])
    assert f"{12 - len(kept)} of them outliers (cluster -1; 5% of examples like the training data are)" in out
    sizes = {name: sum(row["name"] == name for row in kept) for name in ("dark", "light")}
    assert f"cluster sizes: dark {sizes['dark']}, light {sizes['light']}" in out
    # A run of before there were any makes what it takes from its data.
    (run / "outliers.npz").unlink()
    assert cli(*words, "--outliers", "0.05", "--output", tmp_path / "again.csv")[0] == 0
    assert read(tmp_path / "again.csv") == rows
    assert (run / "outliers.npz").is_file()


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ("0", "--outliers is 0, a share of examples; it must be above 0 and below 1, such as 0.01."),
        ("nan", "--outliers is nan, a share of examples; it must be above 0"),
        ("0.001", "The false-alarm rate is 0.001; it must be below 1, and at least 0.024, as it is measured on 40 examples."),
    ],
)
def test_a_rate_of_outliers_that_cannot_be_is_refused(photo_run, cli, tmp_path, rate, message):
    np.save(tmp_path / "x.npy", np.stack([values_of(0), values_of(1)]))
    words = ["--input", tmp_path / "x.npy", "--output", tmp_path / "o.csv", "--outliers", rate]
    code, _, err = cli("predict", photo_run, *words)
    assert (code, (tmp_path / "o.csv").exists()) == (2, False)
    assert message in err


def test_train_ends_with_its_files_and_what_fits_the_data(photo_run):
    out = (photo_run.parent / "out.txt").read_text()
    run = shlex.quote(str(photo_run))
    assert f"Written to {run}: clusters.csv, report.html, model.keras, " in out
    assert f"  nvisa-tf predict {run} --input new_photos/ --output new_clusters.csv\n" in out[out.index("Next:") :]
    assert "Left out, as unreadable: 05b.png" in out[: out.index("Run: ")]
    assert "Bound of the training data" in out
    assert "Held-out" not in out


@pytest.mark.parametrize(
    ("kind", "dataset", "expected"),
    [
        ("folder", "/data/photos", "new_photos/"),
        ("table", "wine.csv", "new.csv"),
        ("table", "wine.2024.tsv.gz", "new.tsv.gz"),
        ("table", "v1.2/wine.parquet", "new.parquet"),
        ("array", "x.npz", "new.npy"),
        ("named", "mnist", "new.npy"),
    ],
)
def test_next_steps_fit_the_data(kind, dataset, expected):
    train = Dataset("data", np.zeros((2, 2)), origin=Origin(kind))
    steps = next_steps(Path("my runs/it's"), dataset, train, {"density"})
    words = [shlex.split(step) for step in steps]
    assert all(word[0] == "nvisa-tf" and word[2] == "my runs/it's" for word in words)
    assert [word[1] for word in words] == ["name", "predict", "evaluate", "export"]
    assert words[1][3:5] == ["--input", expected]
    assert words[0][3] == "0=a name"


def test_runs_of_older_formats_answer(photos, photo_run, cli, tmp_path):
    _, values = photos
    old = shutil.copytree(Path(__file__).parents[1] / "fixtures" / "format1" / "run", tmp_path / "format1")
    assert cli("info", old)[0] == 0
    assert cli("evaluate", old, "--samples", 5)[0] == 0
    code, _, err = cli("predict", old, "--input", "digits", "--output", tmp_path / "o.csv")
    assert (code, err) == (0, "")
    rows = read(tmp_path / "o.csv")
    assert list(rows[0]) == ["row", "cluster", "probability", "second", "second_probability", "label"]
    assert [row["row"] for row in rows] == [str(row) for row in range(1437, 1797)]
    # Before format 3 images of a folder were distorted.
    run = shutil.copytree(photo_run, tmp_path / "format2", ignore=shutil.ignore_patterns("reference.npz", "clusters.csv", "report.html"))
    for file, was, now in ((run / "run.json", f'"format": {FORMAT}', '"format": 2'), (run / "config.toml", 'resize = "pad"\n', "")):
        assert was in file.read_text()
        file.write_text(file.read_text().replace(was, now))
    (tmp_path / "wide").mkdir()
    Image.fromarray(np.hstack([values["05.png"]] * 2)).save(tmp_path / "wide" / "wide.png")
    code, _, err = cli("predict", run, "--input", tmp_path / "wide", "--output", tmp_path / "o.npz", "--embedding")
    assert code == 0, err
    stretched = np.asarray(Image.open(tmp_path / "wide" / "wide.png").resize((6, 6), Image.Resampling.BILINEAR))
    with np.load(tmp_path / "o.npz") as found:
        np.testing.assert_allclose(found["z"], load_run(run)[0].embed(stretched[None]), atol=1e-5)
    assert cli("name", run, "0=boots")[0] == 0
    assert cli("evaluate", run, "--samples", 5)[0] == 0


def test_a_folder_is_brought_to_the_range_of_the_runs_array(bars_run, cli, tmp_path):
    x = np.load(bars_run.parent / "bars.npz")["x"][:12]
    low, high = json.loads((bars_run / "run.json").read_text())["data"]["range"]
    assert (low, high) != (0, 255) or x.dtype == np.uint8
    (tmp_path / "bars").mkdir()
    for i, values in enumerate(x):
        Image.fromarray(((values - low) / (high - low) * 255).round().astype(np.uint8)).save(tmp_path / "bars" / f"{i:02}.png")
    np.save(tmp_path / "bars.npy", x)
    for name in ("bars", "bars.npy"):
        assert cli("predict", bars_run, "--input", tmp_path / name, "--output", tmp_path / f"{name}.csv")[0] == 0
    of_files, of_array = (read(tmp_path / f"{name}.csv") for name in ("bars", "bars.npy"))
    assert [row["cluster"] for row in of_files] == [row["cluster"] for row in of_array]


def test_photos_added_later_do_not_change_the_shape(photos, photo_run):
    from nvisa_tf.runs.workflows import load_run_splits

    run = RunDirectory.open(photo_run)
    assert run.config().data.image_shape == (6, 6, 3)
    assert load_run_splits(run, run.config()).train.shape == (6, 6, 3)
