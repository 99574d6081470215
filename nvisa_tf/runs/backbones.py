"""The backbone of a run: what made the vectors of photos that it was trained on."""

from __future__ import annotations

from nvisa_tf.backbones import Backbone, load_backbone
from nvisa_tf.io.run_directory import RunDirectory


def load_run_backbone(run: RunDirectory) -> Backbone:
    """The backbone of a run that has one.

    Raises:
      ValueError: it cannot be loaded, or has other weights than when the run was trained.
      FileNotFoundError: its file, or that of its weights, is no longer there.
    """
    about = run.backbone()
    if about is None:
        raise ValueError(f"{run.path} has no backbone.")
    backbone = load_backbone(**about["made_by"])
    if backbone.weights_sha256 != about["weights_sha256"]:
        raise ValueError(f"{about['made_by']['name']} has other weights than when {run.path} was trained; put those of then in place.")
    return backbone
