import numpy as np
import pytest
from PIL import Image

from nvisa_tf import NVISA, NVISAConfig
from nvisa_tf.evaluation.plots import reconstruction_grid, sample_grid, save_confusion, save_curves, save_png


def model_for(shape):
    return NVISA(NVISAConfig(input_shape=shape, n_clusters=3, latent_dim=2, encoder_units=(8,), posterior_units=8, decoder_units=(8,)))


@pytest.mark.parametrize(
    ("shape", "channels"), [((8, 8), 1), ((28, 28), 1), ((10, 10, 3), 3), ((10, 10, 2), 1), ((10, 10, 5), 3), ((20,), 1)]
)
def test_grid_is_a_row_a_cluster(shape, channels, tmp_path):
    model = model_for(shape)
    grid = sample_grid(model, columns=4)
    assert grid.dtype == np.uint8
    assert grid.shape[-1] == channels
    assert grid.shape[0] % 3 == 0
    assert grid.shape[1] % 4 == 0
    save_png(tmp_path / "g.png", grid)
    assert Image.open(tmp_path / "g.png").size == (grid.shape[1], grid.shape[0])
    assert [path.name for path in tmp_path.iterdir()] == ["g.png"]


def test_binarised_models_are_drawn_in_grey():
    config = {"n_clusters": 3, "latent_dim": 2, "encoder_units": (8,), "posterior_units": 8, "decoder_units": (8,)}
    model = NVISA(NVISAConfig(input_shape=(8, 8), likelihood="bernoulli", binarize=True, **config))
    model.set_preprocessing(1 / 16)
    assert len(np.unique(sample_grid(model, columns=4))) > 10


def test_tiles_hold_their_clusters_samples():
    model = model_for((28, 28))
    model.prior.raw_scale.assign(np.full((3, 2), -100.0))
    bias = np.zeros(784, np.float32)
    bias[:392] = 1  # upper half white
    model.decoder.loc.kernel.assign(np.zeros((8, 784)))
    model.decoder.loc.bias.assign(bias)
    tile = sample_grid(model, columns=2)[:30, :30, 0]
    assert (tile[1:15, 1:29] == 255).all()
    assert (tile[15:29, 1:29] == 0).all()
    assert (tile[0] == 64).all()


def test_reconstructions_show_inputs_above():
    model = model_for((28, 28))
    x = np.zeros((5, 28, 28), np.float32)
    x[:, :, 14:] = 1
    grid = reconstruction_grid(model, x)
    assert grid.shape == (60, 150, 1)
    assert (grid[1:29, 15:29] == 255).all()


def test_files_are_pictures(tmp_path):
    rows = [{"epoch": i, "bound": i, "held_out_iw_bound": i, "accuracy": 0.1 * i, "eps_x": 0.5**i} for i in range(4)]
    save_curves(tmp_path / "a.png", rows)
    save_confusion(tmp_path / "b.png", np.array([[5, 0, 1], [0, 7, 0]]))
    for name in ("a.png", "b.png"):
        assert min(Image.open(tmp_path / name).size) > 100
