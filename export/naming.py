"""Clusters' names in files that were exported before; loads no TensorFlow."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from nvisa_tf.export import sidecar
from nvisa_tf.io.files import write_text

WORKER = "sw.js"  # of a site; a browser that has kept the site takes it anew once the version in it is another
VERSION = re.compile(r"(?<=const VERSION = ')[^']*")


def exported(run: Path) -> list[Path]:
    """The folders with a model.json that `nvisa-tf export` writes to within a run if nothing else is said."""
    return [folder for folder in (run / "export", run / "site" / "models") if (folder / sidecar.NAME).is_file()]


def rename(folder: Path, names: Mapping[int, str]) -> None:
    """Put other names of some clusters into a folder's model.json and labels.txt; a site is given another version.

    Args:
      folder: with a model.json.
      names: by cluster; the others keep theirs.

    Raises:
      ValueError: model.json cannot be read.
    """
    content = sidecar.read(folder)
    content["cluster_names"] = [names.get(k, name) for k, name in enumerate(content["cluster_names"])]
    sidecar.write(folder, content)
    if (folder.parent / WORKER).is_file():
        set_version(folder.parent)


def set_version(site: Path) -> None:
    """Name a site's version in its worker by what the other files hold."""
    others = sorted(path for path in site.iterdir() if path.name != WORKER)
    digest = hashlib.sha256("".join(path.name + sidecar.describe(path)["sha256"] for path in others).encode()).hexdigest()
    text = (site / WORKER).read_text(encoding="utf-8")
    write_text(site / WORKER, VERSION.sub(digest[:16], text))
