"""How training looks on a terminal, and in a log."""

from __future__ import annotations

import sys
from typing import Any

from absl import logging
from tqdm import tqdm

from nvisa_tf.training import Monitor, Progress


class ConsoleMonitor(Monitor):
    """A bar with epoch, step rate, bound, eps and ETA; plain lines, one an evaluation, off a terminal.

    Args:
      name: of the run, in front of every line; "": none.
      leader: of several that take their steps together, whose bar all move; None: this one.
    """

    def __init__(self, name: str = "", leader: ConsoleMonitor | None = None) -> None:
        self._before = f"{name}: " if name else ""
        self._leader = leader or self
        self._bar: tqdm[Any] | None = None
        self._progress: Progress | None = None
        self._first: Progress | None = None

    def on_progress(self, progress: Progress) -> None:
        """Move the bar."""
        self._first = self._first or progress
        self._progress = progress
        if sys.stderr.isatty():
            self._leader._move(progress)

    def _move(self, progress: Progress) -> None:
        if self._bar is None:
            # The first call traces the program; it would spoil the rate.
            self._bar = tqdm(total=progress.total_steps, initial=progress.step, unit="step", dynamic_ncols=True, smoothing=0.1)
        else:
            self._bar.update(progress.step - self._bar.n)
        skipped = f" skipped {progress.skipped}" if progress.skipped else ""
        self._bar.set_postfix_str(f"epoch {progress.epoch:.1f} bound {progress.bound:.2f} eps {progress.eps:.3g}{skipped}", refresh=False)

    def on_evaluation(self, row: dict[str, Any], model: Any) -> None:
        """Say how the evaluation went."""
        now, first = self._progress, self._first
        if now is None or first is None:  # an evaluation comes after steps
            return
        text = f"{self._before}epoch {row['epoch']:g}: bound {row['bound']:.2f} (held out {row['test_bound']:.2f}), eps {row['eps_x']:.3g}"
        if "accuracy" in row:
            text += f", accuracy {100 * row['accuracy']:.2f}%"
        text += f", {row['used_clusters']} clusters used"
        if row["skipped"]:
            text += f", {row['skipped']} steps skipped"
        if sys.stderr.isatty():  # above the bar, whoever has it
            tqdm.write(text, file=sys.stderr)
            return
        rate = (now.step - first.step) / (now.seconds - first.seconds) if now.step > first.step else 0.0
        left = f", {rate:.1f} steps/s, {(now.total_steps - now.step) / rate / 60:.1f} min left" if rate else ""
        print(text + left, file=sys.stderr, flush=True)

    def on_initialization(self, message: str) -> None:
        """Say how far the start is."""
        print(self._before + message, file=sys.stderr, flush=True)

    def on_message(self, message: str) -> None:
        """Warn."""
        logging.warning(self._before + message)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
