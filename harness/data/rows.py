"""The rows of a task from the hub, a data directory, or the project's own samples.

Rows enter a run's keys by their content, so the same rows have the same results, whatever their
source. An example's id counts all rows of the source, also those that are left out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from draftmark.data.sources import DATA_VARIABLE, READERS, RawSplit, Unavailable, data_folder
from draftmark.errors import UserError
from draftmark.store.graph import digest
from draftmark.types import Example, Row, Split, Task

MISSING = "not here: "  # the start of the digest of rows that a plan does without


class NoSource(UserError):
    """No source has a task's rows."""


@dataclass(frozen=True)
class Rows:
    """The examples of one split, and their source."""

    examples: tuple[Example, ...]
    source: str  # "samples", "directory", or "hub openai/gsm8k@cc7b047"
    left_out: Mapping[str, int] = field(default_factory=dict)  # reason -> number of rows
    missing: str = ""  # the name of rows that a plan does without

    def first(self, count: int | None) -> "Rows":
        """Return the first rows; all, if count is None."""
        return replace(self, examples=self.examples[:count])

    @property
    def digest(self) -> str:
        """A hash of the content of all examples."""
        if self.missing:
            return MISSING + self.missing
        return digest(
            [[item.id, item.messages, item.reference, item.meta] for item in self.examples]
        )


@dataclass(frozen=True)
class LeftOut:
    """A row that is left out by the task's own rule."""

    reason: str


@dataclass(frozen=True)
class Malformed:
    """A row that does not fit the task's columns."""

    place: str
    reason: str


def load_rows(
    task: Task, split: Split, count: int, *, sources: Sequence[str], directory: Path | None = None
) -> Rows:
    """Return the first `count` examples of one split; see `load_splits`."""
    return load_splits(task, {split: count}, sources=sources, directory=directory)[split]


def load_splits(
    task: Task,
    counts: Mapping[Split, int],
    *,
    sources: Sequence[str],
    directory: Path | None = None,
) -> dict[Split, Rows]:
    """Return the first examples of each split, from the first source that has all splits.

    Rows that the task leaves out are skipped and counted. Raises UserError if no source has the
    splits (with the reason of each), if there are fewer examples than asked for, or if a row before
    the last one taken is malformed (with file and line).
    """
    found = read_splits(task, list(counts), sources=sources, directory=directory)
    return {split: _rows(task, split, count, found[split]) for split, count in counts.items()}


def read_splits(
    task: Task, splits: Sequence[Split], *, sources: Sequence[str], directory: Path | None = None
) -> dict[Split, RawSplit]:
    """Return the raw splits of the first source that has all of them.

    Raises NoSource, with the reason of each source, if none has.
    """
    reasons = []
    for source in sources:
        try:
            return {split: READERS[source](task, split, directory) for split in splits}
        except Unavailable as error:
            reasons.append(f"{source}: {error}")
    raise NoSource(
        f"No source has the {', '.join(splits)} rows of {task.name!r}. Tried "
        f"{'; '.join(reasons)}. Set a folder with {data_folder(task)}/{splits[0]}.jsonl.gz in it "
        f"by --data or {DATA_VARIABLE}."
    )


def judged(task: Task, split: Split, raw: RawSplit) -> Iterator[Example | LeftOut | Malformed]:
    """Yield each row as an example, left out, or malformed, in order."""
    for index, item in enumerate(raw.items):
        try:
            yield _example(task, f"{task.name}/{split}/{index}", raw.parse(item))
        except ValueError as error:
            yield Malformed(raw.place(index), str(error))


def describe(left_out: Mapping[str, int]) -> str:
    """Return "3 left out (2 empty output, 1 <nooutput>)", or "0 left out"."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return f"{sum(left_out.values())} left out" + (f" ({reasons})" if reasons else "")


def _rows(task: Task, split: Split, count: int, raw: RawSplit) -> Rows:
    examples: list[Example] = []
    left_out: Counter[str] = Counter()
    for row in judged(task, split, raw):
        if len(examples) == count:
            break
        if isinstance(row, Malformed):
            raise UserError(f"{row.place}: {row.reason}; fix the row.")
        if isinstance(row, LeftOut):
            left_out[row.reason] += 1
        else:
            examples.append(row)
    if len(examples) < count:
        raise UserError(
            f"{task.name} has {len(examples)} rows in its {split} split ({raw.source}"
            f"{', ' + describe(left_out) if left_out else ''}), but {count} are needed; lower "
            f"data.{split}_rows in the recipe."
        )
    return Rows(tuple(examples), raw.source, dict(left_out))


def _example(task: Task, example_id: str, row: Row) -> Example | LeftOut:
    """Return the example of a row, or the reason to leave it out; ValueError if malformed."""
    missing = [name for name in task.columns if not isinstance(row.get(name), str)]
    if missing:
        raise ValueError(f"no text in column {missing[0]!r}")
    if reason := task.left_out(row):
        return LeftOut(reason)
    empty = [name for name in task.columns if not row[name].strip()]
    if empty:
        raise ValueError(f"column {empty[0]!r} is empty")
    return task.to_example(example_id, row)
