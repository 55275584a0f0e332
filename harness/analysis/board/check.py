"""Checks of a board: every submission by itself, then against the others; one line for each fault.

What no check can see, counts that were made up whole and add up, is why rows have a trust: see
`tables.trust_of`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from draftmark.analysis.board.board import Board
from draftmark.analysis.board.claims import claim_faults
from draftmark.analysis.board.counts import FIX
from draftmark.analysis.board.submission import (
    FILES,
    Submission,
    check_files,
    content_hash,
    read_submission,
)
from draftmark.analysis.count_columns import COUNTED
from draftmark.errors import UserError
from draftmark.store.junit import JUnitCase
from draftmark.store.plain_files import NotPlain
from draftmark.store.reading import explained
from draftmark.store.run_folder import RESULTS, SUMS, recorded_hash, verified_file

_DIGITS = 6  # of counts that are compared with another submission's


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
        faults = [f"REFUSED  {self.path}: {fault.check}: {fault.text}" for fault in self.faults]
        return faults or [f"OK       {self.path}"]

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
    return against_others(found)


def check_folder(board: Board, folder: Path) -> Checked:
    """Return a submission with the faults that it has by itself."""
    name = _inside(folder, board)
    try:
        check_files(folder)
        _check_hashes(folder)
        submission = read_submission(folder)
        with explained(folder / RESULTS, FIX):
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
    for name in FILES.keys() - {SUMS}:
        if recorded_hash(folder, name) is None:
            raise _BadHash(f"{SUMS} has no hash of {name}")
        try:
            verified_file(folder, name)
        except UserError as error:
            raise _BadHash(f"{name} is not what {SUMS} says: it was changed") from error
    if (found := content_hash(folder)) != folder.name:
        raise _BadHash(f"the folder must be named {found}, the hash of what it holds")


def against_others(found: Sequence[Checked]) -> list[Checked]:
    """Return submissions with what is wrong beside earlier ones: copies, and texts that differ."""
    sound = [(one.submission, one.path) for one in found if one.submission and not one.faults]
    seen: dict[str, Submission] = {}
    lengths: dict[tuple[str, str], tuple[Any, Submission]] = {}
    more = {
        path: (*_copies(submission, seen), *_other_lengths(submission, lengths))
        for submission, path in sorted(sound, key=lambda pair: (pair[0].header.date, pair[1]))
    }
    return [replace(one, faults=(*one.faults, *more.get(one.path, ()))) for one in found]


def _copies(submission: Submission, seen: dict[str, Submission]) -> Iterator[Fault]:
    """Yield a fault for an earlier submission with the same counts, unless other versions made it.

    The same draft may be measured again with a new engine or library, and have the same counts.
    """
    others: dict[str, Submission] = {}
    for task in submission.cells:
        mark = _mark(submission, task)
        if (other := seen.setdefault(mark, submission)) is not submission:
            others.setdefault(other.place, other)
    for place, other in others.items():
        if other.name != submission.name:
            yield Fault("duplicates", f"its counts are those of {place}, under another name")
        elif _made_with(other) == _made_with(submission):
            yield Fault("duplicates", f"it repeats {place}")


def _made_with(submission: Submission) -> Any:
    manifest = submission.results.manifest
    return manifest["versions"], manifest["git"], submission.header.suite


def _mark(submission: Submission, task: str) -> str:
    """Return a hash of a task's counts, which neither order nor the last digits change."""
    places = {place: number for number, place in enumerate(submission.cells[task])}
    digest = hashlib.sha256(f"{submission.target_digest} {task}".encode())
    own = [at for at in submission.counts if at.cell in places]
    for at in sorted(own, key=lambda at: (places[at.cell], *at[1:])):
        digest.update(f"{places[at.cell]} {at[1:]}".encode())
        for name in COUNTED:
            digest.update(np.round(submission.counts[at].columns[name], _DIGITS).tobytes())
    return digest.hexdigest()


def _other_lengths(
    submission: Submission, known: dict[tuple[str, str], tuple[Any, Submission]]
) -> Iterator[Fault]:
    """Yield texts that have other lengths than an earlier submission's texts of the same hash."""
    found: dict[tuple[str, str], Any] = {}
    for at, own in submission.counts.items():
        task = submission.results.results[at.cell].cell.task
        found[task, submission.text_digest(task, at.temperature)] = own.columns["tokens"]
    for key, tokens_B in found.items():
        theirs_B, other = known.setdefault(key, (tokens_B, submission))
        if not np.array_equal(theirs_B, tokens_B):
            text = f"{key[0]}: its texts have the hash of those of {other.place}, and other lengths"
            yield Fault("texts", text)
