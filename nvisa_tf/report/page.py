"""RUN/report.html: written from a run's content, read again to write it with other names.

The page loads nothing: its Content-Security-Policy allows its own style sheet and script by their hashes, and pictures inside it.
All text goes into it by MarkupSafe, which escapes what is not markup of ours.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from nvisa_tf.config.run import RunConfig
from nvisa_tf.data import Splits
from nvisa_tf.io.files import write_text
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.report.colours import colour_rules
from nvisa_tf.report.sections import body, headline

if TYPE_CHECKING:  # it loads TensorFlow, without which a page can be written again
    from nvisa_tf.evaluation.assignments import Assignments

CONTENT = re.compile(r'<script type="application/json" id="content">(.*?)</script>', re.DOTALL)
PICTURE = re.compile(r'<img data-picture="(\d+)" src="(data:image/(?:png|jpeg);base64,[A-Za-z0-9+/=]*)"')
FORMAT = 1  # of the content, which a later version reads to write the page again
POLICY = "default-src 'none'; img-src data:; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'"


def write_report(
    run: RunDirectory,
    config: RunConfig,
    splits: Splits,
    assignments: Assignments,
    report: dict[str, Any],
    names: Sequence[str],
    output: str | os.PathLike[str] | None = None,
) -> Path:
    """Write a run's report as one page; gives its path.

    Args:
      run: the run, whose curves and run.json are read.
      config: its configuration.
      splits: its data.
      assignments: the answers for all examples of `splits.parts()`.
      report: its scores, as report.json has them; its "warnings" are shown.
      names: what the clusters are called, [K].
      output: where to; None: RUN/report.html.

    Raises:
      ValueError: the assignments are not of these data.
    """
    from nvisa_tf.report.content import content_of  # it loads scikit-learn, which other names do not need

    path = Path(output) if output else run.page_file
    content, pictures = content_of(run, config, splits, assignments, report, len(names))
    write_text(path, render({"format": FORMAT, **content}, pictures, names))
    return path


def rename_report(run: RunDirectory, names: Sequence[str]) -> Path | None:
    """Write RUN/report.html again with other names of the clusters, [K], without the data or the model; None where there is none.

    Raises:
      ValueError: the page was written by another version, or is damaged.
    """
    path = run.page_file
    if not path.is_file():
        return None
    content, pictures = read(path)
    write_text(path, render(content, pictures, names))
    return path


def render(content: dict[str, Any], pictures: Sequence[str], names: Sequence[str]) -> str:
    """The whole page."""
    style = _resource("style.css") + colour_rules(content["n_clusters"])
    script = _resource("script.js")
    return Template(_resource("page.html")).substitute(
        policy=POLICY.format(style=_hash(style), script=_hash(script)),
        title=Markup("{}").format(headline(content)),
        style=style,
        script=script,
        body=body(content, pictures, names),
        names=_json(list(names)),
        content=_json(content),
    )


def read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The content and the pictures of a page that `render` made.

    Raises:
      ValueError: it was written by another version, or is damaged.
    """
    text = path.read_text(encoding="utf-8")
    found = CONTENT.search(text)
    try:
        content = json.loads(found[1]) if found else {}
    except ValueError:
        content = {}
    pictures = {int(number): uri for number, uri in PICTURE.findall(text)}
    if content.get("format") != FORMAT or sorted(pictures) != list(range(len(pictures))):
        raise ValueError(f"{path} cannot be read as a report of this version; write it again with nvisa-tf report {path.parent}.")
    return content, [pictures[i] for i in range(len(pictures))]


def _resource(name: str) -> str:
    return (resources.files("nvisa_tf.report") / "page" / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON that ends no script element, whatever it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    """What allows this text alone as a style sheet or a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
