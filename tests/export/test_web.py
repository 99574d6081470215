"""The exported site in a real browser; where there is none, only the export itself."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from nvisa_tf import Dataset, RunConfig
from nvisa_tf.data import Splits
from nvisa_tf.export import web
from nvisa_tf.export.runtime import ClusterEncoder
from nvisa_tf.export.web import RUNTIME, export_site
from nvisa_tf.runs.workflows import finish_run, load_run, start_run


@pytest.fixture(scope="module")
def fake_litert(tmp_path_factory):
    """What an npm install holds, by its names alone."""
    folder = tmp_path_factory.mktemp("npm") / "@litertjs"
    for path in RUNTIME:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return folder


def test_a_site_is_whole_and_replaced_as_a_whole(bars_run, fake_litert, tmp_path):
    site = tmp_path / "site"
    for names in (None, {0: "left", 1: "middle", 2: "right"}):
        files = export_site(bars_run, site, label_names=names, litert=fake_litert)
        (site / "stale").touch()
    assert [file.path for file in files] == [site / "models" / "encoder.tflite", site / "models" / "generator.tflite"]
    export_site(bars_run, site, quantize="float16", litert=fake_litert)
    found = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    models = {f"models/{name}" for name in ("encoder-float16.tflite", "generator.tflite", "model.json", "labels.txt")}
    pages = {"index.html", "style.css", "app.js", "models.js", "pad.js", "pixels.js", "sw.js"}
    assert found == models | pages | {"litert/NOTICE", *(f"litert/{name}" for name in RUNTIME.values())}
    assert "@VERSION@" not in (site / "sw.js").read_text()
    about = json.loads((site / "models" / "model.json").read_text())
    assert str(bars_run.parent) not in json.dumps(about)
    assert about["files"][0]["signatures"]["cluster"]["inputs"]["image"]["shape"] == [1, 6, 6]
    x = np.load(bars_run.parent / "bars.npz")["x"]
    np.testing.assert_array_equal(
        ClusterEncoder(site / "models" / "encoder-float16.tflite").classify(x)[0], load_run(bars_run)[0].predict_clusters(x)
    )
    assert os.listdir(tmp_path) == ["site"]


def test_a_folder_of_something_else_is_left_alone(bars_run, fake_litert, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds something else"):
        export_site(bars_run, tmp_path, litert=fake_litert)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_what_is_missing_is_said(bars_run, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"has no core/dist/index\.js; give the folder node_modules/@litertjs"):
        export_site(bars_run, tmp_path / "site", litert=tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="npm, which fetches @litertjs/core, is not installed"):
        export_site(bars_run, tmp_path / "site")
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/false")
    with pytest.raises(RuntimeError, match="npm cannot fetch @litertjs/core"):
        export_site(bars_run, tmp_path / "site")
    with pytest.raises(ValueError, match="no int8 inputs"):
        export_site(bars_run, tmp_path / "site", quantize="int8-io")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("shape", [(6,), (6, 6, 2), (2, 6, 6, 3)])
def test_only_images_have_a_page(shape):
    with pytest.raises(ValueError, match="grey or colour images"):
        web._check_shape(shape)


def assert_values_of_pixels(browser):
    """Every grey, in several ranges, inverted or not, there and back."""
    for dtype, low, high in (("uint8", 0, 255), ("uint8", 0, 16), ("float32", 0, 16), ("float32", -1, 1)):
        for invert in (False, True):
            about = {"shape": [16, 16], "dtype": dtype, "range": [low, high]}
            values, rgba = browser.execute_async_script(
                """const [about, invert, done] = arguments;
                const greys = Array.from({length: 256}, (_, byte) => [byte, byte, byte, 255]).flat();
                import('./pixels.js').then(({toValues, toRgba}) => {
                  const values = toValues(greys, about, invert);
                  done([Array.from(values), Array.from(toRgba(values, about))]);
                });""",
                about,
                invert,
            )
            bytes_ = np.arange(256)[:: -1 if invert else 1]
            expected = np.interp(bytes_, [0, 255], [low, high])
            np.testing.assert_allclose(values, expected.round() if dtype == "uint8" else expected, atol=1e-6)
            if (dtype, high) != ("uint8", 16):  # 17 values do not hold 256 greys
                np.testing.assert_array_equal(np.reshape(rgba, (256, 4)), np.stack([bytes_] * 3 + [np.full(256, 255)], 1))


def test_a_model_without_samples_in_the_browser(bar_images, tmp_path, browser, served):
    """DEC's clusters, and no place for samples that it cannot draw."""
    from selenium.webdriver.support.wait import WebDriverWait

    data = Dataset("bars", *bar_images, 255.0)
    options = {"n_clusters": 3, "latent_dim": 2, "encoder_units": (16,), "decoder_units": (16,), "pretrain_epochs": 1, "epochs": 1}
    splits = Splits(data, data, "")
    np.savez(tmp_path / "bars.npz", x=data.x, y=data.y)  # what the export is verified on
    options.update(dataset=str(tmp_path / "bars.npz"), split="all")
    trainer = start_run(RunConfig.of("dec", options), splits, str(tmp_path / "run"))
    trainer.train()
    finish_run(trainer, trainer.config, splits)
    export_site(tmp_path / "run", tmp_path / "site")
    Image.fromarray(data.x[0]).save(tmp_path / "0.png")
    with served(tmp_path / "site") as url:
        browser.get(url)
        WebDriverWait(browser, 60).until(lambda _: not browser.find_element("id", "about").text.startswith("Loading"))
        assert browser.find_element("id", "about").text.startswith("3 clusters found without labels")
        assert not browser.find_element("id", "samples-section").is_displayed()
        browser.find_element("id", "files").send_keys(str(tmp_path / "0.png"))
        expected = ClusterEncoder(tmp_path / "site" / "models" / "encoder.tflite").classify(data.x[:1])[0][0]
        WebDriverWait(browser, 60).until(lambda _: browser.find_element("id", "answer").text == f"cluster {expected}")


