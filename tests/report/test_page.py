"""The page's text: what it says, that nothing in it acts, and that it can be written again with other names."""

import html.parser
import json
import re

import numpy as np
import pytest

from nvisa_tf import Dataset
from nvisa_tf.data import Origin, Splits
from nvisa_tf.report import rename_report, write_report
from nvisa_tf.report.page import read

REPORT = {"minutes": 1.5, "epoch": 12, "warnings": ["Cluster 2 has 1 of 60 examples; try fewer clusters."]}


class Elements(html.parser.HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.data, self._skip = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._skip = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._skip = False

    def handle_data(self, data):
        (self.data if self._skip else self.text).append(data)

    def of(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture
def photo_page(photos, make_run, make_answers):
    splits, cluster = photos
    run, config = make_run(splits, 3)
    names = ["cluster 0", "<b>boots</b>", "dark tops"]
    path = write_report(run, config, splits, make_answers(splits, cluster), REPORT, names)
    return run, path, Elements(path.read_text())


def test_no_text_of_the_user_acts(photo_page):
    _, path, page = photo_page
    assert not [tag for tag, attributes in page.tags if any(name.startswith("on") or name == "style" for name in attributes)]
    assert all(image["src"].startswith("data:image/") for image in page.of("img"))
    assert len(page.of("script")) == 3  # names, content, and ours
    _, names, content, _ = page.data
    assert json.loads(names) == ["cluster 0", "<b>boots</b>", "dark tops"]
    assert json.loads(content) == read(path)[0]
    assert not page.of("b") or all(not text.startswith("boots") for text in page.text)
    assert any('"><img src=x onerror="window.hacked=1">&amp;.png' in text for text in page.text)
    assert any("<b>boots</b>" in text for text in page.text)
    policy = next(attributes["content"] for attributes in page.of("meta") if attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.findall(r'(?:src|href)="(?!data:|#)', path.read_text())


def test_every_picture_is_there_once_with_its_name(photo_page, photos):
    _, path, page = photo_page
    pictures = [image for image in page.of("img") if "id" not in image]
    assert len({image["src"] for image in page.of("img")}) == len(page.of("img")) == len(pictures) + 1
    names = set(photos[0].train.names)
    assert {image["alt"] for image in pictures} <= names
    assert len({image["alt"] for image in pictures}) == len(pictures) > 30
    content, read_back = read(path)
    assert len(read_back) == len(pictures) + 1
    assert not any(uri in json.dumps(content) for uri in read_back[:2])


def test_the_page_says_what_is_so(photo_page):
    text = " ".join(photo_page[2].text)
    assert "40 images in 3 clusters, found without labels by the method nvisa." in text
    assert "Cluster 2 has 1 of 60 examples" in text
    assert "All 40 images, placed by t-SNE of the 5-dimensional embeddings." in text
    assert "1 file could not be read and is in no cluster." in text
    assert "nvisa-tf train" in text
    assert "Training has not ended" not in text


def test_other_names_need_neither_data_nor_model(photo_page, make_run):
    run, path, _ = photo_page
    before = path.read_text()
    assert rename_report(run, ["cluster 0", "shoes", "tops"]) == path
    after = path.read_text()
    assert "dark tops" not in after
    assert "<b>boots" not in after.replace("\\u003c", "<")
    assert {"shoes", "tops"} <= set(Elements(after).text)
    assert rename_report(run, ["cluster 0", "<b>boots</b>", "dark tops"]) == path
    assert path.read_text() == before


def test_a_page_of_another_kind_is_refused_and_kept(photo_page):
    run, path, _ = photo_page
    for text in ("mine", path.read_text().replace('"format":1', '"format":2'), path.read_text()[:-20_000]):
        path.write_text(text)
        with pytest.raises(
            ValueError, match=r"html cannot be read as a report of this version; write it again with nvisa-tf report .*run\.$"
        ):
            rename_report(run, ["a", "b", "c"])
        assert path.read_text() == text
    path.unlink()
    assert rename_report(run, ["a", "b", "c"]) is None


def test_a_table_is_described_by_its_columns(table, make_run, make_answers):
    splits, cluster = table
    run, config = make_run(splits, 3)
    path = write_report(run, config, splits, make_answers(splits, cluster), REPORT, [f"cluster {k}" for k in range(3)])
    page = Elements(path.read_text())
    assert not page.of("img")
    content, _ = read(path)
    x = splits.train.x
    for k, described in enumerate(content["clusters"]):
        first = described["features"][0]
        j = splits.train.origin.feature_names.index(first["name"])
        difference = (x[cluster == k, j].mean() - x[:, j].mean()) / x[:, j].std()
        assert first["difference"] == pytest.approx(difference)
        differences = np.abs((x[cluster == k][:, :3].mean(0) - x[:, :3].mean(0)) / x[:, :3].std(0))
        assert abs(difference) == pytest.approx(differences.max())
        assert "constant" not in [feature["name"] for feature in described["features"]]
    red = next(feature for feature in content["clusters"][1]["features"] if feature["name"] == "colour=red")
    assert (red["mean"], red["whole"], red["sd"]) == ("100%", "33%", "")
    weight = next(feature for feature in content["clusters"][2]["features"] if feature["name"] == "weight in kg")
    assert float(weight["mean"]) == pytest.approx(x[40:, 0].mean(), abs=0.05)
    assert content["map"]["values"]["names"][0] in ("weight in kg", "colour=red")
    assert content["scores"] is None
    text = " ".join(page.text)
    assert "Most typical (person)" in text
    assert "weight in kg" in text
    assert "Means of all 4 columns" in text
    assert "the columns whose mean differs the most" in text


def test_vectors_without_names_have_numbers(make_run, make_answers):
    rng = np.random.default_rng(0)
    cluster = np.arange(30) % 2
    data = Dataset("mine.npy", rng.normal(4 * cluster[:, None], 1, (30, 3)))
    splits = Splits(data, data, "all")
    run, config = make_run(splits, 2)
    path = write_report(run, config, splits, make_answers(splits, cluster), {}, ["cluster 0", "cluster 1"])
    assert {feature["name"] for feature in read(path)[0]["clusters"][0]["features"]} == {"value 0", "value 1", "value 2"}
    assert "Training has not ended; these are the clusters of its newest checkpoint." in path.read_text()


def test_scores_are_of_what_was_held_out(make_run, make_answers):
    y = np.arange(60) % 3
    x = np.random.default_rng(0).normal(0, 1, (60, 4, 4)).astype(np.float32)
    whole = Dataset("mine.npz", x, y, origin=Origin(class_names=("ape", "bee", "cow")))
    test = np.arange(60) % 4 == 0
    splits = Splits(whole.take(~test), whole.take(test), "trained on 45 examples, scored on 15 held out")
    cluster = np.where(test, (y + 1) % 3, 0)  # right for those that are held out, in the order of the file
    found = make_answers(Splits(whole, whole, ""), cluster)._replace(split=np.where(test, "test", "train"))
    run, config = make_run(splits, 3)
    path = write_report(run, config, splits, found, REPORT, ["a", "b", "c"])
    scores = read(path)[0]["scores"]
    assert (scores["of"], scores["held_out"], scores["accuracy"]) == (15, True, 1.0)
    assert scores["measures"] == []  # a report of before has not all of them
    table = scores["confusion"]
    assert table["classes"] == ["ape", "bee", "cow"]
    assert table["clusters"] == [1, 2, 0]
    np.testing.assert_array_equal(table["counts"], 5 * np.eye(3))
    measured = {"accuracy": 1.0, "nmi": 1.0, "ari": 1.0, "majority_accuracy": 0.875, "exemplar_accuracy": 0.25}
    report = {**REPORT, **measured, "training_data": {name: value / 2 for name, value in measured.items()}}
    path = write_report(run, config, splits, found, report, ["a", "b", "c"])
    content, page = read(path)[0], path.read_text()
    assert content["scores"]["measures"][3] == ["majority_accuracy", 0.875, 0.4375]
    assert '<th scope="row">majority accuracy</th><td>87.5%</td><td>43.8%</td>' in page
    assert '<th scope="col">held out</th><th scope="col">training data</th>' in page
    with pytest.raises(ValueError, match="not of these examples in the order of their file"):
        write_report(run, config, splits, found._replace(names=found.names[::-1]), REPORT, ["a", "b", "c"])


def test_thousands_of_photos_in_a_few_megabytes(make_run, make_answers):
    n, rng = 5_200, np.random.default_rng(0)
    coarse = rng.integers(0, 256, (130, 8, 8, 3)).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    x = np.concatenate([np.roll(coarse, i, axis=1) for i in range(40)])
    ids = np.array([f"holiday 2026/IMG_{i:06}.jpeg" for i in range(n)])
    data = Dataset("photos", x, None, 255.0, ids, origin=Origin("folder", "file"))
    splits = Splits(data, data, "all")
    run, config = make_run(splits, 30)
    path = write_report(run, config, splits, make_answers(splits, np.arange(n) % 30), REPORT, [f"cluster {k}" for k in range(30)])
    assert 1e6 < path.stat().st_size < 3e6
    text = path.read_text()
    assert "All 5,200 images, placed by the first two principal components (PCA)" in text
    assert re.search(r"[\d,]+ of them have a thumbnail", text)


@pytest.mark.parametrize(
    ("shape", "n", "n_clusters"),
    [((4,), 2, 1), ((6, 6), 3, 2), ((2, 6, 6, 3), 30, 3), ((5, 200, 1), 40, 90), ((3,), 120, 100), ((64, 48, 3), 300, 64)],
)
def test_other_sizes_and_shapes(shape, n, n_clusters, make_run, make_answers):
    x = np.random.default_rng(0).normal(0, 1, (n, *shape)).astype(np.float32)
    data = Dataset("mine", x, np.arange(n) % 70 - 3)
    splits = Splits(data, data, "all")
    cluster = np.minimum(np.arange(n), n_clusters - 1)
    found = make_answers(splits, cluster)._replace(error=None)
    run, config = make_run(splits, n_clusters)
    names = [f"cluster {k}" for k in range(n_clusters)]
    path = write_report(run, config, splits, found, REPORT, names)
    page, (content, pictures) = Elements(path.read_text()), read(path)
    assert content["sizes"] == np.bincount(cluster, minlength=n_clusters).tolist()
    assert len(page.of("article")) == min(80, (np.array(content["sizes"]) > 0).sum())
    assert bool(pictures) == (len(shape) in (2, 3))
    assert rename_report(run, names) == path
    assert read(path) == (content, pictures)
