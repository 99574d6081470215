"""AnnData (.h5ad files, or in memory) as data sets: cells or samples as vectors, genes or whatever was measured as their values."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.columns import shortened, suggestion
from nvisa_tf.data.dataset import Dataset, Origin, from_array
from nvisa_tf.data.frames import table_of_frame
from nvisa_tf.data.roles import LABELS, NONE
from nvisa_tf.data.tables import read_labels

ID_NAME = "obs_names"


def read_h5ad(path: str, config: DataConfig, schema: Mapping[str, Any] | None = None) -> Dataset:
    """The examples of an AnnData file, unchecked; errors as `dataset_of_anndata`, and for a file that cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the package's own future
            import anndata
    except ImportError as error:
        raise ValueError(f'Reading {path} needs the package anndata; install it by pip install "nvisa-tf[anndata]".') from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names that are not unique, which are of no harm or refused
            data = anndata.read_h5ad(path)
    except PermissionError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; check its permissions.") from error
    except Exception as error:
        # anndata and HDF5 let errors of many types through, for files that are damaged as for those that are of another kind.
        raise ValueError(f"{path} is damaged, cut off or no AnnData file; write it again with AnnData.write_h5ad.") from error
    return dataset_of_anndata(data, path, config, schema)


def is_anndata(data: Any) -> bool:
    """Whether it is an AnnData object, without loading the package."""
    return all(hasattr(data, name) for name in ("X", "obs", "var_names", "obs_names", "layers"))


def dataset_of_anndata(data: Any, source: str, config: DataConfig, schema: Mapping[str, Any] | None = None) -> Dataset:
    """The examples of an AnnData object, unchecked: `X` or a layer as vectors, dense or sparse, `obs_names` as identifiers.

    Args:
      data: the object.
      source: what it is called in messages.
      config: `layer`; `label`, a column of `obs`; `columns` and `drop`, names of variables.
      schema: `Origin.table` of an earlier one, whose variables are found by name; None: as `config` says.

    Raises:
      ValueError: no such layer, label or variable, no `X`, or names of variables that are not unique; one sentence says which.
    """
    names = [str(name) for name in data.var_names]
    if config.layer and config.layer not in data.layers:
        raise ValueError(f"{source} has no layer {config.layer!r}{suggestion(config.layer, data.layers)}.")
    x = data.layers[config.layer] if config.layer else data.X
    if x is None:
        raise ValueError(f"{source} has no X; name one of its layers by --layer{suggestion('', data.layers)}.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{source} has two variables named {twice}; call AnnData.var_names_make_unique before you write it.")
    wanted, remarks = _wanted(names, source, config, schema)
    if wanted != names:
        index = {name: i for i, name in enumerate(names)}
        x = x[:, [index[name] for name in wanted]]
    label = _label(data.obs, source, config, schema)
    known = list(schema["classes"]) if schema else []
    y, class_names = None, tuple(known)
    if label:
        table = table_of_frame(data.obs[[label]].reset_index(drop=True), source, lambda name: True)
        y, class_names, more = read_labels(table, table.columns[0], known)
        remarks += more if schema else [f"Labels, for scoring alone: column {label} of obs."]
    schema = schema or {
        "named": True,
        "columns": [{"name": name} for name in wanted],
        "width": len(wanted),
        "places": list(range(len(wanted))),
        "label": label,
        "id": ID_NAME,
        "classes": list(class_names),
    }
    origin = Origin("table", ID_NAME, tuple(wanted), class_names, (), tuple(remarks), dict(schema))
    whole = from_array(Path(source).name, x if not hasattr(x, "to_memory") else x.to_memory())
    return Dataset(whole.name, whole.x, y, whole.max_value, np.array([str(name) for name in data.obs_names]), None, origin)


def _wanted(names: list[str], source: str, config: DataConfig, schema: Mapping[str, Any] | None) -> tuple[list[str], list[str]]:
    """The variables to cluster by, in order, and what to say of them."""
    if schema:
        if text := [feature["name"] for feature in schema["columns"] if "categories" in feature]:
            raise ValueError(
                f"{source} has numbers alone, and the model was trained on a table with text in {shortened(text)}; give a table with the "
                f"columns {shortened([feature['name'] for feature in schema['columns']])}."
            )
        wanted = [feature["name"] for feature in schema["columns"]]
        known = set(names)
        missing = [name for name in wanted if name not in known]
        if missing:
            raise ValueError(f"{source} lacks {shortened(missing)}, which the model was trained on ({len(missing):,} of {len(wanted):,}).")
        new = len(names) - len(wanted)
        return wanted, [f"{new:,} variables were left out, as the model was not trained on them."] if new else []
    known = set(names)
    for option, given in (("columns", config.columns), ("drop", config.drop)):
        if unknown := [name for name in given if name not in known]:
            raise ValueError(f"{source} has no variable {unknown[0]!r}, which {option} names{suggestion(unknown[0], names)}.")
    asked, dropped = set(config.columns), set(config.drop)
    wanted = [name for name in names if (not asked or name in asked) and name not in dropped]
    if not wanted:
        raise ValueError(f"{source} has no variable that is left to cluster by; take some out of drop.")
    return wanted, [f"Clustered by {len(wanted):,} variables: {shortened(wanted)}."]


def _label(obs: Any, source: str, config: DataConfig, schema: Mapping[str, Any] | None) -> str:
    """The column of labels, "" without one."""
    columns = [str(name) for name in obs.columns]
    if schema:
        return schema["label"] if schema["label"] in columns else ""
    if config.label == NONE:
        return ""
    if config.label:
        if config.label not in columns:
            raise ValueError(f"{source} has no column {config.label!r} in obs, which label names{suggestion(config.label, columns)}.")
        return config.label
    found = [name for name in columns if name.casefold() in LABELS]
    if len(found) > 1:
        raise ValueError(f"{source}: columns {' and '.join(found)} of obs may all be labels; name one by --label.")
    return found[0] if found else ""
