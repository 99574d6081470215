import contextlib
import gc
import multiprocessing
import multiprocessing.forkserver
import os
import shutil
import signal
import types

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

# Starts processes that have TensorFlow imported, which takes longer than most of what a test does in them, and have not begun to use it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["pytest", "nvisa_tf.models.nvisa.model", "nvisa_tf.runs.workflows", "nvisa_tf.cli.main", "nvisa_tf.cli.train"]
)


def start_forks():
    """Start the server of these processes, if it is not running, without the working directory on its path.

    There nvisa_tf/ lies without cli/ and export/, so that it would hide an installed package.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONSAFEPATH", "1")
        multiprocessing.forkserver.ensure_running()


PROGRAM = """
import os, sys
os.dup2(os.open({output!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
os.dup2(1, 2)
os.environ.update({environment!r})
sys.argv = {argv!r}
{first}
from nvisa_tf.layers import precision
precision.multiplies_bfloat16 = lambda: False
import tensorflow as tf
tf.config.optimizer.set_experimental_options({options!r})
from nvisa_tf.cli.main import main
main()
"""
# For TensorFlow's optimizer of graphs (Grappler), whose work takes a fifth of a short training; none where it is to work.
# What a graph computes depends on it by rounding alone, see `tests/training/test_batches.py`. It works in `pytest -m slow`.
GRAPH_OPTIONS = {}


def pytest_configure(config):
    """All in this process and in `Command`'s does without it, but for the slow tests; what starts Python itself has it."""
    if config.getoption("markexpr") != "slow":
        GRAPH_OPTIONS["disable_meta_optimizer"] = True


class Command:
    """`nvisa-tf` in a process of its own, with what `subprocess.Popen` has of it.

    Args:
      words: of the command line, without the program.
      output: the file that stdout and stderr are appended to.
      environment: what is other than in the first process that was started.
      first: a program that is run before.
    """

    def __init__(self, words, output, environment=(), first=""):
        argv = ["nvisa-tf", *map(str, words)]
        program = PROGRAM.format(output=str(output), environment=dict(environment), argv=argv, first=first, options=GRAPH_OPTIONS)
        start_forks()
        self._process = FORKS.Process(target=exec, args=(program, {}))
        self._process.start()

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        assert self.poll() is not None, "it takes too long"
        return self.poll()

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def terminate(self):
        self._process.terminate()


@pytest.fixture(scope="session")
def open_chromium():
    """A context of headless Chromium by its driver, skipped where a program is missing; of its profile, further programs, capabilities."""

    @contextlib.contextmanager
    def opened(profile, *needs, capabilities=()):
        programs = ("chromium", "chromedriver", *needs)
        if not all(map(shutil.which, programs)):
            named = f"{', '.join(programs[:-1])} and {programs[-1]}"
            if os.environ.get("NVISA_TF_BROWSER_TEST") == "required":  # as .ci/run has it
                pytest.fail(f"{named} are required here, and one is missing")
            pytest.skip(f"needs {named}")
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        quiet = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update disable-sync"
        for word in ["headless", *quiet.split(), f"user-data-dir={profile}"]:
            options.add_argument(f"--{word}")
        for name, value in dict(capabilities).items():
            options.set_capability(name, value)
        found = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            yield found
        finally:
            found.quit()

    return opened


# Those that take the most time; a file is one worker's, which would keep the others waiting at the end.
LONGEST = (
    "contract.py",
    "test_resume.py",
    "test_vectorized.py",
    "test_mutual_information.py",
    "test_lockstep.py",
    "test_initialization.py",
)


def pytest_collection_modifyitems(items):
    """The longest files first, the others in their order."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish():
    """Leave all that was imported to itself: a graph has so many objects that looking for garbage among all is a tenth of tracing it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


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


@pytest.fixture(scope="session", autouse=True)
def graph_options():
    """GRAPH_OPTIONS for this process."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options(GRAPH_OPTIONS)


@pytest.fixture(scope="session", autouse=True)
def float32_products():
    """What is asked of float32's digits holds on every machine, in `Command` too; `tests/layers/test_precision.py` has bfloat16's.

    Of the whole session, so that it is so in what a module's fixtures train as well.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nvisa_tf.layers.precision.multiplies_bfloat16", lambda: False)
        yield


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


@pytest.fixture(scope="session")
def start_command():
    """`Command`, for tests that signal it or look at what it prints; none of them outlives the tests."""
    started = []

    def start(*args, **kwargs):
        started.append(Command(*args, **kwargs))
        return started[-1]

    yield start
    for command in started:
        if command.poll() is None:
            command.send_signal(signal.SIGKILL)


class RunCommand(Command):
    """As `run_all` starts it, by the words that Python is given; that they do start Python is seen where this is not in its place."""

    def __init__(self, words, stdout, stderr, env):
        assert words[1:4] == ["-P", "-m", "nvisa_tf"]
        assert stderr is stdout
        super().__init__(words[4:], stdout.name, env)

    __class_getitem__ = classmethod(types.GenericAlias)


@contextlib.contextmanager
def forking_runs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nvisa_tf.runs.jobs.subprocess", types.SimpleNamespace(Popen=RunCommand))
        yield


@pytest.fixture(scope="session")
def fork_runs():
    """Within this, the processes of `run_all` are `RunCommand`s."""
    return forking_runs


@pytest.fixture
def forked_runs():
    """The processes of `run_all` are `RunCommand`s in the whole test."""
    with forking_runs():
        yield


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


@pytest.fixture(scope="session")
def random_tree():
    """A function of (seed, the facets' parents, their numbers of states, the facet of each pouch, the dimensions of each)."""
    from nvisa_tf.clustering.latent_tree import LatentTree, Pouch

    def make(seed, parents, sizes, facets, dims, spread=2.0):
        rng = np.random.default_rng(seed)
        shapes = [(1 if parent < 0 else sizes[parent], size) for parent, size in zip(parents, sizes, strict=True)]
        tables = [rng.dirichlet(np.full(size, 2.0), rows) for rows, size in shapes]
        pouches = []
        for facet, own in zip(facets, dims, strict=True):
            factor = rng.normal(size=(sizes[facet], len(own), len(own))) * 0.3
            covariances = factor @ factor.swapaxes(1, 2) + 0.2 * np.eye(len(own))
            pouches.append(Pouch(facet, own, spread * rng.normal(size=(sizes[facet], len(own))), covariances))
        return LatentTree(tuple(parents), (tables[0][0], *tables[1:]), tuple(pouches))

    return make
