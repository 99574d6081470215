"""The rows of the table of accuracies, the autoencoders that they share, and a whole small table."""

import csv
import hashlib
import statistics
from pathlib import Path

import pytest

from nvisa_tf import METHODS, RunConfig
from nvisa_tf.cli import reproduce
from nvisa_tf.cli.main import _parse
from nvisa_tf.config.presets import PRESETS
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.reproduce.table1 import PAPER, Entry, autoencoder_of, entries, merged, methods_of, plan
from nvisa_tf.reproduce.table1_csv import as_csv, digest, read
from nvisa_tf.reproduce.table1_results import Result, as_markdown, save_picture
from nvisa_tf.runs.jobs import Job, Outcome


def test_every_method_has_a_row_and_those_of_the_paper_come_first():
    rows = entries("mnist", methods_of(["all"]), [], 60_000, True)
    assert {row.method for row in rows} == set(METHODS)
    of_paper = [row.method for row in rows if row.method in PAPER]
    assert [row.method for row in rows][: len(of_paper)] == of_paper == [name for name in PAPER if name in METHODS]
    assert {row.method: row.preset for row in rows}["nvisa"] == "random_fast"
    assert {row.preset for row in rows if row.method != "nvisa"} == {METHODS[row.method].large_preset for row in rows} - {"information"}


def test_presets_that_are_named_are_rows_of_their_own():
    rows = entries("mnist", ["dec", "nvisa"], ["random_slow", "information"], 60_000, True)
    assert [(row.method, row.preset) for row in rows] == [("dec", "dec"), ("nvisa", "random_slow"), ("nvisa", "information")]
    with pytest.raises(ValueError, match="The preset vade is of the method vade, which is not among --methods"):
        entries("mnist", ["dec"], ["vade"], 60_000, True)


def plans(*names, seeds=(0, 1), out=Path("out")):
    rows = [Entry("mnist", PRESETS[name].get("method", "nvisa"), name) for name in names]
    return merged([plan(row, seed, out, None, {}) for row in rows for seed in seeds])


def test_methods_with_the_same_networks_share_one_autoencoder_for_each_seed():
    found = plans("dec", "idec", "vade", "vae_gmm")
    shared = {(one.entry.method, one.job.seed): one.autoencoder for one in found}
    assert shared["dec", 0] == shared["idec", 0] != shared["dec", 1]
    assert shared["vae_gmm", 0] is None
    assert shared["vade", 0].name == "mnist-autoencoder-bernoulli-500-500-2000-100"
    for one in found:
        if one.autoencoder:
            mine, its = one.job.config.options(), one.autoencoder.config.options()
            assert mine["autoencoder_from"] == str(one.autoencoder.folder.resolve())
            assert (its["epochs"], its["seed"]) == (mine["pretrain_epochs"], one.job.seed)
            for name in ("encoder_units", "decoder_units", "latent_dim", "dataset", "n_clusters"):
                assert its[name] == mine[name]


def test_schedules_and_searches_keep_their_place_in_shorter_runs():
    def of(preset_name, method):
        chosen = plan(Entry("digits", method, preset_name), 0, Path("runs"), 20, {}, 5).job.config
        return chosen.options()

    gmvae, ltvae, vade = of("gmvae_vectors", "gmvae"), of("ltvae_vectors", "ltvae"), of("vade_vectors", "vade")
    assert (gmvae["epochs"], gmvae["kl_warmup_epochs"], gmvae["pretrain_epochs"]) == (20, pytest.approx(200 / 15), 0)
    assert (ltvae["epochs"], ltvae["structure_epochs"], ltvae["pretrain_epochs"]) == (20, 4, 5)
    assert (vade["epochs"], vade["lr_decay_epochs"]) == (20, pytest.approx(RunConfig.of("vade").options()["lr_decay_epochs"] / 10))


def test_a_row_that_is_such_an_autoencoder_is_taken_for_it(monkeypatch):
    networks = {name: PRESETS["dec"][name] for name in ("encoder_units", "decoder_units")}
    monkeypatch.setitem(PRESETS, "ae_gmm", {"method": "ae_gmm", "epochs": PRESETS["dec"]["pretrain_epochs"], **networks})
    row, dec = plans("ae_gmm", "dec", seeds=(3,))
    assert dec.autoencoder == row.job
    assert dec.job.config.options()["autoencoder_from"] == str(row.job.folder.resolve())


