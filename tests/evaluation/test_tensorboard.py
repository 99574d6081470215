from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.util import tensor_util

from nvisa_tf import NVISA, Dataset, RunConfig, Trainer
from nvisa_tf.data import Splits
from nvisa_tf.evaluation.tensorboard import TensorBoardMonitor
from nvisa_tf.runs.workflows import start_run


def test_event_files_hold_scalars_pictures_and_hparams(tiny_config, blobs, tmp_path):
    data = Dataset("blobs", *blobs)
    short = {"epochs": 4, "batch_size": 32, "n_samples": 3, "eps_halving_epochs": 2, "eval_epochs": 2, "eval_samples": 5}
    config = RunConfig().replace({**vars(tiny_config), **short})
    rows = []
    board = TensorBoardMonitor(tmp_path / "run" / "tensorboard", config, data.x[:5])
    board_on_evaluation = board.on_evaluation
    board.on_evaluation = lambda row, model, stage: (rows.append(row), board_on_evaluation(row, model, stage))
    Trainer(NVISA(tiny_config), config, data, monitors=[board]).train()

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"tensors": 0}).Reload()
    tags = set(events.Tags()["tensors"])
    assert {
        "1 results/accuracy", "1 results/nmi", "1 results/ari", "1 results/held_out_iw_bound", "1 results/used_clusters",
        "1 results/cluster_size_entropy", "bound/bound", "bound/log_p_x", "bound/kl_y", "bound/kl_z", "bound/l2",
        "annealing/eps_x", "annealing/eps_z", "annealing/learning_rate", "gradient/grad_norm", "gradient/ess",
        "gradient/nonfinite_steps", "clusters/assignment_entropy",
    } <= tags  # fmt: skip
    scalars = [tag for tag in sorted(tags) if "/" in tag and not tag.startswith("_hparams_")]  # as TensorBoard sorts them
    assert all(tag.startswith("1 results/") for tag in scalars[:6])
    assert len({tag.split("/")[1] for tag in scalars}) == len(scalars)  # nothing twice
    for tag, column in (("bound/bound", "bound"), ("annealing/eps_x", "eps_x"), ("1 results/accuracy", "accuracy")):
        written = [(e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]
        assert [step for step, _ in written] == [18, 36]
        np.testing.assert_allclose([value for _, value in written], [row[column] for row in rows], rtol=1e-6)
    for tag in ("samples, one cluster in each row", "inputs and reconstructions"):
        width, height, png = tensor_util.make_ndarray(events.Tensors(tag)[0].tensor_proto)
        assert int(width) > 28
        assert int(height) >= 14
        assert png.startswith(b"\x89PNG")
    assert "hparams" in events.summary_metadata["_hparams_/session_start_info"].plugin_data.plugin_name
    assert b"n_clusters" in events.summary_metadata["_hparams_/session_start_info"].plugin_data.content


def test_a_runs_curves_stand_under_its_name(make_blobs, tmp_path):
    """The folder above several runs is what TensorBoard is given; the stages before the last are there too."""
    x, y = make_blobs(20)
    data = Dataset("blobs", x, y)
    small = {"n_clusters": 3, "latent_dim": 2, "encoder_units": (8,), "decoder_units": (8,), "epochs": 2, "eval_epochs": 1}
    for name in ("first", "second"):
        start_run(RunConfig.of("ae_gmm", small), Splits(data, data, "blobs"), str(tmp_path / name)).train()
    runs = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload().Runs()
    assert {Path(run).parts[0] for run in runs} == {"first", "second"}
    for found in runs.values():
        assert "autoencoder/loss" in found["tensors"]
