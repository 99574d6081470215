"""Features of many photos: batch by batch into a file, that a later call goes on with where an earlier one was killed.

A finished file is a .npy array, float32 [n, F], with a .json beside it that says what it is. An unfinished one is a folder of its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from nvisa_tf.backbones.network import Backbone
from nvisa_tf.backbones.sources import Photos
from nvisa_tf.io.files import description_of, sha256_of, write_text
from nvisa_tf.io.image_folders import Tally
from nvisa_tf.io.images import NotAnImageError

VERSION = 1  # of what makes features of pixels; others are made anew
SAVE_SECONDS = 10.0  # between two moments that a killed extraction can go on from
BATCH = 32  # photos
AHEAD = 2  # batches that are decoded before they are needed


@dataclasses.dataclass(frozen=True)
class Extraction:
    """Where features are.

    Attributes:
      path: of the .npy file.
      was_there: whether they had been made before.
    """

    path: Path
    was_there: bool


class State(NamedTuple):
    """How far an unfinished file is.

    Attributes:
      done: photos looked at.
      left_out: those of them that could not be read, (place, name, why) each.
      tally: of the others.
      crc: of the features so far, CRC-32.
    """

    done: int = 0
    left_out: tuple[tuple[int, str, str], ...] = ()
    tally: Tally = Tally()
    crc: int = 0

    def after(self, batch: State, features: bytes) -> State:
        """With a batch more, and its features."""
        ours, its = self.tally, batch.tally
        tally = Tally(ours.deep + its.deep, max(ours.brightest, its.brightest), ours.frames + its.frames)
        return State(self.done + batch.done, self.left_out + batch.left_out, tally, zlib.crc32(features, self.crc))


def cache_folder() -> Path:
    """Where features are kept: NVISA_TF_CACHE, or nvisa-tf in XDG_CACHE_HOME or in ~/.cache."""
    own = os.environ.get("NVISA_TF_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "nvisa-tf")


def extract(
    photos: Photos, backbone: Backbone, tell: Callable[[str], None], batch_size: int = BATCH, folder: Path | None = None
) -> Extraction:
    """The features of photos by a backbone, made only where they are not there yet.

    Args:
      photos: what to make features of.
      backbone: by what.
      tell: is told how far it is, every ten seconds.
      batch_size: photos at a time.
      folder: where features are kept; None: `cache_folder()`.

    Raises:
      ValueError: no photo can be read, a photo's features are not finite, or another process makes the same features.
      OSError: the folder cannot be written to, or the disk is full.
    """
    its = {name: value for name, value in backbone.about().items() if name != "probe"}  # which depends on rounding
    its |= {"file_sha256": backbone.file_sha256} if backbone.file_sha256 else {}
    identity = {"version": VERSION, "backbone": its, "resize": photos.resize, "photos": photos.fingerprint()}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
    path = (folder or cache_folder()) / f"{key}.npy"
    if path.is_file() and description_of(path).is_file():
        if _is_whole(path):
            _say_where(description_of(path), photos, backbone)
            return Extraction(path, True)
        tell(f"{photos.name}: the features in {path} are damaged, and are made again")
        description_of(path).unlink()
    work = path.with_suffix(".unfinished")
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"The features cannot be kept in {work.parent}: {error.strerror}; name another folder by the environment variable "
            "NVISA_TF_CACHE."
        ) from error
    try:
        with FileLock(work.with_suffix(".lock"), timeout=0):
            if not description_of(path).is_file():
                try:
                    _fill(photos, backbone, work, batch_size, tell)
                except ValueError:  # nothing that could be gone on with
                    shutil.rmtree(work)
                    raise
                _finish(photos, backbone, identity, work, path)
    except Timeout as error:
        raise ValueError(f"Another process makes these features of {photos.name} now; wait until it has ended.") from error
    work.with_suffix(".lock").unlink(missing_ok=True)
    return Extraction(path, False)


def _fill(photos: Photos, backbone: Backbone, work: Path, batch_size: int, tell: Callable[[str], None]) -> None:
    state = begun = _state(work)
    size = (begun.done - len(begun.left_out)) * 4 * backbone.width
    if begun.done and _crc(work / "features.bin", size) != begun.crc:
        tell(f"{photos.name}: what was made before is damaged, and is made again")
        state, begun, size = State(), State(), 0
    with open(work / "features.bin", "ab") as file:
        file.truncate(size)  # what came after the last moment that was saved is made again
        if begun.done:
            tell(f"{photos.name}: going on after {begun.done:,} of {len(photos):,} photos")
        began = saved = time.monotonic()
        try:
            for values, batch in _batches(photos, backbone.shape, begun.done, batch_size):
                known = np.setdiff1d(np.arange(batch.done), [place - state.done for place, *_ in batch.left_out])
                found = np.ascontiguousarray(backbone.features(_padded(values, batch_size))[known], np.float32)
                check_finite(found, backbone, [photos.name_of(state.done + int(row)) for row in known])
                made = found.tobytes()
                file.write(made)
                state = state.after(batch, made)
                if (now := time.monotonic()) - saved >= SAVE_SECONDS:
                    _save(work, file, state)
                    saved = now
                    rate = (state.done - begun.done) / (now - began)
                    left = _minutes((len(photos) - state.done) / rate)
                    tell(f"{photos.name}: {state.done:,} of {len(photos):,} photos, {rate:.1f} a second, {left} left")
        finally:  # Ctrl-C too
            _save(work, file, state)


def check_finite(features: np.ndarray, backbone: Backbone, names: Sequence[str]) -> None:
    """Raise ValueError where features [n, F] of photos of these names have NaN or Inf, with the first such name."""
    odd = np.flatnonzero(~np.isfinite(features).all(1))
    if odd.size:
        raise ValueError(
            f"{backbone.name} gives features of {names[odd[0]]} that are NaN or Inf; use another network, or leave that photo out."
        )


def _finish(photos: Photos, backbone: Backbone, identity: dict[str, Any], work: Path, path: Path) -> None:
    state = _state(work)
    names = [(name, why) for _, name, why in state.left_out]
    gone = {place for place, *_ in state.left_out}
    places = [place for place in range(len(photos)) if place not in gone]
    if not places:
        shutil.rmtree(work)
        raise ValueError(photos.nothing_read(names))
    labels = photos.labels(places)
    about = {
        **identity,
        "backbone": backbone.about(),
        "name": photos.name,
        "n": len(places),
        "width": backbone.width,
        "rows": places if gone else None,
    }
    about |= {"made_by": {**backbone.loaded_by}, "of": photos.source}
    about |= {"left_out": names, **labels, "remarks": photos.remarks(state.tally, names)}
    as_array(work / "features.bin", len(places), backbone.width, path)
    about["sha256"] = sha256_of(path)
    write_text(description_of(path), json.dumps(about))  # after the array: where it is, the array is whole
    shutil.rmtree(work)


def _is_whole(path: Path) -> bool:
    """Whether a finished file is as it was written."""
    try:
        known = json.loads(description_of(path).read_text(encoding="utf-8"))["sha256"]
    except (ValueError, KeyError, TypeError):
        return False
    return sha256_of(path) == known


def _say_where(file: Path, photos: Photos, backbone: Backbone) -> None:
    """Let a description name the files of now, where the same photos or the same backbone were elsewhere then."""
    about = json.loads(file.read_text(encoding="utf-8"))
    now = {**about, "name": photos.name, "made_by": {**backbone.loaded_by}, "of": photos.source}
    if now != about:
        write_text(file, json.dumps(now))


def as_array(raw: Path, n: int, width: int, path: Path) -> None:
    """Write n rows of float32 values, as they are in a file, as a .npy file; piece by piece, so that they need no memory."""
    temporary = path.with_suffix(".tmp")
    with open(raw, "rb") as source, open(temporary, "wb") as target:
        np.lib.format.write_array_header_1_0(target, {"descr": "<f4", "fortran_order": False, "shape": (n, width)})
        shutil.copyfileobj(source, target, 1 << 20)
        os.fsync(target.fileno())
    os.replace(temporary, path)


def _batches(photos: Photos, shape: tuple[int, int, int], first: int, batch_size: int) -> Iterator[tuple[np.ndarray, State]]:
    """Photos from the `first` on, [B, *shape], those that cannot be read black, and what there is to say; decoded ahead, in their order."""

    def read(start: int) -> tuple[np.ndarray, State]:
        places = range(start, min(start + batch_size, len(photos)))
        values, tally, left_out = np.zeros((len(places), *shape), np.uint8), Tally(), []
        for place in places:
            try:
                values[place - start] = tally.add(photos.read(place, shape))
            except NotAnImageError as error:
                left_out.append((place, photos.name_of(place), error.why))
        return values, State(len(places), tuple(left_out), tally)

    starts, threads = iter(range(first, len(photos), batch_size)), min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque[Future[tuple[np.ndarray, State]]]()
        try:
            while True:
                while len(waiting) < threads + AHEAD and (start := next(starts, None)) is not None:
                    waiting.append(pool.submit(read, start))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _padded(values: np.ndarray, batch_size: int) -> np.ndarray:
    """With black photos up to the batch's size, so that the network is compiled once for all batches."""
    missing = batch_size - len(values)
    return np.concatenate([values, np.zeros((missing, *values.shape[1:]), np.uint8)]) if missing else values


def _state(work: Path) -> State:
    """How far a folder is; not begun where what says so is missing or damaged."""
    try:
        found = json.loads((work / "state.json").read_text(encoding="utf-8"))
        return State(found["done"], tuple(tuple(entry) for entry in found["left_out"]), Tally(**found["tally"]), found["crc"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return State()


def _crc(file: Path, size: int) -> int | None:
    """Of the first bytes of a file; None where it has fewer."""
    if not file.is_file() or file.stat().st_size < size:
        return None
    crc = 0
    with open(file, "rb") as source:
        while size and (piece := source.read(min(size, 1 << 20))):
            crc, size = zlib.crc32(piece, crc), size - len(piece)
    return crc


def _save(work: Path, file: Any, state: State) -> None:
    file.flush()
    os.fsync(file.fileno())
    write_text(work / "state.json", json.dumps({**state._asdict(), "tally": dataclasses.asdict(state.tally)}))


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
