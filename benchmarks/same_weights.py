"""Whether two installs of nvisa-tf train the same weights, bit for bit.

    python benchmarks/same_weights.py OLD_PYTHON NEW_PYTHON

Each argument is the interpreter of a virtual environment with nvisa-tf in it. Both train the same short runs through the command line,
on one thread each; then all weights of their model.keras files are compared. Exit code 0: all equal.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import report

# Options that an install of before the methods had another name for; values likewise.
OLD_NAMES = {"--init-from": "--start-from", "--consistency-weight": "--consistency", "ae_kmeans": "kmeans", "exponential": "geometric"}
SMALL = "--encoder-units 64,64 --decoder-units 64,64 --posterior-units 64 --n-samples 5 --preset paper --eps-halving-epochs 5"
DIGITS = f"--dataset digits --batch-size 143 --epochs 20 {SMALL}"  # 10 steps an epoch, 200 in all
MNIST = f"--dataset mnist --batch-size 1200 --epochs 1 {SMALL}"  # 50 steps
RUNS = {
    "digits vimco": DIGITS,
    "digits vimco, resampled": f"{DIGITS} --decoder-gradient resampled --clip-norm 100 --anneal-mode exponential --ema-momentum 0.9",
    "digits enum_y": f"{DIGITS} --objective enum_y --n-samples 1",
    "digits nvil": f"{DIGITS} --objective nvil",
    "digits consistency": f"{DIGITS} --augment --consistency-weight 10",
    "digits in chunks": f"{DIGITS} --max-rows 300",
    "digits ae_gmm": f"{DIGITS} --init ae_gmm --init-epochs 60 --eps-start 0.25",
    "digits ae_tsne": f"{DIGITS} --init ae_tsne --init-epochs 60 --eps-start 0.25 --augment --consistency-weight 10",
    "digits contrastive": f"{DIGITS} --init contrastive --init-epochs 60 --eps-start 0.25",
    "mnist vimco": MNIST,
    "mnist enum_y": f"{MNIST} --objective enum_y --n-samples 1",
    "mnist consistency": f"{MNIST} --augment --consistency-weight 10",
}
DUMP = (
    "import sys, keras, numpy as np, nvisa_tf; nvisa_tf.NVISA; m = keras.saving.load_model(sys.argv[1], compile=False); "
    "np.savez(sys.argv[2], *m.get_weights())"
)


def weights(python: str, words: list[str], folder: Path) -> list[np.ndarray]:
    """Train, and give all weights of the model."""
    environment = {**os.environ, **report.ONE_THREAD, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = folder / "run"
    for command in (
        [python, "-P", "-m", "nvisa_tf", "train", "--seed", "3", "--eval-epochs", "100", "--out", str(run), *words],
        [python, "-P", "-c", DUMP, str(run / "model.keras"), str(folder / "weights.npz")],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    with np.load(folder / "weights.npz") as archive:
        return [archive[name] for name in archive.files]


def main() -> int:
    """Compare and print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD_PYTHON", help="of the install to compare with")
    parser.add_argument("new", metavar="NEW_PYTHON", help="of the install that changed")
    parser.add_argument("--runs", default=";".join(RUNS), help="names of runs, separated by semicolons (default: all)")
    parser.add_argument(
        "--same-names", action="store_true", help="the old install knows the names of now (default: it is from before them)"
    )
    parser.add_argument("--cache", type=Path, help="a folder for the old install's weights, used again if there (default: none)")
    flags = parser.parse_args()
    different = 0
    for name in flags.runs.split(";"):
        words = RUNS[name].split()
        old_words = words if flags.same_names else [OLD_NAMES.get(word, word) for word in words]
        kept = flags.cache / f"{name.replace(' ', '-')}.npz" if flags.cache else None
        if kept and kept.exists():
            with np.load(kept) as archive:
                before = [archive[key] for key in archive.files]
        else:
            with tempfile.TemporaryDirectory() as folder:
                before = weights(flags.old, old_words, Path(folder))
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                np.savez(kept, *before)
        with tempfile.TemporaryDirectory() as folder:
            after = weights(flags.new, words, Path(folder))
        same = len(before) == len(after) and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True))
        different += not same
        print(json.dumps({"run": name, "arrays": len(after), "values": sum(a.size for a in after), "equal": same}), flush=True)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
