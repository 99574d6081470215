"""Export a run: files, each verified before it is put in place, and the sidecar."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nvisa_tf.data import Dataset, Splits, value_range
from nvisa_tf.export import sidecar
from nvisa_tf.export.convert import save_saved_model, tflite_signatures, to_tflite
from nvisa_tf.export.formats import FORMATS, QUANTIZATIONS, SIGNATURES
from nvisa_tf.export.outliers import WithNovelty
from nvisa_tf.export.photos import with_backbone
from nvisa_tf.export.signatures import described, frozen_module
from nvisa_tf.export.verify import TOLERANCE, Verification, compare, open_encoder, require
from nvisa_tf.io.files import replacing, replacing_folder
from nvisa_tf.io.names import read_names, shown_names
from nvisa_tf.models.base import ClusteringModel, ExportSignature
from nvisa_tf.runs.outliers import load_outlier_detector
from nvisa_tf.runs.workflows import load_run, load_run_splits

REPRESENTATIVE = 300  # training examples that set the ranges of int8
VERIFIED = 10_000  # held-out examples at most that an export is verified on


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """What one exported file is.

    Attributes:
      path: of the file, or the folder of a SavedModel.
      form: of `FORMATS`.
      quantize: of `nvisa_tf.export.formats.QUANTIZATIONS`.
      size: in bytes.
      verification: how it compares with the Keras model; None for a generator.
      signatures: inputs and outputs, as in model.json; None for a Keras file.
      outliers: what its novelty means, as in model.json; None of a file that tells no outliers.
    """

    path: Path
    form: str
    quantize: str
    size: int
    verification: Verification | None
    signatures: dict[str, Any] | None
    outliers: dict[str, float] | None = None


def export_run(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    formats: Sequence[str] = FORMATS,
    quantize: str = "none",
    signatures: Sequence[str] | None = None,
    min_agreement: float = 0.99,
    data_dir: str = "",
    label_names: Mapping[int, str] | None = None,
    batch: int | None = None,
    head_only: bool = False,
    outliers: float | None = None,
) -> list[ExportedFile]:
    """Write a run's model as files that need nothing else of this package.

    Args:
      run: a run directory.
      out: the folder to write to; files of the same name in it are replaced, each once its successor is whole.
      formats: of `FORMATS`.
      quantize: of `nvisa_tf.export.formats.QUANTIZATIONS`, for TFLite encoders.
      signatures: which to export, None: all that the model has; those that generate are in a file of their own.
      min_agreement: the smallest share of held-out examples to which a quantized encoder must give the Keras
        model's cluster; a float32 file must agree on all.
      data_dir: tensorflow-datasets folder, instead of the run's, or the folder that the run's data file is in now.
      head_only: of a run with a backbone, export the model of its vectors; else the encoders take photos, with the backbone inside.
      outliers: the false-alarm rate at which encoders tell outliers, by an output "novelty" of the signature cluster; None: they do not.
      batch: images at a time in TFLite files, for runtimes without a dynamic batch; None for any number.
      label_names: names by label; each cluster is shown by the name of its most frequent held-out label; None: clusters have the names
        that `nvisa-tf name` gave them.

    Raises:
      ValueError: not a run, an unknown format, quantization or signature, names for data without labels, or a rate of outliers that cannot
        be told or does not go with the quantization.
      RuntimeError: a file does not answer as the Keras model does; it is not kept.
    """
    for chosen, known in ((formats, FORMATS), ([quantize], QUANTIZATIONS), (signatures or (), SIGNATURES)):
        for name in chosen:
            if name not in known:
                raise ValueError(f"There is no {name!r} to export; there are {', '.join(known)}.")
    if signatures is not None and "cluster" not in signatures:
        raise ValueError("The signature cluster must be among those exported.")
    model, config, directory = load_run(run)
    splits = load_run_splits(directory, config, data_dir)
    names = read_names(directory, model.config.n_clusters) if label_names is None else name_clusters(model, splits.test, label_names)
    about = None if head_only else directory.backbone()
    answering: Any = model
    if outliers is not None:
        if quantize.startswith("int8"):
            raise ValueError(f"Outliers lie beyond the range that {quantize} is made for; choose none, float16 or dynamic, or no outliers.")
        answering = WithNovelty(model, load_outlier_detector(directory, model, config, data_dir), outliers)
    if about:
        if "keras" in formats:
            raise ValueError(f"A Keras file has no backbone inside; {directory.model_file} is the model of vectors. Leave keras out.")
        answering, splits = with_backbone(answering, directory, splits)
    offered = answering.signatures()
    for name in signatures or ():
        if name not in offered:
            raise ValueError(f"The method {config.method} has no signature {name}; it has {', '.join(offered)}.")
    chosen_signatures = {name: offered[name] for name in signatures or offered}
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    dtype = "uint8" if splits.train.x.dtype == np.uint8 else "float32"
    job = _Job(answering, splits, folder, dtype, quantize, min_agreement, batch)
    exported = [file for form in formats for file in job.write(form, chosen_signatures)]
    info = directory.info()
    sidecar.write(
        folder,
        {
            "name": splits.train.name,
            "run": str(directory.path.resolve()),
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": info["versions"],
            "n_clusters": model.config.n_clusters,
            "latent_dim": model.config.latent_dim,
            "cluster_names": names,
            "input": {
                "shape": list(splits.train.shape),
                "dtype": dtype,
                "range": value_range(splits.train),
                "resize": about["resize"] if about else config.data.resizing if splits.train.origin.kind == "folder" else None,
                **({"backbone": about["name"]} if about else {}),
                "preprocessing": "inside; give raw values as the data set has them",
            },
            "files": [_entry(file) for file in exported],
        },
    )
    return exported


def name_clusters(model: ClusteringModel, test: Dataset, label_names: Mapping[int, str]) -> list[str]:
    """A display name for each cluster: its majority label's, or "cluster 3" where there is none.

    Raises:
      ValueError: there are no labels, or a majority label has no name.
    """
    names = shown_names({}, model.config.n_clusters)
    if test.y is None:
        raise ValueError("Clusters cannot be named: the data have no labels.")
    clusters = model.predict_clusters(test.x)
    for k in np.unique(clusters):
        label = int(np.bincount(test.y[clusters == k]).argmax())
        if label not in label_names:
            raise ValueError(f"Cluster {k} is mostly of label {label}, which has no name.")
        names[k] = label_names[label]
    return names


def _entry(file: ExportedFile) -> dict[str, Any]:
    verification = None if file.verification is None else dataclasses.asdict(file.verification)
    about = {
        "path": file.path.name,
        "format": file.form,
        "quantize": file.quantize,
        "verification": verification,
        "signatures": file.signatures,
        "outliers": file.outliers,
    }
    return {**about, **sidecar.describe(file.path)}


@dataclasses.dataclass(frozen=True)
class _Job:
    model: Any  # a ClusteringModel, or a PhotoModel
    splits: Splits
    folder: Path
    dtype: str
    quantize: str
    min_agreement: float
    batch: int | None

    def write(self, form: str, signatures: Mapping[str, ExportSignature]) -> Iterator[ExportedFile]:
        encoder = {name: signature for name, signature in signatures.items() if not signature.generates}
        generator = {name: signature for name, signature in signatures.items() if signature.generates}
        if form == "keras":
            with replacing(self.folder / "model.keras") as temporary:
                self.model.save(temporary)
                found = self._verified(temporary, form, exact=True)
            yield self._file("model.keras", form, "none", found, None)
        elif form == "saved_model":
            module, functions = frozen_module(signatures, self.dtype)
            with replacing_folder(self.folder / "saved_model") as temporary:
                save_saved_model(module, functions, temporary)
                found = self._verified(temporary, form, exact=True)
            yield self._file("saved_model", form, "none", found, described(functions))
        else:
            yield self._tflite(encoder)
            if generator:
                module, functions = frozen_module(generator, self.dtype, self.batch)
                with replacing(self.folder / "generator.tflite") as temporary:
                    temporary.write_bytes(to_tflite(module, functions, "none", self._examples(generator)))
                yield self._file("generator.tflite", form, "none", None, tflite_signatures(self.folder / "generator.tflite"))

    def _tflite(self, signatures: Mapping[str, ExportSignature]) -> ExportedFile:
        # Int8 inputs are made by the converter, from float ones.
        dtype = "float32" if self.quantize == "int8-io" else self.dtype
        module, functions = frozen_module(signatures, dtype, self.batch)
        name = "encoder.tflite" if self.quantize == "none" else f"encoder-{self.quantize}.tflite"
        with replacing(self.folder / name) as temporary:
            temporary.write_bytes(to_tflite(module, functions, self.quantize, self._examples(signatures, dtype)))
            found = self._verified(temporary, "tflite", exact=self.quantize == "none")
        return self._file(name, "tflite", self.quantize, found, tflite_signatures(self.folder / name))

    def _examples(self, names: Iterable[str], dtype: str = "float32") -> Callable[[], Iterable[tuple[str, dict[str, np.ndarray]]]]:
        """Evenly spread training examples, one at a time, for every signature."""
        train: Dataset = self.splits.train
        rows = np.asarray(train.x[:: max(1, len(train) // REPRESENTATIVE)][:REPRESENTATIVE]).astype(dtype)
        each = tuple(names)
        return lambda: ((name, {"image": rows[i : i + 1]}) for i in range(len(rows)) for name in each)

    def _verified(self, path: Path, form: str, exact: bool) -> Verification:
        test = self.splits.test
        x, y = np.asarray(test.x[:VERIFIED]), None if test.y is None else test.y[:VERIFIED]
        found = compare(open_encoder(path, form), self.model, x, y)
        require(found, exact, self.min_agreement, getattr(self.model, "tolerance", TOLERANCE))
        return found

    def _file(self, name: str, form: str, quantize: str, found: Verification | None, signatures: dict[str, Any] | None) -> ExportedFile:
        path = self.folder / name
        tells = found is not None and found.novelty_difference is not None
        outliers = {"false_alarm_rate": self.model.rate, "novelty_above": 1} if tells else None
        return ExportedFile(path, form, quantize, sidecar.describe(path)["bytes"], found, signatures, outliers)
