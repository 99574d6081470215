"""AnnData files: dense and sparse X, layers, identifiers, labels, variables by name."""

import warnings

import numpy as np
import pytest
from scipy import sparse

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import anndata

from nvisa_tf import DataConfig, load_dataset
from nvisa_tf.data import RowView, as_dataset, read_examples


def make(rng, form=np.asarray):
    counts = rng.poisson(0.5, (40, 6)).astype(np.float32)
    counts[:, 0] += np.arange(40)
    data = anndata.AnnData(form(counts))
    data.obs_names = [f"cell-{i}" for i in range(40)]
    data.var_names = [f"gene{i}" for i in range(6)]
    data.obs["cell_type"] = np.array(["B", "T"])[np.arange(40) % 2]
    data.layers["logs"] = form(np.log1p(counts))
    return data, counts


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_cells_are_vectors_dense_or_sparse(rng, tmp_path, form):
    data, counts = make(rng, form)
    data.write_h5ad(tmp_path / "c.h5ad")
    whole = load_dataset(tmp_path / "c.h5ad", label="cell_type", split="all").train
    assert isinstance(whole.x, RowView) == (form is not np.asarray)
    np.testing.assert_array_equal(np.asarray(whole.x), counts)
    np.testing.assert_array_equal(whole.y, np.arange(40) % 2)
    assert (whole.ids[3], whole.origin.id_name, whole.origin.class_names) == ("cell-3", "obs_names", ("B", "T"))
    assert whole.origin.feature_names == tuple(f"gene{i}" for i in range(6))
    logs = load_dataset(tmp_path / "c.h5ad", layer="logs").train
    np.testing.assert_array_equal(np.asarray(logs.x), np.log1p(counts))
    assert logs.y is None
    some = load_dataset(tmp_path / "c.h5ad", drop=["gene2"], columns=["gene2", "gene0", "gene5"]).train
    np.testing.assert_array_equal(np.asarray(some.x), counts[:, [0, 5]])


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_some_cells_of_an_object(rng, form):
    data, counts = make(rng, form)
    some = as_dataset(data[5:20, ::2])
    np.testing.assert_array_equal(np.asarray(some.x), counts[5:20, ::2])
    assert some.ids[0] == "cell-5"


def test_variables_are_found_by_name(rng, tmp_path):
    data, counts = make(rng, sparse.csr_matrix)
    trained = as_dataset(data, config=DataConfig(label="cell_type"))
    data[:, ::-1].copy().write_h5ad(tmp_path / "r.h5ad")
    again = read_examples(str(tmp_path / "r.h5ad"), DataConfig(), trained.origin.table)
    np.testing.assert_array_equal(np.asarray(again.x), counts)
    np.testing.assert_array_equal(again.y, trained.y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are not unique, until the next line
        more = anndata.concat([data, data], axis=1)
    more.var_names = [*data.var_names, *(f"new{i}" for i in range(6))]
    found = as_dataset(more, table=trained.origin.table)
    np.testing.assert_array_equal(np.asarray(found.x), counts)
    assert "6 variables were left out" in found.origin.remarks[0]
    with pytest.raises(ValueError, match=r"lacks gene0, gene3, which the model was trained on \(2 of 6\)"):
        as_dataset(data[:, [1, 2, 4, 5]].copy(), table=trained.origin.table)


def test_what_cannot_be_used(rng, tmp_path):
    data, _ = make(rng)
    twice = data.copy()
    twice.var_names = ["a", "a", "b", "c", "d", "e"]
    labels = data.copy()
    labels.obs["label"] = labels.obs["Class"] = labels.obs["cell_type"]
    for source, options, words in (
        (data, {"layer": "lgos"}, r"has no layer 'lgos'; did you mean logs\.$"),
        (data, {"label": "celltype"}, r"has no column 'celltype' in obs, which label names; did you mean cell_type\.$"),
        (data, {"drop": ("gene9",)}, r"has no variable 'gene9', which drop names; did you mean gene"),
        (data, {"drop": tuple(data.var_names)}, "has no variable that is left to cluster by"),
        (twice, {}, "two variables named a; call AnnData.var_names_make_unique"),
        (labels, {}, "columns label and Class of obs may all be labels"),
        (anndata.AnnData(obs=data.obs), {}, "has no X"),
    ):
        with pytest.raises(ValueError, match=words):
            as_dataset(source, config=DataConfig(**options))
    data.X[17, 3] = np.nan
    with pytest.raises(ValueError, match=r"1 values that are NaN or Inf, the first in example 17, column gene3"):
        as_dataset(data)


@pytest.mark.parametrize("name", ["c.h5ad", "c.h5"])
@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_damaged_file(rng, tmp_path, name, content):
    make(rng)[0].write_h5ad(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-2000] if content is None else content)
    with pytest.raises(ValueError, match=r"is damaged, cut off or no AnnData file; write it again with AnnData\.write_h5ad\.$") as caught:
        load_dataset(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_model_of_a_table_with_text_is_refused_by_its_columns(rng, tmp_path):
    data, _ = make(rng)
    (tmp_path / "t.csv").write_text("gene0,gene1\n1,a\n2.5,b\n3,a\n")
    schema = load_dataset(tmp_path / "t.csv").train.origin.table
    with pytest.raises(ValueError, match=r"with text in gene1; give a table with the columns gene0, gene1\.$"):
        as_dataset(data, table=schema)
