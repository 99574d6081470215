"""The page as a person sees it: in Chromium, light and dark, on a desktop and on a phone."""

import json

import numpy as np
import pytest

from nvisa_tf.report import write_report
from nvisa_tf.report.page import read

REPORT = {"minutes": 1.5, "epoch": 12, "warnings": ["Cluster 2 has 1 of 60 examples; try fewer clusters."]}
NAMES = ["a cluster with_a_name_that_is_longer_than_a_phone_is_wide_and_has_no_place_to_break", "<i>boots</i>", "cluster 2"]
# The contrast of each piece of text with what is behind it, by WCAG 2: [ratio, text].
CONTRASTS = """
const lightness = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const parse = text => text.match(/[\\d.]+/g).map(Number);
const over = (front, back) => { const a = front[3] ?? 1; return [0, 1, 2].map(i => a * front[i] + (1 - a) * back[i]); };
function behind(element) {
  if (!element) return [255, 255, 255];
  return over(parse(getComputedStyle(element).backgroundColor), parse(getComputedStyle(element).backgroundColor)[3] === 1
    ? [0, 0, 0] : behind(element.parentElement));
}
const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("script, noscript")) continue;
  const style = getComputedStyle(element), back = behind(element);
  const pair = [lightness(over(parse(element.closest("svg") ? style.fill : style.color), back)), lightness(back)].sort((a, b) => b - a);
  found.push([(pair[0] + .05) / (pair[1] + .05), walker.currentNode.data.trim().slice(0, 40)]);
}
return found;
"""
OPACITY = """
const c = document.getElementById("points");
return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 == 3 && v).length;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory, open_chromium):
    """Headless Chromium by its driver; its network log is on."""
    log = {"goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
    with open_chromium(tmp_path_factory.mktemp("chromium"), capabilities=log) as found:
        yield found


@pytest.fixture(params=["photos", "table"])
def page(request, make_run, make_answers):
    """The page of photos, and of a table."""
    splits, cluster = request.getfixturevalue(request.param)
    run, config = make_run(splits, 3)
    return write_report(run, config, splits, make_answers(splits, cluster), REPORT, NAMES)


def show(browser, page, width, scheme):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for kind in ("performance", "browser"):
        browser.get_log(kind)
    browser.get(page.as_uri())
    browser.find_element("css selector", "body[data-ready]")


def requests(browser, page):
    """The addresses that the page asked for, its own first."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [request["request"]["url"] for request in sent if request["documentURL"] == page.as_uri()]


def test_light_and_dark_wide_and_narrow(browser, page):
    seen = set()
    for scheme in ("light", "dark"):
        for width in (1280, 390, 360):
            show(browser, page, width, scheme)
            browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert browser.execute_script("const page = document.documentElement; return page.scrollWidth - page.clientWidth") == 0
            wide = "return [...document.querySelectorAll('.profile')].filter(t => t.scrollWidth > t.parentElement.clientWidth).length"
            assert browser.execute_script(wide) == 0
            assert [url for url in requests(browser, page) if not url.startswith("data:")] == [page.as_uri()]
            assert browser.get_log("browser") == []
            assert not browser.execute_script("return window.hacked")
            low = [(ratio, text) for ratio, text in browser.execute_script(CONTRASTS) if ratio < 4.5]
            assert not low
            assert browser.execute_script("return [...document.images].every(image => image.complete && image.naturalWidth > 0)")
            assert browser.execute_script(OPACITY) > 200
        seen.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(seen) == 2


def bring_to_the_middle(browser, element):
    """Scroll, and wait until the page was told of it, which hides what is shown of a point."""
    browser.execute_async_script(
        """const [element, done] = arguments;
        element.scrollIntoView({block: "center", behavior: "instant"});
        requestAnimationFrame(() => requestAnimationFrame(done));""",
        element,
    )


def point_at(browser, place):
    """Move the mouse to a point of the map, by where its coordinates put it."""
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = browser.find_element("id", "points")
    bring_to_the_middle(browser, canvas)
    x, y = browser.execute_script("return place(arguments[0])", place)
    ActionChains(browser).move_to_element_with_offset(canvas, x - canvas.size["width"] / 2, y - canvas.size["height"] / 2).perform()


def test_the_map_tells_what_a_point_is(browser, page):
    from selenium.webdriver.common.keys import Keys

    drawn = read(page)[0]["map"]
    show(browser, page, 1280, "light")
    tip = browser.find_element("id", "tip")
    assert not tip.is_displayed()
    # The one that stands the most alone, so that none is nearer to where the pointer comes to lie.
    places = np.stack([drawn["x"], drawn["y"]], 1).astype(float)
    distances = np.linalg.norm(places[:, None] - places, axis=-1) + 1e9 * np.eye(len(places))
    alone = int(distances.min(1).argmax())
    point_at(browser, alone)
    assert tip.is_displayed()
    lines = tip.text.splitlines()
    assert lines[0].endswith(drawn["names"][alone])
    assert lines[1].startswith(f"{NAMES[drawn['cluster'][alone]]}, probability ")
    if "values" in drawn:
        assert lines[-1] == f"{drawn['values']['names'][-1]}: {drawn['values']['rows'][alone][-1]}"
    else:
        assert lines[2] == f"label: {drawn['classes'][drawn['class'][alone]]}"
        colour = browser.execute_script(
            "const c = tip.querySelector('canvas'); return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        )
        assert len(set(colour)) > 100  # noise, as the photos are
    # By keyboard too, to other points and away.
    canvas = browser.find_element("id", "points")
    canvas.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()
    canvas.send_keys(Keys.ARROW_RIGHT)
    first = tip.text
    seen = {first}
    for key in (Keys.ARROW_LEFT, Keys.ARROW_UP, Keys.ARROW_DOWN, Keys.ARROW_RIGHT):
        canvas.send_keys(key)
        seen.add(tip.text)
    assert len(seen) > 2


def test_the_legend_hides_and_shows_clusters(browser, page):
    show(browser, page, 390, "dark")
    toggles = browser.find_elements("css selector", "#legend .toggle")
    assert [toggle.text for toggle in toggles] == NAMES
    inked = [browser.execute_script(OPACITY)]
    for toggle in toggles:
        bring_to_the_middle(browser, toggle)
        toggle.click()
        assert toggle.get_attribute("aria-pressed") == "false"
        inked.append(browser.execute_script(OPACITY))
    assert inked[0] > inked[1] > inked[2] > inked[3] == 0
    browser.find_element("id", "all").click()
    assert browser.execute_script(OPACITY) == inked[0]
    browser.find_element("id", "none").click()
    assert browser.execute_script(OPACITY) == 0
    toggles[0].click()
    assert 0 < browser.execute_script(OPACITY) < inked[0]


def test_a_picture_tells_its_name(browser, photos, make_run, make_answers):
    splits, cluster = photos
    run, config = make_run(splits, 3)
    show(browser, write_report(run, config, splits, make_answers(splits, cluster), REPORT, NAMES), 390, "light")
    tip = browser.find_element("id", "tip")
    for thumb in browser.find_elements("css selector", ".thumb")[::7]:
        bring_to_the_middle(browser, thumb)
        thumb.click()
        assert tip.text.splitlines()[0] == thumb.find_element("tag name", "img").get_attribute("alt")
        box = browser.execute_script("const b = tip.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom]")
        assert 0 <= box[0] < box[1] <= 390
        assert 0 <= box[2] < box[3] <= 800
