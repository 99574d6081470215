import pytest


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
def tiny():
    """The words of train for a small method that takes a second; how many epochs is left to say."""
    network = ["--encoder-units", "16", "--decoder-units", "16", "--latent-dim", "2"]
    return ["--method", "ae_gmm", "--preset", "ae_gmm_small", *network]
