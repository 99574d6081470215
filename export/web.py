"""Export a run as a static web site: the encoder in the browser, by LiteRT.js."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from nvisa_tf.export import sidecar
from nvisa_tf.export.bundle import ExportedFile, export_run
from nvisa_tf.export.naming import set_version
from nvisa_tf.io.files import replacing_folder, write_text
from nvisa_tf.io.run_directory import RunDirectory

PACKAGE, VERSION = "@litertjs/core", "2.5.3"  # the version that the tests run
# Not the variants for threads and JSPI, which need headers or browsers that a static site cannot count on.
RUNTIME = {
    "core/dist/index.js": "core.js",
    "wasm-utils/dist/index.js": "wasm-utils.js",
    **{
        f"core/wasm/litert_wasm{kind}_internal.{end}": f"wasm/litert_wasm{kind}_internal.{end}"
        for kind in ("", "_compat")
        for end in ("js", "wasm")
    },
}
NOTICE = f"LiteRT.js, from the npm packages {PACKAGE} and @litertjs/wasm-utils.\nCopyright Google LLC, Apache License 2.0.\n"


def export_site(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    quantize: str = "none",
    min_agreement: float = 0.99,
    data_dir: str = "",
    label_names: Mapping[int, str] | None = None,
    litert: str | os.PathLike[str] | None = None,
) -> list[ExportedFile]:
    """Write a site that needs a web server for static files and nothing else.

    Args:
      run: a run directory, of images.
      out: the site's folder; an earlier site there is replaced as a whole.
      quantize, min_agreement, data_dir, label_names: as for `export_run`.
      litert: the folder node_modules/@litertjs of an npm install; None: npm fetches it.

    Raises:
      ValueError: as `export_run`; the data are not images; the folder holds something else; LiteRT.js is not in `litert`.
      RuntimeError: as `export_run`; npm is missing or fails.
    """
    folder = Path(out)
    directory = RunDirectory.open(run)
    about = directory.backbone()
    _check_shape(tuple(about["shape"]) if about else directory.config().model.input_shape)
    if quantize == "int8-io":
        raise ValueError("LiteRT.js takes no int8 inputs; choose another --quantize for a web page, such as int8.")
    if folder.exists() and not (folder.is_dir() and ((folder / "models" / sidecar.NAME).is_file() or not any(folder.iterdir()))):
        raise ValueError(f"{folder} holds something else than a site of ours; give a new folder.")
    with replacing_folder(folder) as site:
        _copy_runtime(site / "litert", litert)
        for page in resources.files("nvisa_tf.export").joinpath("web").iterdir():
            (site / page.name).write_bytes(page.read_bytes())
        # LiteRT.js does not know a dynamic batch.
        exported = export_run(
            run, site / "models", ["tflite"], quantize, min_agreement=min_agreement, data_dir=data_dir, label_names=label_names, batch=1
        )
        written = {**sidecar.read(site / "models"), "run": Path(run).name}  # no path for all to read
        write_text(site / "models" / sidecar.NAME, json.dumps(written, indent=2) + "\n")
        set_version(site)
    return [dataclasses.replace(file, path=folder / "models" / file.path.name) for file in exported]


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise ValueError(
            f"The page shows grey or colour images, and this run's examples have the shape {list(shape)}; export tflite instead."
        )


def _copy_runtime(target: Path, litert: str | os.PathLike[str] | None) -> None:
    if litert is not None:
        _copy_from(Path(litert), target)
        return
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(f"npm, which fetches {PACKAGE}, is not installed; install Node.js, or give --litert node_modules/@litertjs.")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", f"{PACKAGE}@{VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[0]
            raise RuntimeError(f"npm cannot fetch {PACKAGE} ({last}); install it elsewhere and give --litert node_modules/@litertjs.")
        _copy_from(Path(folder) / "node_modules" / "@litertjs", target)


def _copy_from(source: Path, target: Path) -> None:
    (target / "wasm").mkdir(parents=True)
    for path, name in RUNTIME.items():
        if not (source / path).is_file():
            raise ValueError(f"{source} has no {path}; give the folder node_modules/@litertjs of an npm install of {PACKAGE}@{VERSION}.")
        shutil.copyfile(source / path, target / name)
    (target / "NOTICE").write_text(NOTICE)
