"""What every registered method must do, on vectors and on images. A new method is tested here as soon as it is in the registry."""

import dataclasses

import keras
import numpy as np
import pytest

from nvisa_tf import METHODS, ClusteringModel, Dataset, Monitor, RunConfig, StopReason, Trainer, TrainingStage, load_run
from nvisa_tf.clustering.metrics import measures
from nvisa_tf.config.networks import NetworkConfig
from nvisa_tf.config.run import section_of, without_initialization
from nvisa_tf.data import Splits
from nvisa_tf.export.bundle import export_run
from nvisa_tf.models.registry import import_models
from nvisa_tf.runs.workflows import build_model, finish_run, resume_run, score, start_run

# Small and quick; of these a method takes what it has.
SMALL = {
    "n_clusters": 3,
    "latent_dim": 2,
    "encoder_units": (16,),
    "decoder_units": (16,),
    "posterior_units": 16,
    "n_samples": 3,
    "eval_samples": 5,
    "epochs": 4,
    "batch_size": 32,
    "eval_epochs": 2.0,
    "steps_per_call": 9,
    "init_epochs": 1,
    "pretrain_epochs": 1,
}
# Methods on both kinds of data; NVISA on vectors with the stages of an initialization, GMVAE on images from random weights.
OPTIONS = {("nvisa", "vectors"): {"init": "ae_kmeans", "eps_start": 0.25}, ("gmvae", "images"): {"pretrain_epochs": 0}}
# Without a network an image is a vector, whose values stand in rows.
KINDS = {method: ("vectors", "images") if issubclass(METHODS[method].options, NetworkConfig) else ("vectors",) for method in METHODS}
# On images these have what DEC, VaDE and AE+GMM have, with vectors to tell them apart.
AS_ANOTHER_ON_IMAGES = ("idec", "ltvae", "ltvae_gmm", "vae_gmm")

# DEC with the autoencoder's loss beside its own, and LTVAE without a search: the same classes.
AS_ANOTHER = ("idec", "ltvae_gmm")


def case_of(method, kind):
    """A method on one kind of data, with the options it is tried with."""
    options = OPTIONS.get((method, kind), {})
    others = AS_ANOTHER_ON_IMAGES if kind == "images" else AS_ANOTHER
    marks = [pytest.mark.slow] if method in others else []
    name = " ".join([method, kind, *(f"{option} {value}" for option, value in options.items())])
    return pytest.param((method, kind, options), id=name, marks=marks)


CASES = [case_of(method, kind) for method in METHODS for kind in KINDS[method]]


class Crash(Exception):
    pass


class CrashAt(Monitor):
    """Ends the process, as far as a test can tell, after so many calls in a stage."""

    def __init__(self, stage, calls):
        self.stage, self.calls = stage, calls

    def on_progress(self, progress):
        self.calls -= progress.stage == self.stage
        if self.calls == 0:
            raise Crash


