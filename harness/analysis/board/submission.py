"""A submission: one draft's results, packed as a small run's folder without any text of prompts.

The folder is `submissions/<target>/<draft>/<hash>/` of a board. It has `results.json` (the rows of
one method, with recipe, data and manifest), the counts per prompt, and their checksums; the hash is
that of the checksums. Reports that need no records of a run render it like a run.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from draftmark.analysis.board.counts import (
    FILE,
    FIX,
    MAX_BYTES,
    Counts,
    quantities,
    read_counts,
    write_counts,
)
from draftmark.analysis.board.suite import NAME
from draftmark.analysis.quantities import Quantity
from draftmark.analysis.stored_runs import SUBMISSION
from draftmark.analysis.summary import pool_seeds, quantity_number
from draftmark.config.validation import Section
from draftmark.errors import UserError
from draftmark.results import Number, Results
from draftmark.store.plain_files import NotPlain, open_plain, read_plain
from draftmark.store.reading import adapter, explained
from draftmark.store.run_folder import RESULTS, SUMS, load_numbers, save_results
from draftmark.text import printable_text

FOLDER = "submissions"
FILES = {RESULTS: MAX_BYTES, FILE: MAX_BYTES, SUMS: 1000}  # the files, and their most bytes
LONGEST_NAME = 100
_HASH_DIGITS = 16


_Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$", max_length=LONGEST_NAME)]


class Header(Section):
    """What a submission says of itself, in its manifest."""

    format: Literal[1]
    suite: str
    suite_digest: str
    target: _Name
    draft: _Name
    date: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    draftmark: str
    machine: str = ""  # on which speeds were measured; empty without speeds
    engines: Mapping[str, str] = {}  # the version of each engine that measured speeds


@dataclass(frozen=True)
class Submission:
    """A row of a board: a draft of a target, on the tasks of a suite."""

    header: Header
    results: Results
    counts: Counts
    hash: str = ""

    @property
    def place(self) -> str:
        """The path of the folder in a board."""
        return f"{FOLDER}/{self.header.target}/{self.header.draft}/{self.hash}"

    @property
    def name(self) -> str:
        """Target and draft, which resubmissions share."""
        return f"{self.header.target}/{self.header.draft}"

    @property
    def when(self) -> tuple[str, str, str]:
        """The order of submissions in time: by date, then by the date of their commit."""
        return self.header.date, str(self.results.commit.get("date") or ""), self.hash

    @cached_property
    def cells(self) -> Mapping[str, Sequence[int]]:
        """The places of each task's rows among the results: one for each seed."""
        found: dict[str, list[int]] = {}
        for place, row in enumerate(self.results.results):
            found.setdefault(row.cell.task, []).append(place)
        return found

    @cached_property
    def data(self) -> Mapping[str, Mapping[str, Any]]:
        """The facts of each task's rows and target."""
        return {facts["task"]: facts for facts in self.results.data}

    @property
    def target_digest(self) -> str:
        """The hash of the target's files."""
        return str(next((facts["target_digest"] for facts in self.results.data), ""))

    def text_digest(self, task: str, temperature: float) -> str:
        """Return the hash of the target's texts that a task's drafts were scored on."""
        row = self.results.results[self.cells[task][0]]
        return str(row.provenance.get("text_digests", {}).get(f"{temperature:g}", ""))

    @cached_property
    def seeds(self) -> Mapping[str, Mapping[int, Mapping[str, Quantity]]]:
        """The rates of each task by seed, computed from the counts."""
        rows = self.results.results
        return {
            task: dict(
                zip(
                    (rows[p].cell.seed for p in places),
                    quantities(self.counts, places),
                    strict=True,
                )
            )
            for task, places in self.cells.items()
        }

    @cached_property
    def numbers(self) -> Mapping[str, Mapping[str, Number]]:
        """The numbers of each task, pooled over its seeds, computed from the counts."""
        return {task: _pooled(list(seeds.values())) for task, seeds in self.seeds.items()}


