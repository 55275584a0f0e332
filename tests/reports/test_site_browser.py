"""The site in a real browser, opened from disk: it sorts, filters, leads on, and asks for nothing.

Chromium and its driver come from the system; without them these tests are skipped.
"""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browsers import (
    CONTRASTS,
    DESK,
    NEEDS_CHROMIUM,
    PHONE,
    axe_violations,
    opened,
    set_window,
    show,
    started_browser,
    texts,
    visit,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from stored_runs import HOSTILE, NUMBER, run_of

from draftmark.analysis.statistics import median_ratio
from draftmark.pipeline.render import write_reports
from draftmark.reports.site import Site
from draftmark.results import Standing
from draftmark.store.records import write_rows
from draftmark.store.run_folder import save_results
from draftmark.types import Ledger
from tests.reports.test_serving import TERMS, timed

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
FASTER = (1.5, 1.52, 1.48, 1.5, 1.51)  # speedups of blocks
HISTORY = tuple(
    {"step": float(step), "validation_acceptance": 0.3 + step / 100, "loss": 2 - step / 50}
    for step in (0, 20, 40)
)
LEDGER = Ledger(steps=40, supervised_tokens=12_345, flops=1e12, train_s=9.5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a site of two runs; the second has hostile names and texts, and no distances."""
    folder = tmp_path_factory.mktemp("site")
    runs = []
    for name, methods in (("a", ("kd", "sft")), ("b", ("kd", HOSTILE))):
        alphas = {method: [[0.7 - place / 4, 0.6]] for place, method in enumerate(methods)}
        results = run_of(folder / name, alphas, tasks=("gsm8k", "mbpp"), length=24)
        rows = tuple(replace(row, history=HISTORY, ledger=LEDGER) for row in results.results)
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
        other = {gamma: ["acceptance_rate"] if gamma != 4 else [] for gamma in range(1, 17)}
        rows = tuple(
            replace(
                row,
                numbers={
                    **row.numbers,
                    **{
                        f"{rate}[t=0,gamma={gamma}]": NUMBER
                        for gamma in range(1, 17)
                        for rate in ("accepted_per_pass", "draft_acceptance_rate", *other[gamma])
                    },
                },
            )
            for row in rows
        )
        behind = replace(NUMBER, value=0.25, low=0.1, high=0.4)
        standings = tuple(
            Standing(
                row.cell.contender,
                key,
                "ab"[place % 2],
                behind if place % 2 and name == "a" else None,
            )
            for place, row in enumerate(rows)
        )
        runs.append((replace(results, results=rows, standings=standings), folder / name))
    out = folder / "out"
    out.mkdir()
    write_reports(runs[0][0], out, [Site(runs=tuple(runs), folder="")])
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser() as driver:
        yield driver


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def window(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    """Yield the browser at a width; afterwards nothing was complained of or asked for."""
    set_window(browser, *request.param)
    yield browser
    assert browser.get_log("browser") == []
    sent = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in sent if m["method"].endswith("BeSent")]
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []


def choose(browser: Any, name: str, value: str) -> None:
    """Choose a value of a switch, as a click on its words does."""
    label = browser.find_element(By.CSS_SELECTOR, f"input[name='{name}'][value='{value}'] + span")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", label)
    label.click()


def select(browser: Any, name: str, words: str) -> None:
    Select(browser.find_element(By.CSS_SELECTOR, f"select[name='{name}']")).select_by_visible_text(
        words
    )


def rates(browser: Any) -> list[float]:
    """Return the table's column of acceptance rates, as it stands."""
    rows = browser.find_elements(By.CSS_SELECTOR, "#overview tbody tr")
    links = [row.find_elements(By.CSS_SELECTOR, "td.r a.num") for row in rows]
    return [float(found[1].text) for found in links]


def test_the_front_page_shows_values_intervals_and_groups(window: Any, root: Path) -> None:
    opened(window, root / "index.html")
    assert texts(window, "#matrix thead th a") == ["GSM8K", "MBPP", "GSM8K", "MBPP"]
    assert texts(window, "#matrix tbody th")[0] == "kd"
    first = window.find_element(By.CSS_SELECTOR, "#matrix tbody td")
    assert first.text.split("\n") == ["0.65 a", "[0.40, 0.60]"]
    assert first.get_attribute("class") == "s0"
    assert "/cells/" in first.find_element(By.TAG_NAME, "a").get_attribute("href")


def test_the_table_sorts_by_keyboard(window: Any, root: Path) -> None:
    opened(window, root / "index.html")
    assert len(rates(window)) == 8
    head = window.find_element(By.XPATH, "//table[@id='overview']//th[contains(., 'acceptance')]")
    for order in ("ascending", "descending"):
        head.find_element(By.CSS_SELECTOR, "[role=button]").send_keys(Keys.ENTER)
        WebDriverWait(window, 10).until(
            lambda _, order=order: head.get_attribute("aria-sort") == order
        )
        assert rates(window) == sorted(rates(window), reverse=order == "descending")


def test_filters_act_on_all_that_follows_and_live_in_the_address(window: Any, root: Path) -> None:
    opened(window, root / "index.html")
    assert texts(window, "#filters > label") != []
    select(window, "task", "MBPP")
    select(window, "method", "kd")
    choose(window, "measure", "acceptance_rate")
    choose(window, "gamma", "8")

    def shown() -> list[list[str]]:
        return [
            texts(window, "#matrix thead th a"),
            texts(window, "#matrix tbody th"),
            texts(window, ".panel caption"),
            [text.split("\n")[0] for text in texts(window, "#overview tbody th")],
            texts(window, "#matrix-title"),
        ]

    before = shown()
    assert before[0] == ["MBPP", "MBPP"]
    assert before[1] == ["kd"]
    assert [text.startswith("MBPP: behind kd") for text in before[2]] == [True]
    assert before[3] == ["kd", "kd"]
    assert before[4] == ["Acceptance, T=0, blocks of 8"]
    address = window.current_url
    assert "task=MBPP" in address
    visit(window, address)
    assert shown() == before


def test_an_address_with_nonsense_shows_the_usual_choice(window: Any, root: Path) -> None:
    visit(window, (root / "index.html").as_uri() + "#t=99&task=none&measure=%3Cb%3E&gamma=x")
    assert texts(window, "#matrix-title") == ["Block efficiency, T=0, blocks of 4"]
    assert len(texts(window, "#matrix thead th a")) == 4


def test_results_without_distances_are_named_as_older(window: Any, root: Path) -> None:
    opened(window, root / "index.html")
    assert "2 of 4 columns have no differences" in texts(window, "#behind-note")[0]
    run = window.find_elements(By.CSS_SELECTOR, "select[name='run'] option")[2].text
    select(window, "run", run)
    assert texts(window, "#behind-note")[0].startswith("These results have no differences")
    assert texts(window, ".panel") == []


def test_bars_agree_with_letters(window: Any, root: Path) -> None:
    opened(window, root / "index.html")
    first = window.find_elements(By.CSS_SELECTOR, ".panel")[0]
    rows = first.find_elements(By.CSS_SELECTOR, "tbody tr:not(.axis)")
    assert [row.get_attribute("class") for row in rows] == ["same", "behind"]
    assert rows[1].text.split("\n")[-2:] == [
        "\u22120.25",
        "[\u22120.40, \u22120.10]",
    ]
    zero, span = (
        rows[1].find_element(By.CSS_SELECTOR, f"line.{kind}") for kind in ("zero", "span")
    )
    ends = [line.get_attribute(end).rstrip("%") for line, end in ((span, "x2"), (zero, "x1"))]
    assert float(ends[0]) < float(ends[1])
    window.get(rows[1].find_element(By.CSS_SELECTOR, "td.r a").get_attribute("href"))
    assert texts(window, "#both thead th")[1:3] == ["kd", "sft"]


def test_a_cell_opens_with_charts_examples_and_numbers(window: Any, root: Path) -> None:
    opened(window, root / "index.html")
    link = window.find_element(By.CSS_SELECTOR, "#matrix tbody a[href^='cells/']")
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


def test_a_site_without_numbers_opens_without_complaint(window: Any, tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.7]]})
    failed = tuple(replace(row, numbers={}, failure="no luck") for row in results.results)
    results = replace(results, results=failed)
    write_reports(results, tmp_path, [Site(runs=((results, tmp_path),), folder="out")])
    opened(window, tmp_path / "out" / "index.html")
    assert "All cells failed" in texts(window, "main")[0]


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


