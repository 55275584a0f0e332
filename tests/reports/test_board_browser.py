"""The site of a board in a real browser: the answer first, on a desk, a phone and in the dark."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from board_runs import board_run, make_board, sound_rows
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
)
from places import in_repository

from draftmark.analysis.board.board import open_board
from draftmark.analysis.board.submit import submit_run
from draftmark.registry import find_registered
from draftmark.results import Number
from draftmark.store.published_folder import publish_folder

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
SPEED = "speedup[gamma=4,engine=vllm,t=0,batch=1,length=natural]"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the site of draftmark's own board, and of a draft that fell in its last submission."""
    folder = tmp_path_factory.mktemp("board")
    board = make_board(folder / "board")
    for month, alpha in enumerate((0.8, 0.5), start=1):
        alphas = {"kd": [alpha], "untrained": [0.1 + month / 100]}
        board_run(folder / f"run {month}", alphas)
        list(submit_run(folder / f"run {month}", open_board(board), date=f"2026-0{month}-01"))
    rows = []
    for row in sound_rows(board):
        first, *others = row.results.results
        speeds = {SPEED: Number(1.5, 1.4, 1.6, 5, "speedup")}
        results = (replace(first, numbers={**first.numbers, **speeds}), *others)
        machine = {"machine": "a machine", "engines": {"vllm": f"vllm 0.3{row.header.date[6]}.0"}}
        header = row.header.model_copy(update=machine)
        rows.append(replace(row, header=header, results=replace(row.results, results=results)))
    report = find_registered("reports", "board")
    publish_folder(
        folder / "fallen", replace(report, board=open_board(board), submissions=rows).files()
    )
    own = in_repository("reports/board")
    mine = replace(report, board=open_board(own), submissions=sound_rows(own))
    publish_folder(folder / "own", mine.files())
    shutil.rmtree(board)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser() as driver:
        yield driver


def pages(site: Path) -> list[Path]:
    """Return a page of each kind of both sites; rows are those with a series."""
    fallen = site / "fallen"
    rows = [page for page in (fallen / "rows").iterdir() if "Lower than before" in page.read_text()]
    table = next((fallen / "tables").rglob("*.html"))
    return [
        site / "own" / "index.html",
        fallen / "index.html",
        fallen / "speeds.html",
        table,
        rows[0],
    ]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pages_fit_and_ask_for_nothing(browser: Any, site: Path, size: tuple[int, int]) -> None:
    set_window(browser, *size)
    for page in pages(site):
        opened(browser, page)
        assert browser.get_log("browser") == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_text_stands_out(browser: Any, site: Path, theme: str) -> None:
    set_window(browser, *DESK)
    for page in pages(site):
        show(browser, page, theme)
        assert axe_violations(browser) == [], page
        assert browser.execute_script(CONTRASTS) == [], page


def test_the_first_screen_says_who_is_first_and_how_sure(browser: Any, site: Path) -> None:
    set_window(browser, *DESK)
    opened(browser, site / "own" / "index.html")
    seen = browser.execute_script(
        "return [...document.querySelectorAll('main p, main th, main td, main caption')].filter("
        "e => e.getBoundingClientRect().top < innerHeight).map(e => e.innerText).join('\\n')"
    )
    for words in ("is first on", "Tokens per pass of the target", "reported"):
        assert words in seen, words


def test_a_fall_is_on_the_front_page_and_drawn_on_its_own(browser: Any, site: Path) -> None:
    set_window(browser, *DESK)
    opened(browser, site / "fallen" / "index.html")
    assert texts(browser, "#fallen") == ["Lower than in the submission before"]
    link = browser.find_element("css selector", "#fallen ~ ul a")
    opened(browser, Path(link.get_attribute("href").removeprefix("file://")))
    assert texts(browser, ".alert")[0].startswith("Lower than before:")
    charts = browser.find_elements("css selector", "figure.chart canvas")
    assert len(charts) == 3  # acceptance at both temperatures, speed over versions
    drawn = (
        "const c = arguments[0], box = [0, 0, c.width, c.height];"
        "return c.getContext('2d').getImageData(...box).data.some(value => value > 0)"
    )
    assert all(browser.execute_script(drawn, chart) for chart in charts)
