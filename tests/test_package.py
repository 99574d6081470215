"""What holds for the package as a whole: laziness, options, documentation."""

import collections
import dataclasses
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import pytest

import nvisa_tf
import nvisa_tf.config
from nvisa_tf.cli.options import COMMON
from nvisa_tf.config.datasets import DATASETS
from nvisa_tf.config.methods import METHODS
from nvisa_tf.config.run import section_of, sections
from nvisa_tf.reproduce.table1 import OF_PAPER, PAPER

HEAVY = ("tensorflow", "tensorflow_probability", "keras", "sklearn", "matplotlib", "tensorflow_datasets")


def loaded_after(code):
    program = f"import sys\n{code}\nprint(' '.join(sorted(set(name.split('.')[0] for name in sys.modules))), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    return set(done.stderr.splitlines()[-1].split()), done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import nvisa_tf; nvisa_tf.NVISAConfig(); nvisa_tf.RunDirectory; nvisa_tf.Dataset",
        "from nvisa_tf.cli import main\ntry: main._parse(['nvisa-tf', '--help'])\nexcept SystemExit: pass",
        "from nvisa_tf.cli import main\ntry: main._parse(['nvisa-tf', 'train', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_light_things_load_no_heavy_package(code):
    modules, _ = loaded_after(code)
    assert not modules & set(HEAVY)


def help_of(method, flag):
    code = "from nvisa_tf.cli import main\ntry: main._parse(['nvisa-tf', 'train', '--method', '{}', '{}'])\nexcept SystemExit: pass"
    _, out = loaded_after(code.format(method, flag))
    # What an option's line says, by the option.
    return {words.split()[0].rstrip(","): " ".join(words.split()) for words in re.split(r"\n(?=  -)", out)[1:]}


def flags_of(names):
    return {f"--{name.replace('_', '-')}" for name in names} - {"--input-shape"}


@pytest.mark.parametrize("method", METHODS)
def test_help_has_every_option_with_its_default(method):
    where = section_of(method)
    everything, shown = help_of(method, "--help-all"), help_of(method, "--help")
    own = {name for name, section in where.items() if section == "model"}
    others = {name for other in METHODS for name in section_of(other)} - set(where)
    for found, expected, left_out in (
        (everything, flags_of(where), flags_of(others)),
        (shown, flags_of(own | COMMON), flags_of((set(where) - own - COMMON) | others)),
    ):
        assert expected <= set(found)
        assert not left_out & set(found)
        for flag in expected:
            assert "(default" in found[flag], flag


@pytest.mark.parametrize("method", METHODS)
def test_no_option_is_in_two_tables(method):
    names = [field.name for cls in sections(method).values() for field in dataclasses.fields(cls)]
    assert len(names) == len(set(names)) == len(section_of(method))


def test_no_option_is_declared_twice():
    homes = collections.defaultdict(set)
    for module in pkgutil.iter_modules(nvisa_tf.config.__path__, "nvisa_tf.config."):
        for cls in vars(importlib.import_module(module.name)).values():
            if dataclasses.is_dataclass(cls) and cls.__module__.startswith("nvisa_tf.config."):
                for name in vars(cls).get("__annotations__", {}):
                    homes[name].add(cls.__qualname__)
    assert len(homes) > 50
    assert {name: classes for name, classes in homes.items() if len(classes) > 1} == {}


def test_every_row_of_the_papers_table_is_of_a_data_set_known_by_name():
    assert set(OF_PAPER) <= set(DATASETS)
    assert all(set(row.figures) == set(OF_PAPER) for row in PAPER.values())


def test_every_public_name_is_documented():
    assert sorted(nvisa_tf.__all__) == sorted({*nvisa_tf.__all__})
    for name in nvisa_tf.__all__:
        thing = getattr(nvisa_tf, name)
        assert thing.__doc__, name
        assert not thing.__doc__.startswith(f"{name}("), f"{name} has only a generated docstring"
        if inspect.isclass(thing) and thing.__module__.startswith("nvisa_tf"):
            for attribute, value in vars(thing).items():
                if inspect.isfunction(value) and not attribute.startswith("_"):
                    assert value.__doc__, f"{name}.{attribute}"


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        nvisa_tf.nonsense  # noqa: B018
