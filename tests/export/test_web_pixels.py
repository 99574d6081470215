"""What the page does to an image's pixels, in Node.js, against what Python does."""

import json
import shutil
import subprocess
from importlib import resources

import numpy as np
import pytest
from PIL import Image

from nvisa_tf.io.images import resized

PAGE = resources.files("nvisa_tf.export").joinpath("web", "pixels.js")
pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")


def in_node(code, *arguments):
    """What an expression of JavaScript gives, with the page's functions as `pixels` and the arguments as `given`."""
    program = f"import('{PAGE}').then(pixels => {{ const given = {json.dumps(arguments)}; console.log(JSON.stringify({code})); }})"
    found = subprocess.run(["node", "--input-type=module", "-e", program], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


SIZES = [(20, 50), (50, 20), (31, 33), (7, 300), (300, 7), (12, 16), (6, 8), (3, 4), (2, 9)]


@pytest.mark.parametrize("shape", [(12, 16, 3), (11, 13, 3), (11, 13), (8, 8, 1)])
def test_a_border_continues_the_edges_as_in_python(rng, shape):
    """Of colours that a canvas holds where the image is, with white around it."""
    about = {"shape": shape, "dtype": "uint8", "range": [0, 255], "resize": "pad"}
    mode = "RGB" if shape[2:] == (3,) else "L"
    places = in_node("given[1].map(([w, h]) => pixels.placed(w, h, given[0]))", about, [(wide, high) for high, wide in SIZES])
    canvases, expected = [], []
    for (high, wide), (left, top, w, h) in zip(SIZES, places, strict=True):
        picture = rng.integers(0, 256, (h, w, 3)).astype(np.uint8)
        rgba = np.full((*shape[:2], 4), 255, int)
        rgba[top : top + h, left : left + w, :3] = picture
        canvases.append(rgba.ravel().tolist())
        expected.append(resized(Image.fromarray(picture).convert(mode), *shape[:2], "pad").ravel().tolist())
        # And the place itself is Python's.
        source = Image.fromarray(np.arange(high * wide, dtype=np.uint32).reshape(high, wide).astype(np.uint8))
        inner = np.asarray(source.resize((w, h), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(resized(source, *shape[:2], "pad")[top : top + h, left : left + w], inner)
    code = """given[1].map((canvas, i) => {
      const rgba = Uint8ClampedArray.from(canvas);
      pixels.fillBorder(rgba, given[0], given[2][i]);
      return Array.from(pixels.toValues(rgba, given[0]));
    })"""
    assert in_node(code, about, canvases, places) == expected


def test_crop_and_stretch_are_placed_as_in_python():
    about = {"shape": [12, 16], "resize": "stretch"}
    assert in_node("pixels.placed(50, 20, given[0])", about) == [0, 0, 16, 12]
    about["resize"] = "crop"
    left, top, wide, high = in_node("pixels.placed(50, 20, given[0])", about)
    assert (top, high) == (0, 12)
    assert wide == pytest.approx(30)
    assert left == pytest.approx(-7)
    about["resize"] = None  # trained on an array
    assert in_node("pixels.placed(50, 20, given[0])", about) == [0, 3, 16, 6]
