import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from nvisa_tf import NVISA, Dataset, RunConfig, Trainer
from nvisa_tf.evaluation.tensorboard import TensorBoardMonitor


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
        "bound/bound", "bound/held_out_iw_bound", "bound/log_p_x", "bound/kl_y", "bound/kl_z", "bound/l2",
        "annealing/eps_x", "annealing/eps_z", "annealing/learning_rate", "gradient/grad_norm", "gradient/ess",
        "gradient/nonfinite_steps", "clusters/assignment_entropy", "clusters/cluster_size_entropy", "clusters/used_clusters",
        "scores/accuracy", "scores/nmi", "scores/ari",
    } <= tags  # fmt: skip
    for tag, column in (("bound/bound", "bound"), ("annealing/eps_x", "eps_x"), ("scores/accuracy", "accuracy")):
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
