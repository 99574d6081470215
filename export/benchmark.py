"""How fast exported files cluster, side by side: each in a process of its own, the measurements interleaved."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import resource
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from nvisa_tf.export import sidecar

WARM_UP, ROUNDS, CALLS = 20, 20, 25  # calls before the first is counted; visits to each file; calls a visit; these are limits
LEAST_ROUNDS = 3
VISIT, ALL_VISITS = 0.5, 10.0  # seconds that a visit, and all those of a file with one batch size, should take; slow files get fewer calls
TELL = 10.0  # seconds between two sentences on how far it is


@dataclasses.dataclass(frozen=True)
class Measured:
    """One file under one number of threads.

    Attributes:
      path: of the file or folder.
      runtime: LiteRT, ONNX Runtime, SavedModel or Keras.
      threads: it was allowed.
      size: in bytes.
      latency: by batch size, the seconds of every call; a call is from NumPy array to NumPy array.
      memory: the most that the process held, bytes, its Python and libraries included.
      agreement, accuracy: as its export measured them, or None where that is not known.
    """

    path: Path
    runtime: str
    threads: int
    size: int
    latency: dict[int, np.ndarray]
    memory: int
    agreement: float | None
    accuracy: float | None


def measure(
    paths: Sequence[str | os.PathLike[str]],
    batch_sizes: Sequence[int] = (1, 64),
    threads: Sequence[int] = (1, 2),
    rounds: int | None = None,
    calls: int = CALLS,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Measured]:
    """Time files against each other, on random bytes of their examples' shape.

    All files take turns for `rounds` rounds, up to `calls` calls each, so that what else the machine does meets all alike.

    Args:
      paths: .tflite, .keras and .onnx files and SavedModel folders that cluster the same data.
      batch_sizes: images a call.
      threads: to allow each.
      rounds: how often; None: up to `ROUNDS`, and fewer where a batch takes long.
      calls: at most, a visit; fewer where they would take longer than `VISIT` seconds.
      tell: is given a sentence now and then.

    Raises:
      ValueError: a file that cannot be opened, or files of different data.
    """
    context = multiprocessing.get_context("spawn")
    jobs = [(Path(path), count) for path in paths for count in threads]
    for path, _ in jobs:
        runtime_of(path)
    workers = [_Worker(context, path, count) for path, count in jobs]
    try:
        shapes = {worker.path: worker.receive() for worker in workers}
        if len(set(shapes.values())) > 1:
            listed = ", ".join(f"{path} {list(shape)}" for path, shape in shapes.items())
            raise ValueError(f"The files take examples of different shapes: {listed}; give files of one model.")
        latency: list[dict[int, list[float]]] = [{size: [] for size in batch_sizes} for _ in workers]
        visits = {size: min(_calls(worker, size, calls) for worker in workers) for size in batch_sizes}
        turns = rounds or max(LEAST_ROUNDS, min(ROUNDS, *(most for _, most in visits.values())))
        told = time.monotonic()
        for turn in range(turns):
            for size, (count, _) in visits.items():
                for worker, seconds in zip(workers, latency, strict=True):
                    worker.send((size, count, min(WARM_UP, count) if turn == 0 else 1))
                    seconds[size] += worker.receive()
                if time.monotonic() - told > TELL:
                    tell(f"Round {turn + 1} of {turns}, batches of {size}.")
                    told = time.monotonic()
        memory = [worker.finish() for worker in workers]
    finally:
        for worker in workers:
            worker.stop()
    found = []
    for (path, count), seconds, most in zip(jobs, latency, memory, strict=True):
        known = sidecar.entry(path).get("verification") or {}
        arrays = {size: np.array(values) for size, values in seconds.items()}
        scores = (known.get("agreement"), known.get("accuracy"))
        found.append(Measured(path, runtime_of(path), count, sidecar.describe(path)["bytes"], arrays, most, *scores))
    return found


def _calls(worker: _Worker, size: int, most: int) -> tuple[int, int]:
    """How many calls a visit should have, and how many visits there is time for, by one call after another."""
    worker.send((size, 1, 1))
    (seconds,) = worker.receive()
    count = max(1, min(most, int(VISIT / seconds)))
    return count, int(ALL_VISITS / (count * seconds))


def only_generates(path: Path) -> bool:
    """Whether a file beside its model.json draws samples and clusters nothing, as generator.tflite."""
    entry = sidecar.entry(path)
    return bool(entry) and entry["verification"] is None


def runtime_of(path: Path) -> str:
    """The name of what runs a file.

    Raises:
      ValueError: there is no such file, or it is of no known kind.
    """
    if not path.exists():
        raise ValueError(f"There is no file {path}.")
    if (path / "saved_model.pb").is_file():
        return "SavedModel"
    try:
        return {".tflite": "LiteRT", ".keras": "Keras", ".onnx": "ONNX Runtime"}[path.suffix]
    except KeyError:
        raise ValueError(f"{path} is no .tflite, .keras or .onnx file and no SavedModel folder.") from None


class _Worker:
    """A process that holds one file."""

    def __init__(self, context: Any, path: Path, threads: int) -> None:
        self.path = path
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, path, threads), daemon=True)
        self._process.start()
        there.close()
        self.send = self._here.send

    def receive(self) -> Any:
        try:
            answer = self._here.recv()
        except EOFError:
            raise ValueError(f"The process that opened {self.path} ended; the file may be damaged.") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def finish(self) -> int:
        self.send(None)
        return self.receive()

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, path: Path, threads: int) -> None:
    # Libraries announce themselves on stderr.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    try:
        shape, dtype, classify = _OPEN[runtime_of(path)](path, threads)
    except Exception as error:
        pipe.send(ValueError(f"{path} cannot be opened ({(str(error).splitlines() or [type(error).__name__])[0]})."))
        return
    pipe.send(shape)
    images = np.random.default_rng(0).integers(0, 17, (1024, *shape)).astype(dtype)  # 16 is within any data set's bytes
    for size, calls, warm_up in iter(pipe.recv, None):
        pipe.send(list(_timed(classify, images, size, calls, warm_up)))
    pipe.send(_most_memory())


def _most_memory() -> int:
    """The most bytes that this process held. Not by getrusage on Linux, where a child starts with its parent's."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _timed(classify: Callable[[np.ndarray], Any], images: np.ndarray, size: int, calls: int, warm_up: int) -> Iterator[float]:
    for call in range(-warm_up, calls):
        start = (call % max(1, len(images) // size)) * size
        batch = images[start : start + size]
        began = time.perf_counter()
        classify(batch)
        if call >= 0:
            yield time.perf_counter() - began


Opened = tuple[tuple[int, ...], Any, Callable[[np.ndarray], Any]]


def _litert(path: Path, threads: int) -> Opened:
    from nvisa_tf.export.runtime import ClusterEncoder

    encoder = ClusterEncoder(path, threads)
    return encoder.shape, encoder.dtype, lambda x: encoder.classify(x, len(x))


def _onnx(path: Path, threads: int) -> Opened:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    dtype = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}[image.type]
    return tuple(image.shape[1:]), dtype, lambda x: session.run(None, {image.name: x})


def _tensorflow(threads: int) -> Any:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return tf


def _saved_model(path: Path, threads: int) -> Opened:
    tf = _tensorflow(threads)
    loaded = tf.saved_model.load(str(path))
    function = loaded.signatures["cluster"]
    spec = function.structured_input_signature[1]["image"]

    def classify(x: np.ndarray) -> Any:
        return {name: value.numpy() for name, value in function(image=tf.constant(x)).items()}

    classify.model = loaded  # type: ignore[attr-defined]  # the function alone does not keep it
    return tuple(spec.shape[1:]), spec.dtype.as_numpy_dtype, classify


def _keras(path: Path, threads: int) -> Opened:
    if not zipfile.is_zipfile(path):  # before TensorFlow, which takes seconds
        raise ValueError("it is not a .keras file, or is cut off")
    _tensorflow(threads)
    import keras

    from nvisa_tf.models.registry import import_models

    import_models()  # so that the class is known
    model = keras.saving.load_model(path, compile=False, safe_mode=True)

    def classify(x: np.ndarray) -> Any:
        q = np.asarray(model(x))
        return q.argmax(1), q

    return model.config.input_shape, np.uint8, classify


_OPEN: dict[str, Callable[[Path, int], Opened]] = {"LiteRT": _litert, "ONNX Runtime": _onnx, "SavedModel": _saved_model, "Keras": _keras}
