import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf import NVISA, Dataset, NVISAConfig, RunConfig
from nvisa_tf.data import Splits
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.layers import precision
from nvisa_tf.layers.precision import decided, flags_of, is_bfloat16_fast, multiplies_bfloat16
from nvisa_tf.runs.jobs import Job, outcome
from nvisa_tf.runs.workflows import resume_run, start_run

XEON = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\nflags\t\t: fpu avx2 avx512f avx512_bf16 amx_bf16 amx_tile\nbugs\t\t: none\n"
ZEN_3 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx avx2 fma\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"
OPTIONS = {"encoder_units": (8,), "posterior_units": 8, "decoder_units": (8,), "n_samples": 3, "eval_samples": 2, "epochs": 1}


def test_the_flags_are_those_that_all_processors_have():
    assert flags_of(XEON) == {"fpu", "avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile"}
    assert flags_of(XEON + "\n" + ZEN_3) == {"fpu", "avx2"}
    assert flags_of(ARM) == flags_of("") == set()


@pytest.mark.parametrize(
    ("flags", "gpus", "expected"),
    [
        ({"avx2", "amx_bf16", "avx512_bf16"}, [], True),
        ({"avx2", "avx512_bf16"}, [], True),  # Zen 4
        ({"amx_bf16"}, [], True),
        ({"avx2", "avx512f", "avx512_vnni"}, [], False),
        ({"avx2"}, [], False),
        (set(), [], False),
        ({"avx2"}, [(9, 0)], True),
        ({"avx2"}, [(8, 0), (8, 9)], True),
        ({"amx_bf16"}, [(7, 5)], False),  # Turing's tensor cores take float16 alone, and the processor is idle
        ({"amx_bf16"}, [(8, 0), (6, 1)], False),
        ({"amx_bf16"}, [None], False),  # AMD
    ],
)
def test_bfloat16_is_fast_where_what_computes_has_instructions_for_it(flags, gpus, expected):
    assert is_bfloat16_fast(flags, gpus) is expected


def test_auto_alone_is_decided_and_bfloat16_is_for_passes_without_gradient():
    found = {
        (chosen, gradient, is_fast): decided({"forward_precision": chosen, "decoder_gradient": gradient}, is_fast).get("forward_precision")
        for chosen in ("auto", "float32", "bfloat16")
        for gradient in ("all", "resampled")
        for is_fast in (False, True)
    }
    assert {key: value for key, value in found.items() if value} == {
        ("auto", "all", False): "float32",
        ("auto", "all", True): "float32",
        ("auto", "resampled", False): "float32",
        ("auto", "resampled", True): "bfloat16",
    }
    assert decided({"n_clusters": 10}, True) == {}  # a method without the option


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Makes this machine one with a text of /proc/cpuinfo, without GPUs; gives what it then answers."""

    def become(text):
        info = tmp_path / "cpuinfo"
        info.unlink(missing_ok=True)
        if text is not None:
            info.write_text(text)
        monkeypatch.setattr(precision, "CPU_INFO", info)
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
        multiplies_bfloat16.cache_clear()
        monkeypatch.setattr(precision, "multiplies_bfloat16", multiplies_bfloat16)
        return multiplies_bfloat16()

    yield become
    multiplies_bfloat16.cache_clear()


def test_this_machine_is_looked_at(machine, monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    assert machine(XEON)
    assert not machine(ZEN_3)
    assert not machine(None)  # no Linux
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")  # whose kernels they are
    assert not machine(XEON)


def test_a_model_is_compiled_for_the_machine_and_goes_on_alike_on_another(machine, tmp_path):
    assert machine(XEON)
    model = NVISA(NVISAConfig(input_shape=(4,), encoder_units=(8,), posterior_units=8, decoder_units=(8,)))
    model.compile(n_samples=3, decoder_gradient="resampled")
    assert model.gradient_step.options.forward_precision == "bfloat16"
    kept = model.get_compile_config()
    assert not machine(ZEN_3)
    model.compile_from_config(kept)
    assert model.gradient_step.options.forward_precision == "bfloat16"
    model.compile(n_samples=3, decoder_gradient="resampled")
    assert model.gradient_step.options.forward_precision == "float32"


def test_a_run_keeps_what_it_began_with(machine, tmp_path, rng):
    x = rng.normal(size=(40, 4)).astype(np.float32)
    splits = Splits(Dataset("x", x), Dataset("x", x), "")
    config = RunConfig().replace({**OPTIONS, "decoder_gradient": "resampled", "n_clusters": 3})
    assert config.model.forward_precision == "auto"
    assert machine(XEON)
    trainer = start_run(config, splits, str(tmp_path / "run"))
    trainer.train()
    run = RunDirectory.open(tmp_path / "run")
    assert run.config().model.forward_precision == "bfloat16"
    assert not machine(ZEN_3)
    again = resume_run(run, run.config().replace({"epochs": 2}), splits)
    assert again.model.gradient_step.options.forward_precision == "bfloat16"
    # A list of runs goes on with those that began on another machine, and with no other arithmetic than it was asked for.
    asked = run.config().replace({"forward_precision": "auto"})
    assert outcome(Job("a", 0, asked, run.path)).status == "started"
    assert outcome(Job("a", 0, run.config(), run.path)).status == "started"
    with pytest.raises(ValueError, match="holds a run with other options"):
        outcome(Job("a", 0, asked.replace({"forward_precision": "float32"}), run.path))
