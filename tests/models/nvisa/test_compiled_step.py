"""What XLA makes of a whole step: no product twice, and what has M B d values is written once a product and once for the density."""

import re

import pytest
import tensorflow as tf

from nvisa_tf import NVISA, NVISAConfig
from nvisa_tf.layers.optimizer import FusedAdam

M, B, D = 15, 16, 52
INSTRUCTION = re.compile(r"\s+(?:ROOT )?%(\S+) = \S*?\[([\d,]*)\]\S* ([\w-]+)\((.*)")


@pytest.mark.parametrize(("scale", "products"), [("network", 2), pytest.param("per_dimension", 1, marks=pytest.mark.slow)])
def test_no_product_twice_and_no_large_array_more_often_than_it_must(scale, products):
    model = NVISA(NVISAConfig(input_shape=(D,), decoder_scale=scale, encoder_units=(24, 20), decoder_units=(28, 36), posterior_units=44))
    model.compile(FusedAdam(global_clipnorm=1.0), n_samples=M, decoder_gradient="resampled")
    step = tf.function(lambda x: model.train_step(x)["bound"], jit_compile=True)
    text = step.experimental_get_compiler_ir(tf.zeros([B, D], tf.uint8))(stage="optimized_hlo")
    found, computation = [], ""
    for line in text.splitlines():
        if line and not line[0].isspace():
            computation = line
        elif match := INSTRUCTION.match(line):
            found.append((computation, *match.groups()))
    dots = [rest.split("), ")[0] for _, _, _, operation, rest in found if operation == "dot"]
    assert len(dots) == len(set(dots)) >= 20
    decoder_rows = [shape for _, _, shape, operation, _ in found if operation == "dot" and shape.startswith(f"{M * B},")]
    assert sorted(decoder_rows) == sorted([f"{M * B},28", f"{M * B},36", *[f"{M * B},{D}"] * products])  # forward only, once
    # Inside a fusion an array is not written; parameters and the like are not either.
    written = [
        name
        for computation, name, shape, operation, _ in found
        if shape in (f"{M},{B},{D}", f"{M * B},{D}")
        and "fused_computation" not in computation
        and operation not in ("parameter", "bitcast", "get-tuple-element")
    ]
    assert len(written) <= products + 1
