import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest


def gaussian_blobs(each, spread=4.0, noise=0.3):
    """Three clusters of float vectors, [3 each, 6], with labels [3 each]."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), each)
    return (rng.normal(0, spread, (3, 6))[y] + rng.normal(0, noise, (3 * each, 6))).astype(np.float32), y


def bars():
    """Images of three kinds, bytes [300, 6, 6], bright in the left, middle or right third, with labels [300]."""
    y = np.repeat(np.arange(3), 100)
    noise = np.random.default_rng(0).normal(20, 10, (300, 6, 6))
    return np.clip(noise + 200 * (np.arange(6) // 2 == y[:, None])[:, None], 0, 255).astype(np.uint8), y


@pytest.fixture
def rng():
    """Random numbers of a test, the same alone as in its file."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def bar_images():
    """What `bars` gives."""
    return bars()


@pytest.fixture(scope="session")
def make_blobs():
    """`gaussian_blobs`, for fixtures that need others than `blobs`."""
    return gaussian_blobs


@pytest.fixture
def blobs():
    """Three well separated clusters of float vectors, [300, 6], with labels [300]."""
    return gaussian_blobs(100)


@pytest.fixture(scope="session")
def blobs_file(tmp_path_factory):
    """120 examples of three such clusters as a .npz file, for runs in processes of their own."""
    x, y = gaussian_blobs(40)
    path = tmp_path_factory.mktemp("data") / "blobs.npz"
    np.savez(path, x=x, y=y)
    return str(path)


@pytest.fixture
def tiny_config():
    """A small model for vectors of 6."""
    from nvisa_tf import NVISAConfig

    return NVISAConfig(input_shape=(6,), n_clusters=3, latent_dim=2, encoder_units=(16,), posterior_units=16, decoder_units=(16,))


@pytest.fixture(scope="session")
def bars_run(tmp_path_factory):
    """A short run on three kinds of images."""
    import contextlib

    from nvisa_tf.cli import train
    from nvisa_tf.cli.main import _parse

    folder = tmp_path_factory.mktemp("exported")
    x, y = bars()
    np.savez(folder / "bars.npz", x=x, y=y)
    # Until its clusters are certain, so that no test of what is made of it hangs on a rounding.
    words = "--preset random_small --epochs 150 --eps-halving-epochs 30 --learning-rate 1e-2 --batch-size 32 --seed 1 --n-clusters 3"
    words += " --latent-dim 2 --encoder-units 32 --posterior-units 16 --decoder-units 16"
    flags = _parse(["nvisa-tf", "train", "--dataset", str(folder / "bars.npz"), "--out", str(folder / "run"), *words.split()])
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
        train.run(flags)
    return folder / "run"
