"""A board as its people use it: run, submit, check, rerun, build."""

import re
from pathlib import Path

import pytest
from board_runs import make_board, small_suite, sound_rows
from commands import run_command
from small_runs import small_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the recipe of two drafts that train nothing, with a tracker that must not run."""
    text = small_recipe(
        (8, 4, len(small_suite().tasks["gsm8k"].prompts)),
        ["prompt_lookup", "suffix"],
        evaluation="max_new_tokens = 16",
        top="speed = false",
    )
    path = tmp_path_factory.mktemp("recipe") / "mine.toml"
    path.write_text(text.replace("[training]\n", '[training]\ntrackers = ["jsonl"]\n'))
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_row_is_run_submitted_checked_rerun_and_shown(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = make_board(tmp_path / "board")
    assert run_command(capsys, "run", recipe, "--out", tmp_path / "runs").code == 0
    [run] = (tmp_path / "runs").glob("mine-*")
    assert run_command(capsys, "submit", run, "--to", board).code == 0
    lookup, _ = rows = sound_rows(board)
    assert [row.results.results[0].cell.method for row in rows] == ["prompt_lookup", "suffix"]

    again = tmp_path / "again"
    done = run_command(capsys, "board", "rerun", board, lookup.hash, "--out", again)

    assert done.code == 0, done
    assert done.out.splitlines()[-1] == f"Agrees: {lookup.place}"
    assert not list(again.rglob("logs/*"))  # no tracker of the submitter ran
    assert run_command(capsys, "board", "build", board, "--out", tmp_path / "site").code == 0
    page = (tmp_path / "site" / "rows" / f"{lookup.hash}.html").read_text("utf-8")
    assert re.search(r'Trust: <a class="badge"[^>]*>rerun here</a>', page)