def test_no_autoencoder_is_made_where_none_is_trained():
    assert autoencoder_of(RunConfig.of("vade", {"pretrain_epochs": 0, "init_from": "a"}), False) is None
    assert autoencoder_of(RunConfig.of("ae_gmm"), False) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--datasets", "mnist,fashion"], "no data set 'fashion'; did you mean fashion_mnist"),
        (["--methods", "vadr"], "no method 'vadr'; did you mean vade"),
        (["--datasets", "digits", "--presets", "nope"], "no preset 'nope'"),
        (["--datasets", "digits", "--methods", "dec", "--presets", "vade"], "not among --methods"),
        (["--datasets", "digits", "--epochs", "0"], "--epochs is 0"),
        (["--datasets", "digits", "--pretrain-epochs", "0"], "--pretrain-epochs is 0"),
        (["--datasets", "digits", "--jobs", "0"], "--jobs is 0"),
    ],
)
def test_bad_flags_are_refused_before_anything_is_made(words, message, tmp_path):
    flags = _parse(["nvisa-tf", "reproduce", "table1", *words, "--out", str(tmp_path / "t")])
    with pytest.raises(ValueError, match=message):
        reproduce.run(flags)
    assert not (tmp_path / "t").exists()


def test_two_data_sets_of_one_name_are_refused(tmp_path, blobs_file):
    other = tmp_path / Path(blobs_file).name
    other.write_bytes(Path(blobs_file).read_bytes())
    flags = _parse(["nvisa-tf", "reproduce", "table1", "--datasets", f"{blobs_file},{other}", "--out", str(tmp_path / "t")])
    with pytest.raises(ValueError, match="have the same name"):
        reproduce.run(flags)


def test_runs_table_and_pictures(forked_runs, tmp_path, blobs_file, monkeypatch, capsys):
    for name in ("dec_small", "idec_small"):
        monkeypatch.setitem(PRESETS, name, {**PRESETS[name], "pretrain_epochs": 1, "encoder_units": (16,), "decoder_units": (16,)})
    monkeypatch.setitem(PRESETS, "vae_gmm_vectors", {**PRESETS["vae_gmm_vectors"], "encoder_units": (16,), "decoder_units": (16,)})
    words = ["--datasets", str(blobs_file), "--methods", "vae_gmm,dec,idec", "--epochs", "1", "--seeds", "0-1", "--out", str(tmp_path)]
    flags = _parse(["nvisa-tf", "reproduce", "table1", *words])
    assert reproduce.run(flags) == 0
    name = Path(blobs_file).stem
    assert {path.name for path in tmp_path.iterdir()} == {"table1.csv", "table1.md", "table1.png", "samples.png", "runs"}
    runs = {path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()}
    rows = [f"{name}-{what}" for what in ("vae_gmm_vectors", "dec_small", "idec_small", "autoencoder-gaussian-16-1")]
    assert runs == {f"{row}-seed{seed}" for row in rows for seed in (0, 1)}
    table = list(csv.DictReader((tmp_path / "table1.csv").open()))
    assert len(table) == 6
    for row in table:
        report = RunDirectory.open(tmp_path / "runs" / row["run"]).report()
        assert float(row["majority_accuracy"]) == pytest.approx(report["majority_accuracy"], rel=1e-5)
        assert float(row["training_exemplar_accuracy"]) == pytest.approx(report["training_data"]["exemplar_accuracy"], rel=1e-5)
        assert (float(row["autoencoder_minutes"]) > 0) == (row["method"] != "vae_gmm")
    assert sorted(row["method"] for row in table if row["chosen"] == "1") == ["dec", "idec", "vae_gmm"]
    mean = statistics.mean(100 * float(row["accuracy"]) for row in table if row["method"] == "dec")
    line = next(line for line in (tmp_path / "table1.md").read_text().splitlines() if "`dec_small`" in line)
    assert line.startswith(f"| {name} | DEC | `dec_small` | - | - | - | {mean:.2f} +- ")
    capsys.readouterr()
    assert reproduce.run(flags) == 0  # nothing is run again
    assert "started" not in capsys.readouterr().out
    words[-1] = str(tmp_path / "elsewhere")
    known = _parse(["nvisa-tf", "reproduce", "table1", *words, "--results", str(tmp_path / "table1.csv")])
    assert reproduce.run(known) == 0  # nothing is run at all
    assert "started" not in capsys.readouterr().out
    for name in ("table1.csv", "table1.md"):
        assert (tmp_path / "elsewhere" / name).read_text() == (tmp_path / name).read_text()
    assert not (tmp_path / "elsewhere" / "runs").exists()


def of_elsewhere(found, path, chosen=0):
    """A table1.csv of these plans: the accuracy of seed 0 is 0.5, that of seed 1 0.51, and so on."""
    scores = [{"accuracy": 0.5 + one.job.seed / 100, "nmi": 0.4, "training_data": {"accuracy": 0.45}} for one in found]
    rows = [
        Result(one.entry, one.job, Outcome("done", 2.0, score["accuracy"], 0.4, minutes=3.0), score, 1.5, one.job.seed == chosen)
        for one, score in zip(found, scores, strict=True)
    ]
    path.write_text(as_csv(rows))
    return rows


