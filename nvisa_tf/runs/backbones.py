"""The backbone of a run: what made the vectors of photos that it was trained on."""

from __future__ import annotations

from nvisa_tf.backbones import Backbone, load_backbone
from nvisa_tf.backbones.identity import difference
from nvisa_tf.io.run_directory import RunDirectory


def load_run_backbone(run: RunDirectory) -> Backbone:
    """The backbone of a run that has one.

    Raises:
      ValueError: it cannot be loaded, or is another one than when the run was trained.
      FileNotFoundError: its file, or that of its weights, is no longer there.
    """
    about = run.backbone()
    if about is None:
        raise ValueError(f"{run.path} has no backbone.")
    backbone = load_backbone(**about["made_by"])
    if different := difference(backbone.about(), about):
        raise ValueError(f"{about['made_by']['name']} {different} than when {run.path} was trained; put the one of then in place.")
    return backbone
