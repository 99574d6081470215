"""How long the command line takes to answer: nvisa-tf --help, and nvisa-tf train (digits) up to the end of its first step.

python benchmarks/start_up.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

TIMES = 5
FIRST_STEP = """
import os, sys
from nvisa_tf.cli import main
from nvisa_tf.training import console

def leave(self, now):
    assert now.step == 1
    os._exit(0)

console.ConsoleMonitor.on_progress = leave
sys.argv = ["nvisa-tf", "train", "--preset", "random_small", "--steps-per-call", "1", "--out", "run"]
main.main()
"""


def main() -> None:
    """Measure and print medians."""
    commands = {
        "nvisa-tf --help": [sys.executable, "-P", "-m", "nvisa_tf", "--help"],
        "nvisa-tf train --preset random_small, to the end of the first step": [sys.executable, "-P", "-c", FIRST_STEP],
    }
    for name, command in commands.items():
        seconds = []
        for _ in range(TIMES):
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                subprocess.run(command, cwd=folder, check=True, capture_output=True)
                seconds.append(time.perf_counter() - began)
        print(f"{name}: {statistics.median(seconds):.2f} s (median of {TIMES}, {min(seconds):.2f} to {max(seconds):.2f})")


if __name__ == "__main__":
    main()
