"""How training looks on a terminal, and in a log."""

from __future__ import annotations

import sys
from typing import Any

from absl import logging
from tqdm import tqdm

from nvisa_tf.training.monitors import Monitor, Progress


class ConsoleMonitor(Monitor):
    """A bar for each stage with epoch, step rate, what the stage shows, and ETA; plain lines, one an evaluation, off a terminal.

    It writes to stderr.

    Args:
      name: of the run, in front of every line; "": none.
      leader: of several that take their steps together, whose bar all move; None: this one.
      bar: whether there are bars; None: on a terminal alone.
      held_out: whether what is scored is held out, and not trained on.
    """

    def __init__(self, name: str = "", leader: ConsoleMonitor | None = None, bar: bool | None = None, held_out: bool = True) -> None:
        self._has_bar = sys.stderr.isatty() if bar is None else bar
        self._before = f"{name}: " if name else ""
        self._scored = "held out" if held_out else "all data"
        self._leader = leader or self
        self._bar: tqdm[Any] | None = None
        self._shown_stage = ""
        self._progress: Progress | None = None
        self._first: Progress | None = None

    def on_progress(self, progress: Progress) -> None:
        """Move the bar."""
        if self._first is None or self._first.stage != progress.stage:
            self._first = progress
        self._progress = progress
        if self._has_bar:
            self._leader._move(progress)

    def _move(self, progress: Progress) -> None:
        if self._bar is not None and self._shown_stage != progress.stage:
            self.close()
        if self._bar is None:
            self._shown_stage = progress.stage
            # The first call traces the program; it would spoil the rate.
            self._bar = tqdm(
                total=progress.total_steps, initial=progress.step, unit="step", desc=progress.stage, dynamic_ncols=True, smoothing=0.1
            )
        else:
            self._bar.total = progress.total_steps  # the end may have come nearer
            self._bar.update(progress.step - self._bar.n)
        skipped = f" skipped {progress.nonfinite_steps}" if progress.nonfinite_steps else ""
        values = " ".join(f"{name} {_short(value)}" for name, value in progress.values.items())
        self._bar.set_postfix_str(f"epoch {progress.epoch:.1f} {values}{skipped}", refresh=False)

    def on_stage(self, row: dict[str, Any], stage: Any) -> None:
        """Say how a stage before the last goes."""
        epochs = stage.total_steps / row["step"] * row["epoch"]
        text = f"{stage.name}: epoch {row['epoch']:g} of {epochs:g}" + self._shown(stage)
        if row.get("nonfinite_steps"):
            text += f", {row['nonfinite_steps']} steps skipped"
        self._say(text)

    def on_evaluation(self, row: dict[str, Any], model: Any, stage: Any) -> None:
        """Say how the evaluation went."""
        text = f"epoch {row['epoch']:g}" + self._shown(stage)
        if "held_out_iw_bound" in row:
            text += f", {self._scored} {row['held_out_iw_bound']:.2f}"
        if "accuracy" in row:
            text += f", accuracy {100 * row['accuracy']:.2f}%"
        text += f", {row['used_clusters']} clusters used"
        if row.get("nonfinite_steps"):
            text += f", {row['nonfinite_steps']} steps skipped"
        self._say(text)

    def _shown(self, stage: Any) -> str:
        values = self._progress.values if self._progress and self._progress.stage == stage.name else {}
        return "".join(f"{', ' if i else ': '}{name} {_short(value)}" for i, (name, value) in enumerate(values.items()))

    def _say(self, text: str) -> None:
        """A line above the bar, or with the rate and the time left."""
        now, first = self._progress, self._first
        if now is None or first is None:  # this comes after steps
            return
        text = self._before + text
        if self._has_bar:  # above the bar, whoever has it
            tqdm.write(text, file=sys.stderr)
            return
        rate = (now.step - first.step) / (now.seconds - first.seconds) if now.step > first.step else 0.0
        left = f", {rate:.1f} steps/s, {(now.total_steps - now.step) / rate / 60:.1f} min left" if rate else ""
        print(text + left, file=sys.stderr, flush=True)

    def on_initialization(self, message: str) -> None:
        """Say how far the initialization is."""
        print(self._before + message, file=sys.stderr, flush=True)

    def on_stage_end(self, message: str) -> None:
        """Say when a stage ended that could end before its limit."""
        tqdm.write(self._before + message, file=sys.stderr)

    def on_message(self, message: str) -> None:
        """Warn."""
        logging.warning(self._before + message)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3g}"