@pytest.fixture(scope="module", autouse=True)
def few_steps_before():
    """Three calls of steps, where hundreds are far more of the same: for each stage of an initialization, and for linear heads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nvisa_tf.models.nvisa.initialization.LEAST_STEPS", 20)
        patch.setattr("nvisa_tf.models.neighbor_heads.LEAST_STEPS", 20)
        yield


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def splits(case, make_blobs, bar_images):
    x, y = make_blobs(40) if case[1] == "vectors" else (bar_images[0][::3], bar_images[1][::3])
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:80], order[80:]
    peak = 255.0 if case[1] == "images" else None
    return Splits(Dataset("toy", x[train], y[train], peak), Dataset("toy", x[test], y[test], peak), "a toy")


@pytest.fixture(scope="module")
def config(case):
    method, _, options = case
    known = section_of(method)
    return RunConfig.of(method, {**{name: value for name, value in SMALL.items() if name in known}, **options})


@pytest.fixture(scope="module")
def run(config, splits, tmp_path_factory):
    """A finished run: its directory."""
    folder = tmp_path_factory.mktemp("contract") / "run"
    np.savez(folder.parent / "toy.npz", x=splits.test.x, y=splits.test.y)  # what its export is verified on
    config = config.replace({"dataset": str(folder.parent / "toy.npz"), "split": "all"})
    trainer = start_run(config, splits, str(folder))
    assert trainer.train() is StopReason.FINISHED
    finish_run(trainer, trainer.config, splits)
    return folder


@pytest.fixture(scope="module")
def model(run):
    return load_run(run)[0]


def weights_of(model):
    return [weight.numpy() for weight in model.variables]


def assert_equal(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def trained(config, splits):
    model = build_model(config, splits)
    Trainer(model, config, splits.train, splits.test).train()
    return weights_of(model)


def test_it_is_what_it_says(model, config, splits):
    assert isinstance(model, ClusteringModel)
    assert model.capabilities <= {"embed", "reconstruct", "generate", "density"}
    assert ("density" in model.capabilities) == METHODS[config.method].has_density
    for stage in Trainer(build_model(config, splits), config, splits.train).stages:
        assert isinstance(stage, TrainingStage)
        assert stage.checkpointables()
        assert stage.name


def test_probabilities_sum_to_one(model, splits):
    q = model.predict_proba(splits.test.x)
    assert q.shape == (len(splits.test), 3)
    assert q.dtype == np.float32
    np.testing.assert_allclose(q.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(model.predict_clusters(splits.test.x), q.argmax(1))
    with pytest.raises(ValueError, match="facet"):
        model.predict_proba(splits.test.x, facet=model.n_facets)


def test_capabilities(model, splits):
    x = splits.test.x
    calls = {
        "embed": lambda: model.embed(x).shape[0],
        "reconstruct": lambda: model.reconstruct(x).shape == x.shape,
        "generate": lambda: model.generate(4, cluster=1, seed=3).shape == (4, *x.shape[1:]),
        "density": lambda: np.isfinite(model.score_samples(x, 3)).all(),
    }
    for name, call in calls.items():
        if name in model.capabilities:
            assert call()
        else:
            with pytest.raises(ValueError, match=r"no|not"):
                call()
    if "generate" in model.capabilities:
        np.testing.assert_array_equal(model.generate(4, seed=3), model.generate(4, seed=3))


def test_saved_and_loaded_it_answers_the_same(model, run, splits, tmp_path):
    import_models()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(again.predict_proba(splits.test.x), model.predict_proba(splits.test.x))
    (run / "model.keras").rename(tmp_path / "kept.keras")
    try:  # now the newest checkpoint answers
        np.testing.assert_array_equal(load_run(run)[0].predict_proba(splits.test.x), model.predict_proba(splits.test.x))
    finally:
        (tmp_path / "kept.keras").rename(run / "model.keras")


def skip_what_vectors_show(case):
    """Stages and exports are the same on images, where they take longer; NVISA has stages for images alone."""
    if case[1] == "images" and case[0] != "nvisa":
        pytest.skip("as on vectors")


def test_killed_in_any_stage_and_resumed_with_other_labels_it_ends_the_same(case, config, splits, model, tmp_path):
    skip_what_vectors_show(case)
    shuffled = np.random.default_rng(1).permutation(splits.train.y)
    other = Splits(dataclasses.replace(splits.train, y=shuffled), dataclasses.replace(splits.test, y=None), "")
    names = [stage.name for stage in Trainer(build_model(config, splits), config, splits.train).stages if stage.total_steps]
    config = config.replace({"checkpoint_minutes": 0.0})  # one after every call
    trainer = start_run(config, other, str(tmp_path / "run"), monitors=[CrashAt(names[0], 1)])
    with pytest.raises(Crash):
        trainer.train()
    for name, next_name in zip(names, [*names[1:], ""], strict=True):
        trainer = resume_run(trainer.run, trainer.config, other, [CrashAt(next_name, 1)])
        assert trainer.stage.name == name
        if next_name:
            with pytest.raises(Crash):
                trainer.train()
    assert trainer.train() is StopReason.FINISHED
    assert_equal(weights_of(trainer.model), weights_of(model))


def test_the_seed_decides(config, splits):
    """From the start on; that training then goes on alike is seen by the test of a killed run."""
    models = [build_model(config.replace({"seed": seed}), splits) for seed in (0, 0, 1)]
    first, same, other = ([weight.numpy() for weight in model.trainable_variables] for model in models)
    assert_equal(first, same)
    assert any(not np.array_equal(a, b) for a, b in zip(other, first, strict=True))


def test_exported_it_answers_the_same(case, run, model, tmp_path):
    skip_what_vectors_show(case)
    files = export_run(run, tmp_path, signatures=None)
    assert {file.form for file in files} == {"saved_model", "tflite", "keras"}
    checked = [file.verification for file in files if file.verification is not None]
    assert len(checked) == 3
    for verification in checked:
        assert verification.agreement == 1
        assert verification.max_difference < 1e-5


@pytest.mark.parametrize(
    "spoil", [lambda x: np.where(np.arange(x[0].size).reshape(x.shape[1:]) == 0, np.nan, x), lambda x: x[:, 1:], lambda x: x[:0]]
)
def test_bad_input_is_refused(model, splits, spoil):
    x = spoil(splits.test.x.astype(np.float32))
    for call in (model.predict_proba, *([model.embed] if "embed" in model.capabilities else [])):
        with pytest.raises(ValueError, match=r"NaN|shape|no examples"):
            call(x)


def test_fewer_examples_than_clusters_are_refused(config, splits):
    few = splits.train.take(slice(0, 2))
    with pytest.raises(ValueError, match="2 examples for 3 clusters"):
        build_model(config, Splits(few, few, ""))


def test_a_run_begins_with_another_ones_weights(config, run, splits):
    options = {"init_from": str(run), **({"init": "random"} if "init" in section_of(config.method) else {})}
    begun = build_model(config.replace({**options, "seed": 9}), splits)
    np.testing.assert_array_equal(begun.predict_proba(splits.test.x), load_run(run)[0].predict_proba(splits.test.x))
    with pytest.raises(ValueError, match=r"latent_dim 2 and this run 1; they must be the same"):
        build_model(config.replace({**options, "latent_dim": 1}), splits)


def test_a_run_of_no_epochs_keeps_the_clusters_that_it_begins_with(config, run, splits):
    if config.method in ("ae_gmm", "vae_gmm"):
        pytest.skip("their mixture is fitted anew")
    of_stages = {"classifier_epochs": 0} if config.method == "gm_gan" else {}
    config = config.replace({"init_from": str(run), **without_initialization(config.method), **of_stages, "epochs": 0, "seed": 9})
    begun = build_model(config, splits)
    assert Trainer(begun, config, splits.train, splits.test).train() is StopReason.FINISHED
    np.testing.assert_array_equal(begun.predict_proba(splits.test.x), load_run(run)[0].predict_proba(splits.test.x))


def test_augmentation_is_not_ignored(case, config, splits, model):
    if case[1] != "images" or "augment" not in section_of(config.method):
        pytest.skip("nothing to change, or no option to change it")
    pairs = zip(trained(config.replace({"augment": True}), splits), weights_of(model), strict=True)
    assert any(not np.array_equal(a, b) for a, b in pairs)


def test_the_report_scores_it(model, config, splits):
    report = score(model, splits, config, 3)
    assert {"accuracy", "nmi", "ari", "mean_max_probability", "low_confidence_fraction", "cluster_sizes", "method"} <= set(report)
    assert {"majority_accuracy", "exemplar_accuracy"} <= set(report)
    assert report["training_data"] == measures(splits.train.y, model.predict_proba(splits.train.x))
    assert report["accuracy"] == measures(splits.test.y, model.predict_proba(splits.test.x))["accuracy"]
    assert ("held_out_iw_bound" in report) == ("density" in model.capabilities)
