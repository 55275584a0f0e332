"""The site in a real browser, opened from disk: it sorts, filters, leads on, and asks for nothing.

Chromium and its driver come from the system; without them these tests are skipped.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_runs import HOSTILE, NUMBER, run_of

from draftmark.pipeline.render import write_reports
from draftmark.reports.site import Site
from draftmark.results import Standing
from draftmark.store.records import write_rows

webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="apt-get install chromium chromium-driver"),
]
DESK, PHONE = (1280, 900), (390, 844)
HISTORY = tuple(
    {"step": float(step), "validation_acceptance": 0.3 + step / 100, "loss": 2 - step / 50}
    for step in (0, 20, 40)
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a site of two runs, one of them with hostile names and texts."""
    folder = tmp_path_factory.mktemp("site")
    runs = []
    for name, methods in (("a", ("kd", "sft")), ("b", ("kd", HOSTILE))):
        alphas = {method: [[0.7 - place / 4, 0.6]] for place, method in enumerate(methods)}
        results = run_of(folder / name, alphas, tasks=("gsm8k", "mbpp"), length=24)
        rows = tuple(replace(row, history=HISTORY) for row in results.results)
        for row in rows:
            texts = [
                {
                    "example_id": f"{row.cell.task}/test/{n}",
                    "prompt": HOSTILE,
                    "pieces": ["<script>", *"abcdefg"] * 3,
                }
                for n in (0, 1)
            ]
            write_rows(folder / name / row.records / "examples-t0.parquet", texts)
        key = "block_efficiency[t=0,gamma=4]"
        rows = tuple(
            replace(
                row,
                numbers={
                    **row.numbers,
                    **{
                        f"{rate}[t=0,gamma={gamma}]": NUMBER
                        for gamma in range(1, 17)
                        for rate in ("accepted_per_pass", "draft_acceptance_rate")
                    },
                },
            )
            for row in rows
        )
        standings = tuple(Standing(row.cell.contender, key, "a") for row in rows)
        runs.append((replace(results, results=rows, standings=standings), folder / name))
    out = folder / "out"
    out.mkdir()
    write_reports(runs[0][0], out, [Site(runs=tuple(runs), folder="")])
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    options.add_argument("--headless=new")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")  # no name leads anywhere
    options.add_argument("--disable-dev-shm-usage")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=str(DRIVER))
    with webdriver.Chrome(options=options, service=service) as driver:
        yield driver


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def window(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    """Yield the browser at a width; afterwards nothing was complained of or asked for."""
    width, height = request.param
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    yield browser
    assert browser.get_log("browser") == []
    sent = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in sent if m["method"].endswith("BeSent")]
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def opened(browser: Any, page: Path) -> Any:
    browser.get(page.as_uri())
    ready = "return document.documentElement.dataset.ready"
    WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(ready) == "yes")
    to_float32 = "return document.documentElement.scrollWidth <= window.innerWidth"
    assert browser.execute_script(to_float32), f"{page} is wider than the window"
    return browser


def methods(browser: Any) -> list[str]:
    found = browser.find_elements(By.CSS_SELECTOR, "#overview tbody tr th")
    return [cell.text[:4] for cell in found]


def values(browser: Any) -> list[float]:
    """Return the column of acceptance rates, as it stands."""
    rows = browser.find_elements(By.CSS_SELECTOR, "#overview tbody tr td.r a.num")
    return [float(link.text) for link in rows[::2]]


def test_the_front_page_sorts_by_keyboard_and_filters(window: Any, root: Path) -> None:
    opened(window, root / "index.html")
    assert len(values(window)) == 8
    head = window.find_element(By.XPATH, "//table[@id='overview']//th[contains(., 'acceptance')]")
    for order in ("ascending", "descending"):
        head.find_element(By.CSS_SELECTOR, "[role=button]").send_keys(Keys.ENTER)
        WebDriverWait(window, 10).until(
            lambda _, order=order: head.get_attribute("aria-sort") == order
        )
        assert values(window) == sorted(values(window), reverse=order == "descending")
    selects = {
        label.text.split("\n")[0]: Select(label.find_element(By.TAG_NAME, "select"))
        for label in window.find_elements(By.CSS_SELECTOR, "#filters label")
    }
    assert list(selects) == ["Method", "Task", "Run"]
    selects["Task"].select_by_visible_text("mbpp")
    selects["Method"].select_by_visible_text("kd")
    assert methods(window) == ["kd", "kd"]
    cards = window.find_elements(By.CSS_SELECTOR, ".card")
    assert [card.is_displayed() for card in cards] == [False, True, False, True]
    window.find_element(By.CSS_SELECTOR, ".dt-search input").send_keys("nothing like it")
    assert "Nothing matches." in window.find_element(By.ID, "overview").text


def test_a_cell_opens_with_charts_examples_and_numbers(window: Any, root: Path) -> None:
    opened(window, root / "index.html")
    link = window.find_element(By.CSS_SELECTOR, "#overview tbody a[href^='cells/']")
    window.get(link.get_attribute("href"))
    opened(window, Path(window.current_url.removeprefix("file://")))
    charts = window.find_elements(By.CSS_SELECTOR, "figure.chart canvas")
    assert len(charts) == 3
    assert all(chart.size["width"] > 200 for chart in charts)
    drawn = (
        "const c = arguments[0], box = [0, 0, c.width, c.height];"
        "return c.getContext('2d').getImageData(...box).data.some(value => value > 0)"
    )
    assert window.execute_script(drawn, charts[0])
    details = window.find_element(By.CSS_SELECTOR, "figure.chart summary")
    window.execute_script("arguments[0].click()", details)
    rows = window.find_elements(By.CSS_SELECTOR, "figure.chart table tbody tr")
    assert rows
    tokens = window.find_elements(By.CSS_SELECTOR, "details[open] .tokens .t")
    assert tokens[0].text == "<script>"
    assert len(window.find_elements(By.CSS_SELECTOR, "#all-numbers tbody tr")) == 25
    number = window.find_element(By.CSS_SELECTOR, "#all-numbers tbody a")
    window.get(number.get_attribute("href"))
    place = window.find_element(By.CSS_SELECTOR, ".definitions :target")
    assert "accepted / tested" in place.text


def test_the_theme_is_switched_and_kept(window: Any, root: Path) -> None:
    opened(window, root / "index.html")
    paper = "return getComputedStyle(document.body).backgroundColor"
    before = window.execute_script(paper)
    button = window.find_element(By.ID, "theme")
    pressed = button.get_attribute("aria-pressed")
    button.click()
    assert button.get_attribute("aria-pressed") != pressed
    assert window.execute_script(paper) != before
    opened(window, root / "runs.html")
    assert window.find_element(By.ID, "theme").get_attribute("aria-pressed") != pressed
    window.find_element(By.ID, "theme").click()


def test_every_page_opens_without_complaint(window: Any, root: Path) -> None:
    for page in sorted(root.rglob("*.html")):
        opened(window, page)
        assert window.find_elements(By.TAG_NAME, "h1")
        unnamed = window.execute_script(
            "return [...document.querySelectorAll('a, button, select, input, th')]"
            ".filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || "
            "(e.labels && e.labels.length))).length"
        )
        assert unnamed == 0, page