def _pooled(seeds: Sequence[Mapping[str, Quantity]]) -> dict[str, Number]:
    if len(seeds) > 1:
        return pool_seeds(seeds)
    return {key: quantity_number(item) for key, item in seeds[0].items()}


def speed_engine(key: str) -> str:
    """Return the engine of a speedup's key; empty for the keys of other numbers."""
    name, _, terms = key.partition("[")
    engine = next((it for it in terms.rstrip("]").split(",") if it.startswith("engine=")), "")
    return engine.removeprefix("engine=") if name == "speedup" else ""


def folder_name(text: str) -> str:
    """Return a name as a folder's: of a path the last part, of a hub's name without the revision.

    Raises UserError if no letter or digit is left.
    """
    given = text.split("@")[0]
    short = Path(given).name if given.startswith(("/", ".", "~")) else given.replace("/", "--")
    found = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "-", short)).strip("-._")[
        :LONGEST_NAME
    ]
    if not NAME.fullmatch(found):
        raise UserError(f"{printable_text(text, 80)!r} leaves no name for a folder; use --name.")
    return found


def save_submission(submission: Submission, root: Path) -> Submission:
    """Write a submission below a board's folder; return it with the hash that its folder has."""
    new = root / FOLDER / submission.header.target / submission.header.draft / "new"
    (new / FILE).parent.mkdir(parents=True)
    write_counts(new / FILE, submission.counts)
    save_results(submission.results, new)
    named = replace(submission, hash=content_hash(new))
    new.rename(root / named.place)
    return named


def content_hash(directory: Path) -> str:
    """Return the hash that names a submission's folder: that of its checksums."""
    return hashlib.sha256(read_plain(directory / SUMS, FILES[SUMS])).hexdigest()[:_HASH_DIGITS]


def read_submission(directory: Path) -> Submission:
    """Return the submission in a folder.

    Raises NotPlain for links, other files, or sizes beyond the limits; UserError if a file is not
    what its hash says, or is malformed.
    """
    check_files(directory)
    results = load_numbers(directory)
    counts = read_counts(directory / FILE)
    with explained(directory / RESULTS, FIX):
        header: Header = adapter(Header).validate_python(results.manifest.get(SUBMISSION))
    return Submission(header, results, counts, directory.name)


def check_keys(directory: Path, results: Results) -> None:
    """Raise ValueError if a submission has a key twice, or a key that results do not have.

    Nobody checks what such a key holds, and readers of the file may take the other of two.
    """
    text = read_plain(directory / RESULTS, FILES[RESULTS])
    document = json.loads(text, object_pairs_hook=_once)
    for key in _unknown(document, asdict(results)):
        raise ValueError(f"results of this draftmark have no key {key!r}")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is there twice")
        found[key] = value
    return found


def _unknown(stored: Any, known: Any) -> Iterator[str]:
    """Yield the keys of a stored document that what was read of it does not have."""
    if isinstance(stored, Mapping):
        for key, value in stored.items():
            yield from _unknown(value, known[key]) if key in known else [key]
    elif isinstance(stored, list):
        for item, own in zip(stored, known, strict=True):
            yield from _unknown(item, own)


def check_files(directory: Path) -> None:
    """Raise NotPlain unless a folder has the files of a submission alone, each within its size."""
    found = set()
    for place, folders, files in os.walk(directory):
        for name in (*folders, *files):
            path = Path(place) / name
            inside = str(path.relative_to(directory))
            if path.is_symlink():
                raise NotPlain(f"{path} is a link; a submission has none.")
            if name in files:
                found.add(inside)
            elif inside != Path(FILE).parts[0]:
                raise NotPlain(f"{path} does not belong to a submission.")
    for name in sorted(found ^ FILES.keys()):
        what = "is missing" if name in FILES else "does not belong to a submission"
        raise NotPlain(f"{directory / name} {what}.")
    for name, most in FILES.items():
        with open_plain(directory / name) as file:
            size = os.fstat(file.fileno()).st_size
        if size > most:
            raise NotPlain(
                f"{directory / name} has {size / 1e6:.1f} MB; a submission's has {most / 1e6:g} MB "
                "at most: submit fewer seeds."
            )
