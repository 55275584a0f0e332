"""draftmark's own board: sound, small, and built from the repository alone."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_runs import sound_rows
from close_numbers import assert_close
from commands import run_command
from places import in_repository

from draftmark.analysis.board.board import open_board
from draftmark.analysis.board.check import check_reruns
from draftmark.analysis.board.packing import pack_run
from draftmark.analysis.board.series import changes, series_of
from draftmark.analysis.board.submission import Submission
from draftmark.analysis.board.suite import freeze_tasks
from draftmark.analysis.board.tables import acceptance_tables, trust_of
from draftmark.analysis.published_counts import COUNTS, opened_run
from draftmark.store.run_folder import load_results

BOARD = in_repository("reports/board")
MOST_BYTES = 4_000_000
METHODS = ["kd", "eagle3, 3.1's norms", "p_eagle"]  # of each study; all would take long


@pytest.fixture(scope="module")
def rows() -> list[Submission]:
    return sound_rows(BOARD)


def test_every_row_is_sound_and_of_a_commit(rows: list[Submission]) -> None:
    assert len({row.header.draft for row in rows}) >= 3
    for row in rows:
        assert row.results.manifest["git"]["dirty"] is False
        assert re.fullmatch("[0-9a-f]{40}", row.results.manifest["git"]["commit"])


@pytest.mark.parametrize(
    ("study", "suite"),
    [
        ("drafts_2026", "draftmark-samples-1"),
        ("drafts_2026_smollm2", "draftmark-gsm8k-96"),
    ],
)
def test_rows_of_a_study_are_its_published_counts(
    rows: list[Submission], study: str, suite: str
) -> None:
    known = {(row.results.name, row.results.results[0].cell): row for row in rows}
    with opened_run(in_repository(f"reports/measured/{study}") / COUNTS) as run:
        frozen = open_board(BOARD).suites[suite]
        packed = list(pack_run(load_results(run), run, frozen, date="2026-12-01", methods=METHODS))

    assert len(packed) == len(METHODS)
    for item in packed:
        row = known[item.results.name, item.results.results[0].cell]
        for one, other in zip(item.results.results, row.results.results, strict=True):
            assert_close(one.numbers, other.numbers)
            assert replace(one, numbers={}) == replace(other, numbers={})
        for at, own in item.counts.items():
            for name, counts_B in own.columns.items():
                np.testing.assert_array_equal(counts_B, row.counts[at].columns[name])


def test_a_row_was_rerun_by_the_maintainers(rows: list[Submission]) -> None:
    checked = check_reruns(open_board(BOARD))
    assert [item.faults for item in checked] == [()] * len(checked)
    reruns = [item.submission for item in checked if item.submission]

    trusted = {row.name for row in rows if trust_of(row, reruns)[0] == "rerun here"}
    assert trusted
    assert trusted == {item.name for item in reruns}


def test_drafts_were_submitted_again_under_newer_code(rows: list[Submission]) -> None:
    """Texts of both commits have equal hashes, so every change is paired on prompts."""
    suites = open_board(BOARD).suites
    again = {key: series for key, series in series_of(rows).items() if len(series) > 1}

    assert len(again) >= 3
    for (suite, _), series in again.items():
        assert len({row.results.commit["commit"] for row in series}) == len(series)
        found = changes(series, suites[suite])
        assert [item.difference for item in found if item.difference is None] == []
        assert not any(item.is_regression for item in found)


def test_rows_of_the_frozen_suite_pair(rows: list[Submission]) -> None:
    tables = acceptance_tables(open_board(BOARD), rows)
    frozen = [table for table in tables if table.terms.suite == "draftmark-suite-1"]

    assert {(it.terms.temperature, it.terms.verification) for it in frozen} == {
        (0.0, "standard"),
        (1.0, "standard"),
        (1.0, "block"),
    }
    for table in frozen:
        assert len(table.rows) >= 2
        assert all(row.standing for row in table.rows)


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in BOARD.rglob("*") if path.is_file()) < MOST_BYTES


def test_its_suite_is_of_the_sample_rows() -> None:
    suite = open_board(BOARD).suites["draftmark-samples-1"]

    assert freeze_tasks(suite.name, list(suite.tasks), 64, "samples") == suite


def test_its_site_says_who_is_first(
    rows: list[Submission], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_command(capsys, "board", "build", BOARD, "--out", tmp_path / "site")

    assert done.code == 0, done
    front = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert re.search(r'<p class="verdict">At temperature 0: .* first on ', front)
    assert "[0.00, " not in "".join(re.findall(r'<p class="verdict">.*', front))  # a lead is a lead
    for row in rows:
        assert (tmp_path / "site" / "rows" / f"{row.hash}.html").is_file()
    assert "Engine: <strong>vllm" in (tmp_path / "site" / "speeds.html").read_text("utf-8")