def test_two_methods_stand_side_by_side_on_the_same_prompts(window: Any, root: Path) -> None:
    page = root / "sides" / "1-1-gsm8k-p.html"
    opened(window, page)
    assert texts(window, "#both thead th")[1:3] == ["kd", "sft"]
    line = window.find_element(By.XPATH, "//table[@id='both']//tr[contains(., 'block efficiency')]")
    assert [item.text.split("\n")[0] for item in line.find_elements(By.TAG_NAME, "td")] == [
        "0.65",
        "0.53",
        "0.25",
    ]
    names = texts(window, "details[open] h3")
    assert [name.split(":")[0] for name in names] == ["kd", "sft"]
    blocks = window.find_elements(By.CSS_SELECTOR, "details[open] .tokens:first-of-type .block")
    assert len(blocks) > 2
    assert "".join(texts(window, "details[open] .block .t")).startswith("<script>")
    visit(window, f"{page.as_uri()}#a=sft&b=kd")
    assert texts(window, "#both thead th")[1:3] == ["sft", "kd"]
    assert "-0.25" in texts(window, "#both")[0]
    visit(window, f"{page.as_uri()}#a=sft")
    assert texts(window, "#both thead th")[1:3] == ["sft", "kd"]


def test_letters_speak_where_no_difference_is_known(window: Any, root: Path) -> None:
    opened(window, next((root / "sides").glob("2-1-*.html")))
    line = window.find_element(By.XPATH, "//table[@id='both']//tr[contains(., 'block efficiency')]")
    assert line.find_elements(By.TAG_NAME, "td")[2].text == "differ significantly"


