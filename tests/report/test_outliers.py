"""What the page says of examples that are unlike all others, and of clusters that are near each other."""

import re

import numpy as np

from nvisa_tf import Dataset
from nvisa_tf.evaluation.detector import OutlierDetector
from nvisa_tf.report.content import content_of
from nvisa_tf.report.page import render


def page_of(splits, cluster, novelty, make_run, make_answers):
    run, config = make_run(splits, 3)
    found = make_answers(splits, cluster)._replace(novelty=novelty)
    content, pictures = content_of(run, config, splits, found, {"minutes": 1}, 3)
    return content, render({"format": 1, **content}, pictures, ["a", "b", "<c>"])


def test_the_most_unlike_photos_are_shown(photos, make_run, make_answers):
    splits, cluster = photos
    novelty = np.arange(40).astype(np.float32) / 33.5  # of which the last six are above 1
    content, page = page_of(splits, cluster, novelty, make_run, make_answers)
    assert "6 images of 40 (15%) are unlike the training data, at limits that take 1% of images like" in page
    shown = content["outliers"]["shown"]
    assert [example["place"] for example in shown] == [39, 38, 37, 36, 35, 34]
    section = page[page.index('<section id="outliers"') :]
    section = section[: section.index("</section>")]
    assert re.findall(r'data-picture="(\d+)"', section) == [str(example["picture"]) for example in shown]
    assert "most unlike are shown" not in section


def test_of_many_the_farthest_are_shown(photos, make_run, make_answers):
    splits, cluster = photos
    content, page = page_of(splits, cluster, np.full(40, 2.0, np.float32), make_run, make_answers)
    assert len(content["outliers"]["shown"]) == 24
    assert "The 24 most unlike are shown." in page


def test_rows_are_named_with_their_distance(table, make_run, make_answers):
    splits, cluster = table
    novelty = np.zeros(60, np.float32)
    novelty[41] = 3.5
    _, page = page_of(splits, cluster, novelty, make_run, make_answers)
    assert "1 row of 60 (1.7%) is unlike the training data, at limits that take 1% of rows like the training data for outliers too." in page
    assert '<th scope="row">id41</th><td>3.5</td><td>&lt;c&gt;</td>' in page


def test_without_limits_there_is_no_section(table, make_run, make_answers):
    splits, cluster = table
    content, page = page_of(splits, cluster, None, make_run, make_answers)
    assert content["outliers"] is None
    assert 'id="outliers"' not in page
    assert 'id="hierarchy"' in page


def test_the_rate_that_is_shown_is_one_that_can_be_told():
    rng = np.random.default_rng(0)

    class Model:
        def scaled(self, x):
            return x

        def predict_clusters(self, x):
            return (x[:, 0] > 0).astype(int)

    data = Dataset("x", rng.normal(size=(300, 3)).astype(np.float32), None, None)
    few = data.take(slice(0, 60))
    assert OutlierDetector.of(Model(), few, few).shown_novelty(Model()) is None
    detector = OutlierDetector.of(Model(), data, data)
    np.testing.assert_array_equal(detector.shown_novelty(Model())(data), detector.novelty(Model(), data, 0.01))
