import base64
import io

import numpy as np
from PIL import Image

from nvisa_tf import Dataset
from nvisa_tf.data import Splits
from nvisa_tf.evaluation.examples import Examples
from nvisa_tf.evaluation.thumbnails import Range
from nvisa_tf.report.gallery import Counts, chosen, sheet_of


def test_who_is_shown(make_answers):
    data = Dataset("mine", np.zeros((8, 2)))
    found = make_answers(Splits(data, data, ""), np.array([0, 0, 0, 0, 0, 0, 1, 1]))
    found = found._replace(
        typicality=np.array([0.9, 0.1, 0.5, 0.95, 0.2, 0.3, 1, 1], np.float32),
        probability=np.array([0.5, 0.6, 0.99, 0.99, 0.94, 0.97, 1, 1], np.float32),
        error=np.array([9, 1, 1, 1, 1, 5, 1, 1], np.float32),
    )
    shown = chosen(found, 0, Counts(2, 2, 2))
    assert shown["typical"].tolist() == [3, 0]  # the most typical first, however uncertain
    assert shown["uncertain"].tolist() == [1, 4]  # the least certain first, of those below 95%
    assert shown["odd"].tolist() == [5]  # more than twice the median, and not shown before
    assert [len(group) for group in chosen(found, 1, Counts(5, 5, 5)).values()] == [2, 0, 0]
    assert not len(chosen(found._replace(error=None), 0, Counts(1, 1, 1))["odd"])


def test_the_sheet_has_the_right_picture_in_each_cell():
    n = 9_000  # too many for one sheet
    x = (np.arange(n)[:, None, None] * np.ones((1, 30, 30)) % 190).astype(np.uint8)
    x += np.random.default_rng(0).integers(0, 60, x.shape).astype(np.uint8)
    examples = Examples([("all", Dataset("mine", x, max_value=255.0))])
    uri, about = sheet_of(examples, np.arange(0, n, 2), Range(0, 255))
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))), float)
    side, columns, cells = about["side"], about["columns"], about["cells"]
    assert len(uri) < 1.2e6
    assert 1000 < len(cells) < 4500
    assert cells[0] == 0
    assert cells[-1] == 4499
    for cell in (0, 1, 77, len(cells) - 1):
        top, left = cell // columns * side, cell % columns * side
        assert abs(sheet[top : top + side, left : left + side].mean() - x[2 * cells[cell]].mean()) < 4
