"""draftmark's own board: sound, small, and built from the repository alone."""

import re
from pathlib import Path

import pytest
from board_runs import sound_rows
from commands import run_command
from places import in_repository

from draftmark.analysis.board.board import open_board
from draftmark.analysis.board.suite import freeze_tasks

BOARD = in_repository("reports/board")
MOST_BYTES = 1_500_000


def test_every_row_is_sound_and_public() -> None:
    rows = sound_rows(BOARD)

    assert len({row.header.draft for row in rows}) >= 3
    for row in rows:
        assert row.results.manifest["git"]["dirty"] is False
        assert re.fullmatch("[0-9a-f]{40}", row.results.manifest["git"]["commit"])


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in BOARD.rglob("*") if path.is_file()) < MOST_BYTES


def test_its_suite_is_of_the_sample_rows() -> None:
    suite = open_board(BOARD).suites["draftmark-samples-1"]

    assert freeze_tasks(suite.name, list(suite.tasks), 64, "samples") == suite


def test_its_site_says_who_is_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run_command(capsys, "board", "build", BOARD, "--out", tmp_path / "site")

    assert done.code == 0, done
    front = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert re.search(r'<p class="verdict">At temperature 0: .* first on ', front)
    for row in sound_rows(BOARD):
        assert (tmp_path / "site" / "rows" / f"{row.hash}.html").is_file()
    assert "No submission has speeds" in (tmp_path / "site" / "speeds.html").read_text("utf-8")