def test_tokens_answer_to_touch_and_keys(window: Any, root: Path) -> None:
    opened(window, root / "sides" / "1-1-gsm8k-p.html")
    response = window.find_element(By.CSS_SELECTOR, "details[open] .tokens")
    tokens = response.find_elements(By.CSS_SELECTOR, ".t")
    assert all(token.size["width"] >= 8 for token in tokens)
    window.execute_script("arguments[0].scrollIntoView({block: 'center'})", tokens[1])
    tokens[1].click()
    said = window.find_element(By.CSS_SELECTOR, "details[open] .said")
    assert said.text.startswith("Token 2 of 24, \u201ca\u201d: ")
    response.send_keys(Keys.ARROW_RIGHT)
    assert said.text.startswith("Token 3 of 24, \u201cb\u201d: ")


def first_screen(browser: Any) -> str:
    """Return the text that stands on the screen before a visitor scrolls."""
    script = (
        "return [...document.querySelectorAll('main p, main h1, main h2, main th, main td, "
        "main caption, main label')].filter(e => e.checkVisibility() && "
        "e.getBoundingClientRect().top < innerHeight).map(e => e.innerText).join('\\n')"
    )
    return str(browser.execute_script(script))


def test_a_visitors_questions_are_answered_on_the_first_screen(browser: Any, root: Path) -> None:
    metrics = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    opened(browser, root / "index.html")
    seen = first_screen(browser)
    for words in (
        *("kd", "tokens per pass of the target", "Speed was not measured"),  # which draft?
        *("[0.40, 0.60]", "95% interval"),  # how sure?
        "Methods that share a letter in a column do not differ significantly",  # does it beat kd?
        "Block efficiency, T=0, blocks of 4",  # which temperature?
    ):
        assert words in seen, words


def test_how_fast_a_draft_is_stands_on_the_first_screen(browser: Any, tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [[0.8]], "untrained": [[0.2]]})
    speed = {"engine": "reference", "num_speculative_tokens": 4, "blocks": 5, "temperature": 0.0}
    rows = []
    for row, blocks in zip(results.results, (FASTER, [ratio - 1 for ratio in FASTER]), strict=True):
        timed(tmp_path / row.records, "", blocks)
        key = f"speedup[gamma=4,{TERMS}]"
        rows.append(replace(row, numbers={**row.numbers, key: median_ratio(blocks, "times")}))
    recipe = {**results.recipe, "speed": {**speed, "length": "natural"}}
    results = replace(results, results=tuple(rows), recipe=recipe)
    save_results(results, tmp_path)
    write_reports(results, tmp_path, [Site(runs=((results, tmp_path),), folder="out")])
    metrics = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    opened(browser, tmp_path / "out/index.html")
    seen = first_screen(browser)
    assert "Serve kd, num_speculative_tokens = 4: 1.50 [" in seen
    assert "times as fast (measured by reference, batch 1, T=0)" in seen
    choose(browser, "measure", "speedup")
    assert texts(browser, "#matrix tbody td a")[0] == "1.50"
    assert "wider intervals" in texts(browser, "#matrix-note")[0]


