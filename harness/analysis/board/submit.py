"""From a run to checked submissions in a board's folder."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from draftmark.analysis.board.board import Board
from draftmark.analysis.board.check import Checked, Fault, check_folder
from draftmark.analysis.board.earlier import Earlier
from draftmark.analysis.board.packing import pack_run
from draftmark.analysis.board.submission import (
    Submission,
    read_submission,
    save_submission,
)
from draftmark.analysis.board.suite import Suite
from draftmark.errors import UserError
from draftmark.results import Results
from draftmark.store.files import scratch_folder
from draftmark.store.run_folder import load_results


def submit_run(
    directory: Path,
    board: Board,
    methods: Sequence[str] | None = None,
    name: str | None = None,
    *,
    date: str | None = None,
) -> Iterator[str]:
    """Write a run's submissions into a board; yield the place of each. `date`: today by default.

    They are checked first, as the board does. Raises UserError at the end if some were refused, and
    as `pack_run` does.
    """
    date = date or datetime.now(UTC).date().isoformat()
    results = load_results(directory)
    suite = _suite_of(results, board)
    packed = pack_run(results, directory, suite, date=date, methods=methods, name=name)
    refused = []
    with scratch_folder(".submit-", board.folder) as scratch:
        trial = replace(board, folder=scratch)
        saved = [save_submission(item, trial.folder) for item in packed]
        earlier = _earlier(board, {item.header.target for item in saved})
        for submission in saved:
            checked = _checked(submission, trial, board, earlier)
            if checked.faults:
                refused += checked.lines()
            else:
                (board.folder / checked.path).parent.mkdir(parents=True, exist_ok=True)
                (trial.folder / checked.path).rename(board.folder / checked.path)
                yield checked.path
    if refused:
        raise UserError("Not submitted. " + " ".join(refused))


def _suite_of(results: Results, board: Board) -> Suite:
    """Return the newest suite with the prompts of a task of the run; the newest if none has."""
    digests = {(facts["task"], facts["digest"]["test"]) for facts in results.data}
    for suite in board.suites.values():
        if digests & {(name, task.digest) for name, task in suite.tasks.items()}:
            return suite
    return board.suite


def _checked(submission: Submission, trial: Board, board: Board, earlier: Earlier) -> Checked:
    """Return a new submission with its faults, those beside the board's rows included."""
    if (board.folder / submission.place).exists():
        return Checked(submission.place, (Fault("duplicates", "it is there already"),))
    here = check_folder(trial, trial.folder / submission.place)
    if here.faults or here.submission is None:
        return here
    faults = tuple(Fault(*fault) for fault in earlier.faults_of(here.submission))
    return replace(here, faults=faults)


def _earlier(board: Board, targets: Collection[str]) -> Earlier:
    """Return the readable submissions of targets; that they are sound was checked before."""
    found = Earlier()
    for path, reason in board.submissions():
        if not reason and path.parent.parent.name in targets:
            with suppress(UserError):
                found.add(read_submission(path))
    return found
