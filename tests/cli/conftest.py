import numpy as np
import pytest

TINY = [
    "--encoder-units", "16", "--posterior-units", "16", "--decoder-units", "16", "--latent-dim", "2", "--n-samples", "3",
    "--eval-samples", "5", "--eval-examples", "50", "--batch-size", "64",
]  # fmt: skip


@pytest.fixture
def cli(capsys):
    """Call the command line in this process: exit code, stdout, stderr."""
    from nvisa_tf.cli import main

    def call(*words):
        argv = ["nvisa-tf", *map(str, words)]
        try:
            code = main._dispatch(main._parse(argv))
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A short run on blobs of vectors with labels, made once."""
    from nvisa_tf.cli import main

    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 100)
    x = (rng.normal(0, 4, (3, 6))[y] + rng.normal(0, 0.3, (300, 6))).astype(np.float32)
    np.savez(folder / "blobs.npz", x=x, y=y)
    words = ["train", "--dataset", folder / "blobs.npz", "--out", folder / "run", "--n-clusters", 3, "--epochs", 20, "--eval-epochs", 10, *TINY]
    argv = ["nvisa-tf", *map(str, words)]
    assert main._dispatch(main._parse(argv)) == 0
    return folder
