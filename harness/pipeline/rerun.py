"""Runs the recipe of a board's row again, as the board's maintainers do."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from draftmark.analysis.board.board import Board
from draftmark.analysis.board.check import check_folder
from draftmark.analysis.board.packing import pack_run
from draftmark.analysis.board.submission import Submission, save_submission
from draftmark.errors import UserError
from draftmark.pipeline.publish import RunOptions, run_recipe, writable_folder
from draftmark.pipeline.recipe_files import stored_recipe


def rerun_row(board: Board, row: str, options: RunOptions) -> tuple[Submission, Submission]:
    """Run a row's recipe; return the row, and the run as a submission beside the board's rows.

    Raises UserError if there is no such sound row, or if its recipe runs code of others.
    """
    folder, submission = _sound_row(board, row)
    suite = board.suites[submission.header.suite]
    _refuse_unsafe(submission.results.recipe)
    recipe = stored_recipe(submission.results.recipe, folder)
    results, directory = run_recipe(recipe, f"rerun-{row}", options)
    method = submission.results.results[0].cell.method
    today = datetime.now(UTC).date().isoformat()
    [again] = pack_run(
        results, directory, suite, date=today, methods=[method], name=submission.header.draft
    )
    root = writable_folder(board.reruns.folder)
    with TemporaryDirectory(prefix=".rerun-", dir=root) as scratch:
        packed = save_submission(again, Path(scratch))
        place = root / packed.place
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            (Path(scratch) / packed.place).rename(place)
    return submission, packed


def _sound_row(board: Board, row: str) -> tuple[Path, Submission]:
    folders = [path for path, reason in board.submissions() if not reason and path.name == row]
    if not folders:
        raise UserError(f"{board.folder} has no submission {row!r}; name the folder of one.")
    checked = check_folder(board, folders[0])
    if checked.faults or checked.submission is None:
        raise UserError(" ".join(checked.lines()))
    return folders[0], checked.submission


def _refuse_unsafe(recipe: Mapping[str, Any]) -> None:
    """Raise UserError if a recipe runs code of a model, or sends texts to a judge."""
    if any(pair.get("trust_remote_code") for pair in recipe["pairs"]):
        raise UserError("The row's recipe runs code that comes with a model; it is not run here.")
    if recipe["evaluation"].get("judge"):
        raise UserError("The row's recipe asks a judge at an address of its own; it is not run.")