def test_what_was_run_elsewhere_is_read_as_it_was_written(tmp_path):
    found = plans("dec", "vae_gmm")
    rows = of_elsewhere(found, tmp_path / "a.csv")
    assert read([str(tmp_path / "a.csv")], plans("dec", "vae_gmm", out=Path("other"))) == {
        one: row._replace(entry=one.entry, job=one.job) for one, row in zip(plans("dec", "vae_gmm", out=Path("other")), rows, strict=True)
    }
    assert list(read([str(tmp_path / "a.csv")], found[:1])) == found[:1]


def test_no_seed_is_chosen_among_those_of_several_machines(tmp_path):
    found = plans("dec", seeds=(0, 1, 2))
    of_elsewhere(found[:2], tmp_path / "a.csv", chosen=0)
    of_elsewhere(found[2:], tmp_path / "b.csv", chosen=2)
    both = read([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], found)
    assert len(both) == 3
    assert not any(one.chosen for one in both.values())
    assert not any(one.chosen for one in read([str(tmp_path / "a.csv")], found).values())
    assert [one.chosen for one in read([str(tmp_path / "a.csv")], found[:2]).values()] == [True, False]


def test_results_of_other_options_or_twice_or_no_table_are_refused(tmp_path):
    found = plans("dec")
    path = tmp_path / "a.csv"
    of_elsewhere(found, path)
    with pytest.raises(ValueError, match="line 2: the run mnist-dec-seed0 stands in the tables twice"):
        read([str(path), str(path)], found)
    other = [
        one._replace(job=Job(*[getattr(one.job, n) for n in ("name", "seed")], one.job.config.replace({"epochs": 3}), one.job.folder))
        for one in found
    ]
    with pytest.raises(ValueError, match=r"a\.csv, line 2: the run mnist-dec-seed0 was made with other options"):
        read([str(path)], other)
    path.write_text(path.read_text().replace("0.51", "half"))
    with pytest.raises(ValueError, match="line 3: the run mnist-dec-seed1 has a value that is no number"):
        read([str(path)], found)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has no column dataset"):
        read([str(path)], found)
    with pytest.raises(ValueError, match="cannot be read"):
        read([str(tmp_path / "nope.csv")], found)


def test_the_digest_tells_options_apart_that_matter_and_no_paths():
    config = RunConfig.of("vade")
    same = config.replace({"autoencoder_from": "elsewhere", "data_dir": "there", "seed": 3, "dataset": "mnist"})
    assert digest(same) == digest(config)
    assert digest(config) == hashlib.sha256(b'["vade", {}]').hexdigest()[:12]  # nothing of options that a later version may add
    assert len({digest(one) for one in (config, config.replace({"learning_rate": 0.1}), RunConfig.of("dec"))}) == 3


@pytest.fixture
def results():
    def at(method, seed, accuracy, chosen=False):
        scores = {"accuracy": accuracy, "majority_accuracy": accuracy + 0.05, "exemplar_accuracy": 0.5, "nmi": 0.4, "ari": 0.3}
        report = {**scores, "training_data": {name: value - 0.01 for name, value in scores.items()}}
        entry = Entry("mnist", method, method)
        job = Job(entry.name, seed, RunConfig(), Path(f"runs/{method}{seed}"))
        return Result(entry, job, Outcome("done", 2.0, accuracy, minutes=3.0), report, 1.5, chosen)

    lost = Entry("mnist", "dec", "dec")
    diverged = Result(lost, Job("mnist-dec", 7, RunConfig(), Path("runs/dec7")), Outcome("diverged", 1.25), {}, 0.0)
    return [at("dec", 0, 0.7), at("dec", 1, 0.8, True), diverged, at("ltvae", 0, 0.6)]


def test_the_markdown_has_the_papers_figure_by_its_own_measure(results):
    lines = as_markdown(results).splitlines()
    accuracy = "75.00 +- 7.07"
    assert lines[2] == (
        f"| mnist | DEC | `dec` | 84.30 | accuracy | {accuracy} | {accuracy}; diverged at epoch 1.2 | 80.00 | 80.00 | 2 of 3 | 4.5 |"
    )
    assert lines[3] == ("| mnist | LTVAE-full | `ltvae` | 86.32 | majority accuracy, training data | 64.00 | 60.00 | 60.00 | - | 1 | 4.5 |")


def test_the_csv_has_every_measure(results):
    rows = list(csv.DictReader(as_csv(results).splitlines()))
    assert [row["status"] for row in rows] == ["done", "done", "diverged", "done"]
    assert (rows[1]["accuracy"], rows[1]["training_majority_accuracy"], rows[1]["chosen"], rows[2]["accuracy"]) == ("0.8", "0.84", "1", "")


def test_the_picture_needs_an_accuracy(results, tmp_path):
    save_picture(tmp_path / "a.png", results)
    assert (tmp_path / "a.png").stat().st_size > 5_000
    with pytest.raises(ValueError, match="nothing to draw"):
        save_picture(tmp_path / "b.png", [one._replace(report={}) for one in results])
