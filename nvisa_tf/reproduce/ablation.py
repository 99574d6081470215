"""The rows of the paper's ablation table on MNIST (Li et al., IJCNN 2020), and the methods beyond it."""

from __future__ import annotations

from typing import Any, NamedTuple

from nvisa_tf.config.options import near
from nvisa_tf.config.presets import method_of, of_length, preset
from nvisa_tf.config.run import RunConfig


class Row(NamedTuple):
    """One configuration.

    Attributes:
      method: the paper's name of the variational method.
      configuration: the paper's words; * is std annealing.
      paper: its accuracy in percent, "N/A" where the loss diverged, "" where the paper has no such row.
      options: what it changes in the preset, by bare name.
    """

    method: str
    configuration: str
    paper: str
    options: dict[str, Any]


_ENUM = {"objective": "enum_y"}
_STILL = {"anneal": "none"}
_BERNOULLI = {"likelihood": "bernoulli", "anneal": "none"}

ABLATION: dict[str, Row] = {
    "enum_y_bernoulli": Row("EnumY", "NVISA, Bernoulli p(x|z)", "95.12", {**_ENUM, **_BERNOULLI}),
    "enum_y": Row("EnumY", "NVISA", "78.43", {**_ENUM, **_STILL}),
    "enum_y_annealed": Row("EnumY", "NVISA*", "93.81", _ENUM),
    "nvil": Row("NVIL", "NVISA", "N/A", {"objective": "nvil", "n_samples": 15, **_STILL}),
    "nvil_annealed": Row("NVIL", "NVISA*", "N/A", {"objective": "nvil", "n_samples": 15}),
    "vimco": Row("VIMCO", "NVISA", "N/A", {"n_samples": 15, **_STILL}),
    "vimco_bernoulli": Row("VIMCO", "NVISA, Bernoulli p(x|z)", "95.74", {"n_samples": 15, **_BERNOULLI}),
    "vimco_1000": Row("VIMCO", "NVISA, 1000 samples", "71.42", {"n_samples": 1000, **_STILL}),
    "vimco_1000_annealed": Row("VIMCO", "NVISA*, 1000 samples", "91.3", {"n_samples": 1000}),
    "vimco_mean_field_annealed": Row("VIMCO", "NVISA*, mean-field q", "95.25", {"n_samples": 15, "posterior": "mean_field"}),
    "vimco_annealed": Row("VIMCO", "NVISA*, 15 samples", "98.40", {"n_samples": 15}),
    "iwae_annealed": Row(
        "IWAE", "NVISA*, y summed, 2 samples of z each", "", {"objective": "iwae", "n_samples": 2, "decoder_gradient": "all"}
    ),
    "iwae_vimco_annealed": Row("IWAE-VIMCO", "NVISA*, 15 samples, z reparameterized", "", {"objective": "iwae_vimco", "n_samples": 15}),
    "rws_annealed": Row("RWS", "NVISA*, 15 samples", "", {"objective": "rws", "n_samples": 15}),
}


def choose(names: tuple[str, ...]) -> dict[str, Row]:
    """The rows of these names, in the table's order; all without names.

    Raises:
      ValueError: no such row.
    """
    for name in names:
        if name not in ABLATION:
            raise ValueError(f"There is no row {name!r}{near(name, ABLATION)}.")
    return {name: row for name, row in ABLATION.items() if not names or name in names}


def run_config(row: Row, chosen_preset: str, seed: int, epochs: int | None, common: dict[str, Any]) -> RunConfig:
    """The configuration of one run of a row.

    Args:
      row: what it changes.
      chosen_preset: the options to start from.
      seed: of the run.
      epochs: instead of the preset's; the times in which eps and the learning rate halve shrink or grow with it.
      common: options for every row, such as the data set.

    Raises:
      ValueError: `epochs` is below 1.
    """
    if epochs is not None and epochs < 1:
        raise ValueError(f"epochs is {epochs}; the rows of a table need 1 or more.")
    if method_of(chosen_preset) != "nvisa" and "method" not in row.options and row in ABLATION.values():
        raise ValueError(f"The ablation is of the method nvisa, and the preset {chosen_preset} is not; choose another.")
    given = {**common, **row.options}
    options = preset(chosen_preset, row.options.get("objective", "vimco"), given.get("binarize", False))
    if epochs is not None:
        options = of_length(options, epochs)
        options["eval_epochs"] = max(1.0, min(RunConfig().train.eval_epochs, epochs / 20))  # so that a short run has a curve too
    return RunConfig().replace({**options, **given, "seed": seed})
