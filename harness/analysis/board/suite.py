"""Suites of a board: frozen prompts by row id and hash, temperatures, block lengths and rules.

Rows of a suite pair across submitters and years. A suite never changes: other prompts are another
suite, with another name and another table.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field

from draftmark.data.rows import Rows, load_rows
from draftmark.data.sources import READERS
from draftmark.errors import UserError, unknown_name_error
from draftmark.registry import find_registered
from draftmark.store.graph import json_digest
from draftmark.store.plain_files import read_plain
from draftmark.store.reading import adapter, explained
from draftmark.text import printable_text
from draftmark.types import MAX_GAMMA, Verification

MAX_BYTES = 4_000_000  # of a suite's file
# The name of a folder: letters, digits, "_", "-" and single dots.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
_FOLDER = "draftmark.analysis.board"
_Gamma = Annotated[int, Field(ge=1, le=MAX_GAMMA)]
_Temperature = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class SuiteTask:
    """The test prompts of a task: their hash as rows of a run, and the hash of each by its id."""

    version: int
    digest: str
    prompts: Mapping[str, str]


@dataclass(frozen=True)
class Suite:
    """What every row of a suite was measured on; `gamma` is the block length that ranks rows."""

    name: str
    temperatures: tuple[_Temperature, ...]
    gammas: tuple[_Gamma, ...]
    gamma: _Gamma
    verifications: tuple[Verification, ...]
    tasks: Mapping[str, SuiteTask]

    @property
    def digest(self) -> str:
        """A hash of all that the suite fixes."""
        return json_digest(asdict(self))


def freeze_suite(name: str, rows: Mapping[str, tuple[int, Rows]]) -> Suite:
    """Return the suite of test rows by task, each with the version of its task."""
    tasks = {
        task: SuiteTask(
            version,
            found.digest,
            {item.id: replace(found, examples=(item,)).digest for item in found.examples},
        )
        for task, (version, found) in rows.items()
    }
    return Suite(name, (0.0, 1.0), (2, 4, 8), 4, ("standard", "block"), tasks)


def freeze_tasks(
    name: str, tasks: Sequence[str], count: int, source: str, directory: Path | None = None
) -> Suite:
    """Return the suite of the first test rows of tasks.

    Raises UserError for an unknown source, for a name that is none of a folder, and as `load_rows`.
    """
    if source not in READERS:
        raise unknown_name_error("source", source, READERS)
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name of a suite; use letters, digits, '-', '_' and '.'.")
    rows = {}
    for task in (find_registered("tasks", item) for item in tasks):
        found = load_rows(task, "test", count, sources=[source], directory=directory)
        rows[task.name] = (task.version, found)
    return freeze_suite(name, rows)


def suite_text(suite: Suite) -> str:
    """Return the text of a suite's file, a line for each prompt."""
    return json.dumps(asdict(suite), indent=0) + "\n"


def suite_names() -> list[str]:
    """Return the sorted names of the suites that come with draftmark."""
    folder = resources.files(_FOLDER) / "suites"
    return sorted(
        item.name.removesuffix(".json") for item in folder.iterdir() if item.name.endswith(".json")
    )


@cache
def shipped_suite(name: str) -> Suite:
    """Return a suite that comes with draftmark; raises UserError for an unknown name."""
    if name not in suite_names():
        raise unknown_name_error("suite", name, suite_names())
    text = (resources.files(_FOLDER) / "suites" / f"{name}.json").read_bytes()
    suite: Suite = adapter(Suite).validate_json(text)
    return suite


def read_suite(path: Path) -> Suite:
    """Return the suite in a file; raises UserError if the file is malformed."""
    with explained(path, "fix the suite, or name another"):
        suite: Suite = adapter(Suite).validate_json(read_plain(path, MAX_BYTES))
        if suite.gamma not in suite.gammas:
            raise ValueError(f"gamma {suite.gamma} is not among its gammas")
        if not (suite.temperatures and suite.verifications and suite.tasks):
            raise ValueError("it has no temperature, no rule of verification or no task")
        if not NAME.fullmatch(suite.name):
            raise ValueError(f"its name {printable_text(suite.name, 80)!r} is none of a folder")
        if any(len(task.prompts) < 2 for task in suite.tasks.values()):
            raise ValueError("a task has fewer than two prompts, which have no interval")
    if suite.name in suite_names():
        raise UserError(f"{path} has the name of a suite that comes with draftmark; rename it.")
    return suite
