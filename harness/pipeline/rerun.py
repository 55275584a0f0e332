"""Runs the recipe of a board's row again, as the board's maintainers do."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from draftmark.analysis.board.board import Board
from draftmark.analysis.board.check import check_folder
from draftmark.analysis.board.packing import pack_run
from draftmark.analysis.board.submission import Submission, save_submission
from draftmark.errors import UserError
from draftmark.pipeline.publish import RunOptions, run_recipe, writable_folder
from draftmark.pipeline.recipe_files import stored_recipe, with_tasks
from draftmark.results import Cell
from draftmark.store.files import scratch_folder
from draftmark.store.reading import explained
from draftmark.store.run_folder import RESULTS
from draftmark.text import printable_text


def rerun_row(board: Board, row: str, options: RunOptions) -> tuple[Submission, Submission]:
    """Run a row's recipe; return the row, and the run as a submission beside the board's rows.

    Raises UserError if there is no such sound row, or if its recipe runs code of others.
    """
    folder, submission = _sound_row(board, row)
    suite = board.suites[submission.header.suite]
    cell = submission.results.results[0].cell
    with explained(folder / RESULTS):
        document = _of_row(submission.results.recipe, cell, list(submission.cells))
        _refuse_unsafe(document)
    results, directory = run_recipe(stored_recipe(document, folder), f"rerun-{row}", options)
    today = datetime.now(UTC).date().isoformat()
    [again] = pack_run(
        results, directory, suite, date=today, methods=[cell.method], name=submission.header.draft
    )
    root = writable_folder(board.reruns.folder)
    with scratch_folder(".rerun-", root) as scratch:
        packed = save_submission(again, scratch)
        place = root / packed.place
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            (scratch / packed.place).rename(place)
    return submission, packed


def _sound_row(board: Board, row: str) -> tuple[Path, Submission]:
    folders = [path for path, reason in board.submissions() if not reason and path.name == row]
    if not folders:
        raise UserError(f"{board.folder} has no submission {row!r}; name the folder of one.")
    checked = check_folder(board, folders[0])
    if checked.faults or checked.submission is None:
        raise UserError(" ".join(checked.lines()))
    return folders[0], checked.submission


def _of_row(recipe: Mapping[str, Any], cell: Cell, tasks: Sequence[str]) -> dict[str, Any]:
    """Return the part of a recipe that a row is from: its tasks, pair and method, without speed.

    Trackers are left out, as they may send results elsewhere.
    """
    entries = [it for it in recipe["methods"] if (it.get("label") or it["name"]) == cell.method]
    document = with_tasks(dict(recipe), tasks)
    by_task = {
        task: {
            **own,
            "methods": {k: v for k, v in own.get("methods", {}).items() if k == cell.method},
        }
        for task, own in document.get("by_task", {}).items()
    }
    changed: dict[str, Any] = {
        "pairs": [pair for pair in recipe["pairs"] if pair["name"] == cell.pair],
        "methods": [{**entry, "against": []} for entry in entries],
        "by_task": by_task,
        "speed": None,
    }
    found: dict[str, Any] = _without_trackers({**document, **changed})
    return found


def _without_trackers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_trackers(it) for key, it in value.items() if key != "trackers"}
    return value


def _refuse_unsafe(recipe: Mapping[str, Any]) -> None:
    """Raise UserError if a recipe runs a model's code, asks a judge, or reads files of here."""
    if any(pair.get("trust_remote_code") for pair in recipe["pairs"]):
        raise UserError("The row's recipe runs code that comes with a model; it is not run here.")
    if recipe["evaluation"].get("judge"):
        raise UserError("The row's recipe asks a judge at an address of its own; it is not run.")
    inits = [item.get("draft") or {} for item in (*recipe["pairs"], *recipe["methods"])]
    named = [pair["target"] for pair in recipe["pairs"]]
    named += [init[key] for init in inits for key in ("model", "head") if init.get(key)]
    named += [rows["file"] for rows in recipe.get("rows", {}).values() if rows.get("file")]
    for name in named:
        if not isinstance(name, str) or _is_path(name):
            raise UserError(
                f"The row's recipe reads {printable_text(str(name), 80)!r}, which would be of this "
                "machine; it is not run."
            )


def _is_path(name: str) -> bool:
    return name.startswith(("/", ".", "~")) or Path(name.partition("@")[0]).exists()
