"""Checks the rows of a data set before a run: `draftmark data check`.

Every row of every split is read as a run would read it. A malformed row is an error. The check
counts rows that the task leaves out, repeated questions of a split, and questions of two splits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import get_args

from draftmark import registry
from draftmark.data.leaks import Overlap, find_overlaps, normalise_question, question_text
from draftmark.data.rows import (
    Rows,
    describe_faults,
    describe_left_out,
    parse_rows,
    read_splits,
)
from draftmark.data.sources import DATA_VARIABLE, READERS, data_directory, data_folder
from draftmark.errors import UserError, unknown_name_error
from draftmark.progress import Progress
from draftmark.types import Example, Split, Task


@dataclass(frozen=True)
class TaskCheck:
    """The checks of a task's splits, and the questions that two splits share."""

    name: str
    splits: Mapping[Split, Rows]
    shared: Mapping[tuple[Split, Split], Overlap]  # the second split's questions in the first

    @property
    def malformed(self) -> int:
        """The number of malformed rows of all splits."""
        return sum(len(rows.malformed) for rows in self.splits.values())

    def lines(self) -> Iterator[str]:
        """Yield the lines that the command prints."""
        for name, rows in self.splits.items():
            yield (
                f"{self.name:8} {name:10} {rows.source}: {rows.num_read} rows, "
                f"{len(rows.examples)} examples, {describe_left_out(rows.left_out)}, "
                f"{len(rows.malformed)} malformed, {count_repeated(rows.examples)} repeated"
            )
            yield from (f"  {line}" for line in describe_faults(rows.malformed))
        for (first, second), found in self.shared.items():
            yield (
                f"{self.name:8} {second}: of {found.test_rows} questions, {first} has "
                f"{found.duplicates}, and {found.copied} if mostly copied ones count"
            )


def check_tasks(
    names: Sequence[str] | None,
    directory: Path | None,
    *,
    source: str | None = None,
    progress: Progress | None = None,
) -> Iterator[TaskCheck]:
    """Yield the checks of the named tasks [default: all tasks that have rows].

    The rows come from `source`, by default the data directory, if an argument or the environment
    names one, else the project's samples. `progress` shows what is fetched from the hub. Raises
    UserError for an unknown source or task, a named task without rows, an unreadable file, or if no
    task has rows.
    """
    named = directory or data_directory()
    chosen = source or ("directory" if named else "samples")
    if chosen not in READERS:
        raise unknown_name_error("source", chosen, READERS)
    for task in _tasks_with_rows(names, chosen, named):
        yield check_task(task, sources=[chosen], directory=named, progress=progress)


def _tasks_with_rows(names: Sequence[str] | None, source: str, named: Path | None) -> list[Task]:
    """Return the named tasks, or all that have a folder in the source; the hub has all."""
    tasks: list[Task] = [
        registry.find_registered("tasks", name)
        for name in names or registry.registered_names("tasks")
    ]
    if names or source == "hub":
        return tasks
    found = [task for task in tasks if _has_rows(task, named if source == "directory" else None)]
    if not found:
        raise UserError(
            f"{named} has no rows of any task; name another folder with --data or {DATA_VARIABLE}."
        )
    return found


def _has_rows(task: Task, named: Path | None) -> bool:
    """True if a task has files or a function of its own, or a folder in the source."""
    folder = named / data_folder(task) if named else task.samples
    return bool(task.files or task.rows or (folder and folder.is_dir()))


def _splits_of(task: Task, sources: Sequence[str], directory: Path | None) -> list[Split]:
    """Return the splits that a task has: of its files, its data set, or the files of a folder."""
    if task.files or task.hub:
        return list(task.files or (task.hub.splits if task.hub else ()))
    named = directory or data_directory()
    folder = named / data_folder(task) if "directory" in sources and named else task.samples
    found = [split for split in get_args(Split) if folder and any(folder.glob(f"{split}.jsonl*"))]
    return found or ["test"]


def check_task(
    task: Task,
    *,
    sources: Sequence[str],
    directory: Path | None = None,
    progress: Progress | None = None,
) -> TaskCheck:
    """Return the check of all splits; raises UserError for missing splits, unreadable files."""
    found = read_splits(
        task,
        _splits_of(task, sources, directory),
        sources=sources,
        directory=directory,
        progress=progress,
    )
    splits = {name: parse_rows(task, name, raw) for name, raw in found.items()}
    shared = {
        (first, second): find_overlaps({first: splits[first].examples}, splits[second].examples)[0]
        for first, second in combinations(splits, 2)
        if splits[second].examples
    }
    return TaskCheck(task.name, splits, shared)


def count_repeated(examples: Sequence[Example]) -> int:
    """Return the number of examples that repeat the question of an earlier one."""
    return len(examples) - len({normalise_question(question_text(example)) for example in examples})
