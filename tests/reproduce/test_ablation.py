import pytest

from nvisa_tf.config.objectives import OBJECTIVES
from nvisa_tf.reproduce.ablation import ABLATION, choose, run_config


def test_the_table_is_the_papers():
    papers = {name: row.paper for name, row in ABLATION.items() if row.paper}
    assert papers == {
        "enum_y_bernoulli": "95.12", "enum_y": "78.43", "enum_y_annealed": "93.81", "nvil": "N/A", "nvil_annealed": "N/A", "vimco": "N/A",
        "vimco_bernoulli": "95.74", "vimco_1000": "71.42", "vimco_1000_annealed": "91.3", "vimco_mean_field_annealed": "95.25",
        "vimco_annealed": "98.40",
    }  # fmt: skip
    assert {row.options.get("objective", "vimco") for row in ABLATION.values()} == set(OBJECTIVES)


@pytest.mark.parametrize("chosen_preset", ["paper", "random_fast", "random_small"])
@pytest.mark.parametrize("name", ABLATION)
def test_every_row_is_a_valid_run_and_annealed_as_it_says(name, chosen_preset):
    row = ABLATION[name]
    config = run_config(row, chosen_preset, 3, None, {"dataset": "mnist"})
    assert config.train.seed == 3
    assert (config.model.anneal == "both") == ("*" in row.configuration)
    assert (config.model.likelihood == "bernoulli") == ("Bernoulli" in row.configuration)
    assert (config.model.posterior == "mean_field") == ("mean-field" in row.configuration)
    assert config.model.objective.split("_")[0] == row.method.split("-")[0].lower().replace("enumy", "enum")


def test_schedules_scale_with_the_epochs():
    config = run_config(ABLATION["vimco_annealed"], "paper", 0, 140, {})
    assert (config.train.epochs, config.model.eps_halving_epochs, config.model.lr_halving_epochs) == (140, 10, 30)
    with pytest.raises(ValueError, match="epochs is 0; the rows of a table need 1 or more"):
        run_config(ABLATION["vimco"], "random_fast", 0, 0, {})
    assert [run_config(ABLATION["vimco"], "random_fast", 0, n, {}).train.eval_epochs for n in (10, 60, 180)] == [1, 3, 5]


def test_choose():
    assert list(choose(("vimco", "enum_y"))) == ["enum_y", "vimco"]
    assert choose(()) == ABLATION
    with pytest.raises(ValueError, match="did you mean vimco"):
        choose(("vimoc",))
