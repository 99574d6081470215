"""Files and folders as data sets, by what their names end in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nvisa_tf.config.run import DataConfig
from nvisa_tf.data.array_files import read_array
from nvisa_tf.data.dataset import Dataset, check
from nvisa_tf.data.delimited import read_delimited
from nvisa_tf.data.roles import may_be_text
from nvisa_tf.data.tables import check_width, dataset_of

ENDINGS = {
    ".npy": "array",
    ".npz": "array",
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".csv.gz": "text",
    ".tsv.gz": "text",
    ".txt.gz": "text",
    ".parquet": "parquet",
    ".h5ad": "anndata",
    ".h5": "anndata",
}
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")
TABLES = ("text", "parquet", "anndata")
OPTIONS_OF = {  # the kinds of data that an option acts on
    "image_shape": ("folder",),
    "resize": ("folder",),
    "label": TABLES,
    "id": ("text", "parquet"),
    "columns": TABLES,
    "drop": TABLES,
    "header": ("text",),
    "missing": ("text", "parquet"),
    "text_columns": ("text", "parquet"),
    "layer": ("anndata",),
}
WHAT = {"folder": "a folder of images", "text": "a table", "anndata": "an .h5ad file"}
NAMES = ".npy, .npz, .csv, .tsv, .txt (also .gz), .parquet or .h5ad"
FILES = f"{NAMES}, or a folder of images"


def read_examples(path: str, config: DataConfig, table: Mapping[str, Any] | None = None, constant: bool = False) -> Dataset:
    """The examples in a folder of images, a table or an array file, checked.

    Args:
      path: of the file or folder.
      config: how to take them; what it says of the data set's name and split is not looked at.
      table: `Origin.table` of the data that a model was trained on, whose columns are to be made again; None: as `config` says.
      constant: allow data of one value, as `check` does.

    Raises:
      FileNotFoundError: no such file.
      ValueError: data that cannot be used; one sentence says why.
    """
    kind = kind_of(path)
    if kind == "folder":
        if table:
            raise ValueError(f"{path} is a folder, and the model was trained on a table; give a table or an array.")
        from nvisa_tf.data.folders import read_folder  # Pillow, which nothing else here needs

        return check(read_folder(path, config), constant)
    if kind == "array":
        dataset = read_array(path)
        if table:
            check_width(dataset, table)
        return check(dataset, constant)
    if kind == "anndata":
        from nvisa_tf.data.h5ad import read_h5ad

        return check(read_h5ad(path, config, table), constant)

    def keep_raw(name: str) -> bool:
        return may_be_text(name, config, table)

    if kind == "parquet":
        from nvisa_tf.data.frames import read_parquet

        read = read_parquet(path, keep_raw)
    else:
        known = None
        if table:
            known = [feature["name"] for feature in table["columns"]] if table["named"] else []
        read = read_delimited(path, config.header, keep_raw, known)
    return check(dataset_of(read, config, table), constant)


def read_array_file(path: str, constant: bool = False) -> Dataset:
    """The examples (and labels) in an array or a table file, checked; a .npy is memory-mapped. Tables are taken by the defaults.

    Args:
      path: of the file.
      constant: allow data of one value, as `check` does.

    Raises:
      FileNotFoundError: no such file.
      ValueError: as `read_examples`.
    """
    return read_examples(path, DataConfig(dataset=path), constant=constant)


def kind_of(path: str) -> str:
    """What a path is: "folder", or by its ending "array", "text", "parquet" or "anndata".

    Raises:
      FileNotFoundError: nothing is there.
      ValueError: none of these.
    """
    ending = ending_of(path)
    if Path(path).is_dir():
        if ending:
            raise ValueError(f"{path} is a folder; give the path of a {ending} file.")
        return "folder"
    if not Path(path).exists():
        raise FileNotFoundError(
            f"There is no file {path}; give the path of {FILES} (where a run's data moved, by --data-dir, the folder that holds them now)."
        )
    if path.lower().endswith(SPREADSHEETS):
        raise ValueError(f"{path} is a spreadsheet; save its sheet as CSV (UTF-8) and give that file.")
    if not Path(path).is_file():
        raise ValueError(f"{path} is no file; give the path of {FILES}.")
    if not ending:
        raise ValueError(f"{path} has an ending that stands for no format here; rename it by what it holds: {NAMES}.")
    return ENDINGS[ending]


def ending_of(path: str) -> str:
    """What a path ends in, of `ENDINGS`; "" of none."""
    return next((ending for ending in ENDINGS if path.lower().endswith(ending)), "")


def check_options(config: DataConfig, kind: str) -> None:
    """Raise ValueError for an option of another kind of data, which would do nothing."""
    default = DataConfig()
    for name, kinds in OPTIONS_OF.items():
        if kind not in kinds and getattr(config, name) != getattr(default, name):
            raise ValueError(f"{name} is for {WHAT[kinds[0]]}, and {config.dataset} is none; leave it out.")