@pytest.mark.parametrize(
    ("link", "answer"),
    [
        (".matrix thead a", "What training cost"),  # what did it cost?
        ("#matrix-note a", "accepted / tested"),  # what does it mean?
        (".panel td.r a", "first minus second"),  # by how much?
        (".panel .side", "The same prompts"),  # what does a draft get wrong?
        (".bar a[href='runs.html']", "Trend of block efficiency"),  # did it change?
        (".matrix tbody a.num", "Provenance"),  # where does a number come from?
    ],
)
def test_a_visitors_other_questions_take_one_click(
    browser: Any, root: Path, link: str, answer: str
) -> None:
    opened(browser, root / "index.html")
    browser.execute_script("arguments[0].click()", browser.find_element(By.CSS_SELECTOR, link))
    WebDriverWait(browser, 10).until(lambda driver: "index.html" not in driver.current_url)
    WebDriverWait(browser, 10).until(lambda driver: answer in texts(driver, "main")[0])


PAPER = {"width": 703, "height": 1000, "deviceScaleFactor": 1, "mobile": False}  # A4, 12 mm margins


def test_paper_has_whole_tables_in_light_colours(browser: Any, root: Path) -> None:
    for page in ("index.html", "tables/2-1-gsm8k-p.html", "cells/1-1-gsm8k-kd-s0.html"):
        visit(browser, (root / page).as_uri())
        browser.execute_script("document.documentElement.dataset.theme = 'dark'")
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PAPER)
        browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        try:
            theme = "return document.documentElement.dataset.theme"
            assert browser.execute_script(theme) == "light"
            cut = (
                "return [...document.querySelectorAll('.scroll')].filter(box => "
                "box.scrollWidth > 703 || getComputedStyle(box).overflowX !== 'visible').length"
            )
            assert browser.execute_script(cut) == 0, page
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 703
            assert not browser.find_element(By.CSS_SELECTOR, ".bar").is_displayed()
        finally:
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
            browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
        assert browser.execute_script(theme) == "dark"


def printed_sheets(browser: Any) -> int:
    """Return the number of sheets of A4 that a page prints on."""
    a4 = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True}
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", a4)["data"])
    return len(re.findall(rb"/Type\s*/Page\b", printed))


@pytest.mark.parametrize(
    ("page", "most"),
    [("index.html", 6), ("tables/1-1-gsm8k-p.html", 3), ("cells/1-1-gsm8k-kd-s0.html", 10)],
)
def test_a_page_prints_on_a_few_sheets(browser: Any, root: Path, page: str, most: int) -> None:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    visit(browser, (root / page).as_uri())
    assert 1 <= printed_sheets(browser) <= most
    blank = (
        "return [...document.querySelectorAll('canvas')].filter(c => !c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data.some(v => v > 0)).length"
    )
    assert browser.execute_script(blank) == 0


def test_distances_of_many_methods_leave_no_half_empty_sheet(browser: Any, root: Path) -> None:
    """Five tasks of 15 methods: a line for each method, which may go on on the next sheet."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    visit(browser, (root / "index.html").as_uri())
    opened(browser, root / "index.html")
    before = printed_sheets(browser)
    browser.execute_script(
        "const panels = [...document.querySelectorAll('.panel')];"
        "for (let n = panels.length; n < 5; n += 1) "
        "{ panels[0].after(panels[0].cloneNode(true)); }"
        "for (const panel of document.querySelectorAll('.panel tbody')) "
        "{ for (let n = panel.rows.length; n < 17; n += 1) "
        "{ panel.rows[1].after(panel.rows[1].cloneNode(true)); } }"
    )
    assert len(browser.find_elements(By.CSS_SELECTOR, ".panel")) == 5
    assert printed_sheets(browser) <= before + 1


def test_paper_has_every_row_of_a_table(browser: Any, root: Path) -> None:
    visit(browser, (root / "cells/1-1-gsm8k-kd-s0.html").as_uri())
    rows = "return document.querySelectorAll('#all-numbers tbody tr').length"
    assert browser.execute_script(rows) == 25
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script(rows) > 25
    browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script(rows) == 25


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, root: Path, theme: str) -> None:
    for page in kinds_of_pages(root):
        show(browser, root / page, theme)
        assert axe_violations(browser) == [], page


def kinds_of_pages(root: Path) -> list[str]:
    """Return a page of each kind."""
    folders = ("tables", "sides", "cells", "runs")
    pages = [next((root / name).iterdir()).relative_to(root) for name in folders]
    return ["index.html", "runs.html", "definitions.html", *map(str, pages)]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Any, root: Path, theme: str) -> None:
    for page in kinds_of_pages(root):
        show(browser, root / page, theme)
        assert browser.execute_script(CONTRASTS) == [], page