def test_in_the_browser(bars_run, tmp_path, browser, served):
    """100 images as files, drawing by keyboard, samples, and no network once loaded."""
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    export_site(bars_run, tmp_path / "site")
    x = np.load(bars_run.parent / "bars.npz")["x"][::3]
    for i, values in enumerate(x):
        Image.fromarray(values).save(tmp_path / f"{i:03}.png")
    (tmp_path / "not.png").write_text("no image")
    expected = ClusterEncoder(tmp_path / "site" / "models" / "encoder.tflite").classify(x)[0]
    wait = WebDriverWait(browser, 60)

    def element(name):
        return browser.find_element("id", name)

    with served(tmp_path / "site") as url:
        browser.get(url)
        wait.until(lambda _: browser.find_elements("css selector", "body[data-offline]") or not element("about").text.startswith("Loading"))
        assert element("about").text.startswith("3 clusters found without labels")
        wait.until(lambda _: browser.find_elements("css selector", "body[data-offline]"))

        element("files").send_keys("\n".join(str(tmp_path / f"{i:03}.png") for i in range(len(x))) + f"\n{tmp_path / 'not.png'}")
        wait.until(lambda _: len(browser.find_elements("css selector", "#gallery button")) == len(x))
        found = [int(button.get_attribute("data-cluster")) for button in browser.find_elements("css selector", "#gallery button")]
        assert found == expected.tolist()
        assert element("answer").text == "Not an image that this browser reads: not.png."

        browser.find_elements("css selector", "#gallery button")[50].click()
        wait.until(lambda _: element("answer").text == f"cluster {expected[50]}")
        bars = browser.find_elements("css selector", "#bars li")
        assert [i for i, bar in enumerate(bars) if "chosen" in bar.get_attribute("class")] == [expected[50]]
        shares = [float(bar.find_element("class name", "value").text.rstrip("%")) for bar in bars]
        assert abs(sum(shares) - 100) < 0.3
        assert "ms an image" in element("latency").text
        wait.until(lambda _: len(browser.find_elements("css selector", "#samples canvas")) == 12)
        assert_values_of_pixels(browser)
        assert not browser.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(arguments[0]))", url
        )

        element("pad").send_keys(Keys.SPACE, *[Keys.ARROW_DOWN] * 3, Keys.SPACE)
        wait.until(lambda _: "mean of" not in element("latency").text)
        assert element("answer").text.startswith("cluster")
        element("pad").send_keys(Keys.ESCAPE)
        wait.until(lambda _: element("answer").text == "Nothing yet.")
    # The server is gone.
    browser.refresh()
    wait.until(lambda _: browser.find_elements("css selector", "body[data-ready]"))
