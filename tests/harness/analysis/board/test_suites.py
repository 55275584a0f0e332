"""Suites of a board: what draftmark-suite-1 has, and suites that owners freeze."""

from pathlib import Path
from typing import Any

import pytest
from board_runs import small_suite
from commands import run_command, sentence_of
from places import REAL_ROWS, in_repository

from draftmark.analysis.board.board import open_board
from draftmark.analysis.board.suite import freeze_suite, freeze_tasks, shipped_suite
from draftmark.data.rows import load_rows
from draftmark.registry import find_registered


def test_the_frozen_suite_is_of_the_original_rows() -> None:
    if not REAL_ROWS.is_dir():
        pytest.skip("no real rows here")
    suite, rows = shipped_suite("draftmark-suite-1"), {}
    for name in suite.tasks:
        task = find_registered("tasks", name)
        found = load_rows(task, "test", 80, sources=["directory"], directory=REAL_ROWS)
        rows[name] = task.version, found

    assert freeze_suite("draftmark-suite-1", rows) == suite


def test_the_frozen_suite_never_changes() -> None:
    suite = shipped_suite("draftmark-suite-1")

    assert suite.digest == "cbb00875ae4e7728cfcc3811d99b13869c1c922cd560be4d186357d037e136d1"
    assert {name: len(task.prompts) for name, task in suite.tasks.items()} == {
        "gsm8k": 80,
        "mbpp": 80,
        "humaneval": 80,
        "mt_bench": 160,
    }
    assert small_suite().digest != suite.digest


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("mine", "--tasks", "gsm8k", "--rows", 4, "--source", "nowhere"), "nowhere"),
        (("../mine", "--tasks", "gsm8k", "--rows", 4, "--source", "samples"), "is no name"),
        (
            ("mine", "--tasks", "gsm8k", "--rows", 9999, "--source", "samples"),
            "9999 are needed",
        ),
        (("mine", "--tasks", "gsm9k", "--rows", 4, "--source", "samples"), "gsm9k"),
    ],
)
def test_a_suite_that_cannot_be_frozen_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[Any, ...], reason: str
) -> None:
    done = run_command(capsys, "board", "freeze", *words, "--out", tmp_path / "s.json")

    assert reason in sentence_of(done)
    assert not (tmp_path / "s.json").exists()


def test_a_frozen_suite_is_read_by_a_board_and_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "board.toml").write_text('title = "mine"\nsuites = ["suites/mine.json"]\n')
    words = ("mine", "--tasks", "gsm8k,mbpp", "--rows", 8, "--source", "samples")
    out = ("--out", tmp_path / "suites" / "mine.json")

    assert run_command(capsys, "board", "freeze", *words, *out).code == 0
    assert open_board(tmp_path).suite == small_suite("mine")
    assert "never changes" in sentence_of(run_command(capsys, "board", "freeze", *words, *out))


def test_the_suite_of_the_studies_on_smollm2_is_of_the_original_rows() -> None:
    if not REAL_ROWS.is_dir():
        pytest.skip("no real rows here")
    suite = open_board(in_repository("reports/board")).suites["draftmark-gsm8k-96"]

    found = freeze_tasks(suite.name, list(suite.tasks), 96, "directory", REAL_ROWS)
    assert found == suite
    first = shipped_suite("draftmark-suite-1").tasks["gsm8k"].prompts
    assert list(suite.tasks["gsm8k"].prompts.items())[:80] == list(first.items())
