"""A draft's submissions over time: paired changes, levels, speeds by version, and its page."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from board_runs import board_run, make_board, small_suite, sound_rows, tamper
from commands import run_command

from draftmark.analysis.board.board import open_board
from draftmark.analysis.board.packing import describe_version
from draftmark.analysis.board.series import (
    Change,
    changes,
    rate_lines,
    regressions,
    series_of,
    speed_lines,
)
from draftmark.analysis.board.submission import Submission, speed_engine
from draftmark.analysis.board.submit import submit_run
from draftmark.analysis.board.tables import speed_tables
from draftmark.registry import find_registered
from draftmark.results import Number

SPEED = "speedup[gamma=4,engine=vllm,t=0,batch=1,length=natural]"


@pytest.fixture(scope="module")
def fallen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a board with a draft whose acceptance falls in the third of its four submissions."""
    folder = tmp_path_factory.mktemp("fallen")
    board = make_board(folder / "board")
    for month, alpha in enumerate((0.8, 0.81, 0.5, 0.51), start=1):
        board_run(folder / f"run {month}", {"kd": [alpha]})
        list(submit_run(folder / f"run {month}", open_board(board), date=f"2026-0{month}-01"))
    return board


def series_in(board: Path) -> list[Submission]:
    [series] = series_of(sound_rows(board)).values()
    return series


def with_speed(submission: Submission, value: float, version: str) -> Submission:
    number = Number(value, value - 0.1, value + 0.1, 5, "speedup")
    first, *others = submission.results.results
    first = replace(first, numbers={**first.numbers, SPEED: number})
    results = replace(submission.results, results=(first, *others))
    header = submission.header.model_copy(update={"machine": "H200", "engines": {"vllm": version}})
    return Submission(header, results, submission.counts, submission.hash)


def test_a_fall_is_the_difference_of_both_rates_paired_on_prompts(fallen: Path) -> None:
    series, suite = series_in(fallen), small_suite()
    found = [item for item in changes(series, suite) if item.is_regression]

    assert {(it.before.header.date, it.after.header.date) for it in found} == {
        ("2026-02-01", "2026-03-01")
    }
    assert {(it.task, it.temperature) for it in found} >= {("gsm8k", 1.0), ("mbpp", 1.0)}
    for item in found:
        key = f"acceptance_rate[t={item.temperature:g},gamma=4]"
        before, after = (row.numbers[item.task][key] for row in (item.before, item.after))
        assert item.difference
        assert item.difference.value == pytest.approx(after.value - before.value)
        assert item.difference.high is not None
        assert item.difference.high < 0
    assert list(regressions(series, suite)) == []  # the newest one did not fall
    assert [it.task for it in regressions(series[:3], suite)] == [it.task for it in found]


def test_a_lasting_fall_starts_a_level_where_it_happened(fallen: Path) -> None:
    lines = rate_lines(series_in(fallen), small_suite())

    assert list(lines) == [0.0, 1.0]
    for line in lines[1.0]:
        assert [place for place, _ in line.points] == [0, 1, 2, 3]
        assert line.falls == [2]


def test_other_texts_are_paired_with_nothing_and_the_page_says_so(
    fallen: Path, tmp_path: Path
) -> None:
    board = Path(shutil.copytree(fallen, tmp_path / "board"))
    newest = series_in(board)[-1]

    def elsewhere(document: dict[str, Any]) -> None:
        for item in document["results"]:
            item["provenance"]["text_digests"] = {"0": "elsewhere", "1": "elsewhere"}

    tamper(board / newest.place, elsewhere)
    series = series_in(board)
    last = [it for it in changes(series, small_suite()) if it.after is series[-1]]
    assert [it.difference for it in last] == [None] * 4

    site = replace(find_registered("reports", "board"), board=open_board(board), submissions=series)
    page = str(dict(site.files())[f"rows/{series[-1].hash}.html"])
    assert "No difference is paired" in page
    assert "Lower than before" in page


def test_speeds_of_two_versions_of_an_engine_never_share_a_table(fallen: Path) -> None:
    versions = ["vllm 0.31.0, torch 2.12.0", "vllm 0.32.0, torch 2.13.0"]
    series = series_in(fallen)
    rows = [
        with_speed(replace_draft(row, f"draft {place}"), 1.5, versions[place % 2])
        for place, row in enumerate(series)
    ]

    tables = speed_tables(rows)
    assert [(table.terms.version, len(table.rows)) for table in tables] == [
        (version, 2) for version in versions
    ]


def replace_draft(row: Submission, name: str) -> Submission:
    return replace(row, header=row.header.model_copy(update={"draft": name}))


def test_a_slower_version_starts_a_lower_level_of_speed(fallen: Path) -> None:
    speeds = (2.0, 2.01, 1.5, 1.49)
    rows = [
        with_speed(row, value, f"vllm 0.{31 + place}.0")
        for place, (row, value) in enumerate(zip(series_in(fallen), speeds, strict=True))
    ]

    [found] = speed_lines(rows)
    [line] = found.lines
    assert (found.machine, found.key, line.task) == ("H200", SPEED, "gsm8k")
    assert [number.value for _, number in line.points] == list(speeds)
    assert line.falls == [2]


@pytest.mark.parametrize(
    ("key", "engine"),
    [(SPEED, "vllm"), ("speedup", ""), ("block_efficiency[t=0,gamma=4]", ""), ("speedup[t=0]", "")],
)
def test_a_speedup_names_its_engine(key: str, engine: str) -> None:
    assert speed_engine(key) == engine


def test_an_engine_without_a_package_of_its_own_is_draftmarks() -> None:
    versions = {"draftmark": "0.1.0", "torch": "2.13.0", "transformers": "5.19.0"}

    assert describe_version("reference", versions) == "draftmark 0.1.0, torch 2.13.0"
    assert describe_version("transformers", versions) == "transformers 5.19.0, torch 2.13.0"
    assert describe_version("vllm", {**versions, "vllm": "0.32.0"}) == "vllm 0.32.0, torch 2.13.0"


def test_a_trend_over_submissions_leaves_them_as_they_are(
    fallen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = fallen / "submissions" / "tiny-target" / "tiny--kd"
    before = sorted(fallen.rglob("*"))

    done = run_command(capsys, "trend", place, "--out", tmp_path / "trend")

    assert done.code == 0, done
    assert "4 runs" in (tmp_path / "trend" / "trend.md").read_text("utf-8")
    assert sorted(fallen.rglob("*")) == before


def test_a_significant_change_as_small_as_rounding_is_no_fall(fallen: Path) -> None:
    first, second = series_in(fallen)[:2]
    small = Number(-0.002, -0.003, -0.001, 8, "difference")
    change = Change("gsm8k", 1.0, first, second, small, is_significant=True)

    assert not change.is_regression
    assert replace(change, difference=replace(small, value=-0.02)).is_regression
