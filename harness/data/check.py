"""What a data set's rows are like before a run meets them: `draftmark data check`.

Every row of every split is judged as a run would judge it. A malformed row is an error; rows left
out by the task's rule, questions that a split repeats and questions that two splits share are said.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from draftmark import registry
from draftmark.data.leaks import Overlap, normal, overlaps, question
from draftmark.data.rows import LeftOut, Malformed, Rows, describe, judged, read_splits
from draftmark.data.sources import DATA_VARIABLE, RawSplit, data_directory, data_folder
from draftmark.errors import UserError
from draftmark.types import Example, Split, Task


@dataclass(frozen=True)
class SplitCheck:
    """What the rows of one split are."""

    rows: Rows
    malformed: tuple[Malformed, ...]

    @property
    def examples(self) -> tuple[Example, ...]:
        """The rows that are examples."""
        return self.rows.examples

    @property
    def read(self) -> int:
        """The number of rows there are."""
        return len(self.rows.examples) + sum(self.rows.left_out.values()) + len(self.malformed)

    @property
    def repeated(self) -> int:
        """The number of examples that ask what an earlier one asked."""
        asked = {normal(question(item)) for item in self.rows.examples}
        return len(self.rows.examples) - len(asked)


@dataclass(frozen=True)
class TaskCheck:
    """What the rows of a task are, and how many questions two splits share."""

    name: str
    splits: Mapping[Split, SplitCheck]
    shared: Mapping[tuple[Split, Split], Overlap]  # questions of the second in the first

    @property
    def malformed(self) -> int:
        """The number of malformed rows in all splits."""
        return sum(len(split.malformed) for split in self.splits.values())

    def lines(self) -> Iterator[str]:
        """Yield what there is to say, a line each."""
        for name, split in self.splits.items():
            yield (
                f"{self.name:8} {name:10} {split.rows.source}: {split.read} rows, "
                f"{len(split.rows.examples)} examples, {describe(split.rows.left_out)}, "
                f"{len(split.malformed)} malformed, {split.repeated} repeated"
            )
            yield from (f"  {bad.place}: {bad.reason}; mend the row." for bad in split.malformed)
        for (first, second), found in self.shared.items():
            yield (
                f"{self.name:8} of {found.test_rows} {second} questions {found.duplicates} are in "
                f"{first}, {found.copied} with those copied for the most part"
            )


def check_all(names: Sequence[str] | None, directory: Path | None) -> Iterator[TaskCheck]:
    """Yield the check of some tasks, by default of all that have rows there.

    Rows of the data directory if one is named, here or in the environment, else of the project's
    own samples. Raises UserError for an unknown task, one that is named and has no rows, a file
    that does not read, or if there is nothing to check.
    """
    tasks: list[Task] = [registry.find("tasks", name) for name in names or registry.names("tasks")]
    named = directory or data_directory()
    if not names:
        tasks = [
            task
            for task in tasks
            if (named / data_folder(task) if named else task.samples).is_dir()
        ]
    if not tasks:
        raise UserError(
            f"There are no rows of any task in {named}; name another folder by --data or "
            f"{DATA_VARIABLE}."
        )
    for task in tasks:
        yield check(task, sources=["directory" if named else "samples"], directory=named)


def check(task: Task, *, sources: Sequence[str], directory: Path | None = None) -> TaskCheck:
    """Return the check of all splits of a task.

    Raises UserError if no source has them or a file does not read.
    """
    found = read_splits(task, list(task.hub.splits), sources=sources, directory=directory)
    splits = {name: _check(task, name, raw) for name, raw in found.items()}
    shared = {
        (first, second): overlaps({first: splits[first].examples}, splits[second].examples)[0]
        for first, second in combinations(splits, 2)
        if splits[second].examples
    }
    return TaskCheck(task.name, splits, shared)


def _check(task: Task, split: Split, raw: RawSplit) -> SplitCheck:
    examples: list[Example] = []
    left_out: Counter[str] = Counter()
    malformed: list[Malformed] = []
    for row in judged(task, split, raw):
        if isinstance(row, Malformed):
            malformed.append(row)
        elif isinstance(row, LeftOut):
            left_out[row.reason] += 1
        else:
            examples.append(row)
    return SplitCheck(Rows(tuple(examples), raw.source, dict(left_out)), tuple(malformed))
