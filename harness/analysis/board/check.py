"""Checks of a board: every submission by itself, then against the others; one line for each fault.

What no check can see, counts that were made up whole and add up, is why rows have a trust: see
`tables.trust_of`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from draftmark.analysis.board.board import RERUNS, Board
from draftmark.analysis.board.claims import claim_faults
from draftmark.analysis.board.counts import FILE, FIX
from draftmark.analysis.board.earlier import Earlier
from draftmark.analysis.board.submission import (
    FILES,
    Submission,
    check_files,
    check_keys,
    content_hash,
    read_submission,
)
from draftmark.errors import UserError
from draftmark.store.junit import JUnitCase
from draftmark.store.plain_files import NotPlain, read_plain
from draftmark.store.reading import explained
from draftmark.store.run_folder import RESULTS, SUMS, verified_file

_MOST_LINES = 20  # of a submission


@dataclass(frozen=True)
class Fault:
    """What is wrong with a submission: the name of the check, and one sentence."""

    check: str
    text: str


@dataclass(frozen=True)
class Checked:
    """A path below the submissions with its faults; `submission` is None if it cannot be read."""

    path: str
    faults: tuple[Fault, ...] = ()
    submission: Submission | None = None

    def lines(self) -> list[str]:
        """Return a line for each fault; one that says OK without faults."""
        if not self.faults:
            return [f"OK       {self.path}"]
        found = [f"REFUSED  {self.path}: {fault.check}: {fault.text}" for fault in self.faults]
        if more := len(found) - _MOST_LINES:
            found[_MOST_LINES:] = [f"REFUSED  {self.path}: and {more} more faults"] * (more > 0)
        return found

    def test_case(self) -> JUnitCase:
        """Return the submission as a case of a test suite."""
        if not self.faults:
            return JUnitCase("submissions", self.path)
        text = "; ".join(f"{fault.check}: {fault.text}" for fault in self.faults)
        return JUnitCase("submissions", self.path, "failure", self.faults[0].check, text)


class _BadHash(UserError):
    """A file, or a folder, that is not what its hash says."""


def check_board(board: Board) -> list[Checked]:
    """Return every submission of a board with its faults, those against other rows included."""
    found = [
        Checked(_inside(path, board), (Fault("files", f"it {reason}"),))
        if reason
        else check_folder(board, path)
        for path, reason in board.submissions()
    ]
    return against_others(found, board.ages())


def check_reruns(board: Board) -> list[Checked]:
    """Return the maintainers' runs with their faults; a run with faults lends no trust to a row."""
    return [replace(one, path=f"{RERUNS}/{one.path}") for one in check_board(board.reruns)]


def check_folder(board: Board, folder: Path) -> Checked:
    """Return a submission with the faults that it has by itself."""
    name = _inside(folder, board)
    try:
        check_files(folder)
        _check_hashes(folder)
        submission = read_submission(folder)
        with explained(folder / RESULTS, FIX):
            check_keys(folder, submission.results)
            faults = [Fault(*found) for found in claim_faults(submission, board, folder)]
    except UserError as error:
        check = {NotPlain: "files", _BadHash: "hashes"}.get(type(error), "schema")
        text = str(error).replace(f"{folder}/", "").replace(str(folder), "the folder")
        return Checked(name, (Fault(check, text),))
    return Checked(name, tuple(faults), submission)


def _inside(path: Path, board: Board) -> str:
    return path.relative_to(board.folder).as_posix()


def _check_hashes(folder: Path) -> None:
    """Raise _BadHash unless the files are what the checksums say, and the folder's name too."""
    lines = read_plain(folder / SUMS, FILES[SUMS]).decode("utf-8", "replace").splitlines()
    hashed = [line.partition("  ")[2] for line in lines]
    for name in (RESULTS, FILE):
        if name not in hashed:
            raise _BadHash(f"{SUMS} has no hash of {name}")
        try:
            verified_file(folder, name)
        except UserError as error:
            raise _BadHash(f"{name} is not what {SUMS} says: it was changed") from error
    if len(lines) > 2:
        raise _BadHash(f"{SUMS} has more lines than those of {RESULTS} and {FILE}")
    if (found := content_hash(folder)) != folder.name:
        raise _BadHash(f"the folder must be named {found}, the hash of what it holds")


def against_others(found: Sequence[Checked], ages: Mapping[str, int]) -> list[Checked]:
    """Return submissions with what is wrong beside earlier ones; those without an age are last."""
    sound = {one.path: one.submission for one in found if one.submission and not one.faults}

    def order(path: str) -> tuple[float, str, str]:
        return ages.get(path, math.inf), sound[path].header.date, path

    earlier = Earlier()
    more = {
        path: tuple(Fault(*fault) for fault in earlier.faults_of(sound[path]))
        for path in sorted(sound, key=order)
    }
    return [replace(one, faults=(*one.faults, *more.get(one.path, ()))) for one in found]
