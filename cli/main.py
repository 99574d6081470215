"""nvisa-tf: parse, call, print. TensorFlow is imported only by the command that needs it."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import functools
import gc
import importlib
import importlib.metadata
import io
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import NoReturn

try:
    from absl import app, logging
    from absl.flags import argparse_flags
except ModuleNotFoundError:  # an install of what classify needs alone: NumPy, Pillow and ai-edge-litert
    HAVE_ABSL = False
else:
    HAVE_ABSL = True

EXIT_FAILURE, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130

COMMANDS = {
    "train": "train a model, or go on with a run",
    "features": "make vectors of photos by a pretrained network",
    "evaluate": "score a run on its held-out data",
    "predict": "cluster new examples with a run",
    "report": "write a run's report as a page, and show it",
    "name": "give a run's clusters names, or list them",
    "merge": "make a run with fewer clusters, or show which are near each other",
    "sample": "draw samples of a run, one cluster in each row",
    "export": "write a run's model as SavedModel, TFLite or Keras files, or as a web page",
    "classify": "cluster image files with an exported encoder, without TensorFlow",
    "verify": "check an exported encoder against its run's model again",
    "benchmark": "time exported files against each other",
    "reproduce": "run the paper's tables and draw its figures",
    "info": "show what a run is and where it stands",
}


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal's encoding lacks is no reason to end
            stream.reconfigure(errors="backslashreplace")
    argv = [sys.argv[0], *(sys.argv[1:] or ["--help"])]
    try:
        if HAVE_ABSL:
            app.run(_dispatch, argv=argv, flags_parser=_parse)
        else:
            sys.exit(_dispatch(_parse(argv)))
    except KeyboardInterrupt:  # while a command's module is loaded
        sys.exit(_interrupted())
    finally:
        gc.freeze()  # else Python ends by looking for garbage among all of TensorFlow's objects, which takes seconds


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser_class()(
        prog="nvisa-tf",
        description="Cluster images or vectors without labels, by a Gaussian-mixture VAE (NVISA) or another deep method.",
        epilog="Start with: nvisa-tf train (digits, half a minute), then nvisa-tf train --help.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Only the named command's module is imported: the others' flags are not needed.
    named = next((word for word in argv[1:] if word in COMMANDS), None)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        if name == named:
            try:
                module = importlib.import_module(f"nvisa_tf.cli.{name}")
                words = [argv[2:]] if name == "train" else []  # its flags are those of the method that they name
                module.add_flags(command, *words)
            except ModuleNotFoundError as error:
                sys.exit(_fail(_missing(name, error), EXIT_BAD_INPUT))
    flags, unknown = parser.parse_known_args(argv[1:])
    if unknown:
        known = ["--" + name.replace("_", "-") for name in vars(flags)]
        near = difflib.get_close_matches(unknown[0].split("=")[0], known, n=1)
        hint = _method_with(unknown[0]) or (f" (is {near[0]} meant?)" if near else "")
        commands.choices[flags.command].error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return flags


def _method_with(flag: str) -> str:
    """A clause where a flag is one of train's, with another --method."""
    if not HAVE_ABSL:
        return ""
    from nvisa_tf.config.methods import METHODS
    from nvisa_tf.config.run import section_of

    name = flag.split("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
    methods = [method for method in METHODS if name in section_of(method)]
    return f" ({flag.split('=')[0]} is an option of --method {' or '.join(methods)})" if methods else ""


def _parser_class() -> type[argparse.ArgumentParser]:
    """A parser whose errors are one sentence; argparse's own come after the usage, which is a screen long for train."""

    class Parser(argparse_flags.ArgumentParser if HAVE_ABSL else argparse.ArgumentParser):  # type: ignore[misc]
        def error(self, message: str) -> NoReturn:
            print(f"nvisa-tf: {message}; {self.prog} --help lists what there is.", file=sys.stderr)
            sys.exit(EXIT_BAD_INPUT)

    return Parser


def _dispatch(flags: argparse.Namespace) -> int:
    # TensorFlow's threads of log lines are for its developers; ours go through absl.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the only one that does, whatever other programs of this machine are set to
    if HAVE_ABSL and logging.get_verbosity() == logging.INFO:
        logging.set_verbosity(logging.WARNING)
    try:
        command = importlib.import_module(f"nvisa_tf.cli.{flags.command}")
        _leave_imports_alone()
        return command.run(flags) or 0
    except (ValueError, FileNotFoundError) as error:
        return _fail(error, EXIT_BAD_INPUT)
    except BrokenPipeError:  # who reads has read enough; stdout is pointed elsewhere, as Python flushes it once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    except (OSError, RuntimeError) as error:
        return _fail(error, EXIT_FAILURE)
    except ModuleNotFoundError as error:
        return _fail(_missing(flags.command, error), EXIT_BAD_INPUT)
    except Exception as error:
        # TensorFlow's own errors (a full disk, no memory) have no base class outside TensorFlow.
        if not type(error).__module__.startswith("tensorflow."):
            raise
        return _fail(RuntimeError(str(error).splitlines()[0]), EXIT_FAILURE)
    except KeyboardInterrupt:
        return _interrupted()


@functools.cache  # once in a process: what is frozen later would include garbage
def _leave_imports_alone() -> None:
    """Keep Python from looking for garbage among all that was imported, which slows down every tracing of a graph."""
    gc.freeze()


def _interrupted() -> int:
    print("\nnvisa-tf: interrupted.", file=sys.stderr)
    return EXIT_INTERRUPTED


def _fail(error: Exception, code: int) -> int:
    if HAVE_ABSL and logging.level_debug():  # --verbosity=1
        raise error
    print(f"nvisa-tf: {error}", file=sys.stderr)
    return code


def _missing(command: str, error: ModuleNotFoundError) -> Exception:
    if (error.name or "nvisa_tf").startswith("nvisa_tf"):  # ours to mend
        raise error
    return RuntimeError(f"{command} needs {error.name}, which is not installed; pip install nvisa-tf installs all it needs.")


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what is written to stderr while TensorFlow loads or converts; show it if a load fails.

    C++ code writes its first lines before any log level is in force, and the converter at none, so no setting silences them.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except ImportError:
            os.dup2(kept, 2)
            buffer.seek(0)
            sys.stderr.write(buffer.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"nvisa-tf {importlib.metadata.version('nvisa-tf')}")
        parser.exit()
