import dataclasses

from PIL import Image

from nvisa_tf import NVISA
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.reproduce.figures import labels_of, save_samples


def test_runs_of_one_name_have_labels_of_their_own(tmp_path):
    runs = [RunDirectory(tmp_path / folder / "mnist-seed0") for folder in ("a", "b")] + [RunDirectory(tmp_path / "other")]
    assert labels_of(runs) == {"mnist-seed0": runs[0], "mnist-seed0 (2)": runs[1], "other": runs[2]}


def test_samples_of_several_models_have_a_panel_each(tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, input_shape=(3, 2))
    widths = []
    for number in (1, 2, 5):
        path = tmp_path / f"{number}.png"
        save_samples(path, {f"model {seed}": NVISA(config, seed=seed) for seed in range(number)}, columns=4)
        widths.append(Image.open(path).size)
    assert widths[1][0] == 2 * widths[0][0]
    assert widths[2] == (4 * widths[0][0], 2 * widths[0][1])
