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
