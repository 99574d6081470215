"""What holds for the package as a whole: laziness, layering, documentation."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import nvisa_tf

ROOT = Path(nvisa_tf.__file__).parent
LAYERS = [
    {"methods", "options", "files", "images", "draws", "balanced", "mixtures"}, {"config"}, {"presets"},
    {"data", "annealing", "augmentation", "objectives", "run_directory"},
    {"networks", "distributions", "particles", "optimizer", "steps"},
    {"inference", "learning"}, {"model"},
    {"jobs"},
    {"evaluation"}, {"training"}, {"workflows"}, {"reproduce", "restarts", "estimator"},
]  # fmt: skip
HEAVY = ("tensorflow", "tensorflow_probability", "keras", "sklearn", "matplotlib", "tensorflow_datasets")


def loaded_after(code):
    program = f"import sys\n{code}\nprint(' '.join(sorted(set(name.split('.')[0] for name in sys.modules))), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    return set(done.stderr.splitlines()[-1].split()), done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import nvisa_tf; nvisa_tf.ModelConfig(); nvisa_tf.RunDirectory; nvisa_tf.Dataset",
        "from nvisa_tf.cli import main\ntry: main._parse(['nvisa-tf', '--help'])\nexcept SystemExit: pass",
        "from nvisa_tf.cli import main\ntry: main._parse(['nvisa-tf', 'train', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_light_things_load_no_heavy_package(code):
    modules, _ = loaded_after(code)
    assert not modules & set(HEAVY)


def test_help_has_every_option_with_its_default():
    _, out = loaded_after("from nvisa_tf.cli import main\ntry: main._parse(['nvisa-tf', 'train', '--help'])\nexcept SystemExit: pass")
    from nvisa_tf.config import SECTION_OF

    for name in set(SECTION_OF) - {"input_shape"}:
        assert f"--{name.replace('_', '-')}" in out
    assert out.count("(default") >= len(SECTION_OF) - 1


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("nvisa_tf."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "nvisa_tf":
            yield from (alias.name for alias in node.names)


def test_a_lower_room_never_imports_a_higher_one():
    height = {name: i for i, names in enumerate(LAYERS) for name in names}
    checked = 0
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__", "cli", "export"):
            continue
        for other in imports_of(path):
            checked += 1
            assert height[other] <= height[room], f"{path.name} imports {other}"
    assert checked > 20


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
