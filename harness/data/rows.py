"""The rows of a task from the hub, a data directory, or the project's own samples.

Rows enter a run's keys by their content, so the same rows have the same results, whatever their
source. An example's id holds its row's number, which counts all rows of the source.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from draftmark.data.sources import DATA_VARIABLE, READERS, RawSplit, Unavailable, data_folder
from draftmark.errors import UserError
from draftmark.progress import Progress
from draftmark.store.graph import json_digest
from draftmark.types import Example, Row, Split, Task

MISSING = "not here: "  # prefix of the digest of rows that a plan lacks


class NoSource(UserError):
    """No source has a task's rows."""


@dataclass(frozen=True)
class Rows:
    """The examples of one split, and their source."""

    examples: tuple[Example, ...]
    source: str  # "samples", "directory", or "hub openai/gsm8k@cc7b047"
    left_out: Mapping[str, int] = field(default_factory=dict)  # reason -> number of rows
    malformed: tuple[str, ...] = ()  # "place: reason" of each malformed row
    missing: str = ""  # the name of the rows, if a plan lacks them
    hub_facts: Mapping[str, Any] = field(default_factory=dict)  # see `hub_rows.HubSplit`
    passed_over: tuple[str, ...] = ()  # "source: reason" of sources that did not have the rows

    def first(self, count: int | None) -> "Rows":
        """Return the first rows; all, if count is None."""
        return replace(self, examples=self.examples[:count])

    @property
    def num_read(self) -> int:
        """The number of all rows that were read."""
        return len(self.examples) + sum(self.left_out.values()) + len(self.malformed)

    @property
    def digest(self) -> str:
        """A hash of the content of all examples."""
        if self.missing:
            return MISSING + self.missing
        return json_digest(
            [[item.id, item.messages, item.reference, item.meta] for item in self.examples]
        )


def load_rows(
    task: Task,
    split: Split,
    count: int,
    *,
    sources: Sequence[str],
    directory: Path | None = None,
    progress: Progress | None = None,
) -> Rows:
    """Return the first `count` examples of one split; see `load_splits`."""
    found = load_splits(
        task, {split: count}, sources=sources, directory=directory, progress=progress
    )
    return found[split]


def load_splits(
    task: Task,
    counts: Mapping[Split, int],
    *,
    sources: Sequence[str],
    directory: Path | None = None,
    progress: Progress | None = None,
) -> dict[Split, Rows]:
    """Return the first examples of each split, from the first source that has all splits.

    Rows that the task leaves out are skipped and counted. `progress` shows what is fetched from the
    hub; without it, rows of the hub come from the cache alone. Raises UserError if no source has
    the splits (with the reason of each), if there are fewer examples than asked for, if a row
    before the last one taken is malformed (with file and line), or if a cached file is damaged and
    cannot be fetched again.
    """
    found = read_splits(task, list(counts), sources=sources, directory=directory, progress=progress)
    rows = {split: parse_rows(task, split, found[split], count) for split, count in counts.items()}
    for split, item in rows.items():
        if item.malformed:
            raise UserError(f"{item.malformed[0]}; fix the row.")
        if len(item.examples) < counts[split]:
            skipped = f", {describe_left_out(item.left_out)}" if item.left_out else ""
            raise UserError(
                f"{task.name} has {len(item.examples)} rows in its {split} split ({item.source}"
                f"{skipped}), but {counts[split]} are needed; lower data.{split}_rows in the "
                "recipe."
            )
    return rows


def read_splits(
    task: Task,
    splits: Sequence[Split],
    *,
    sources: Sequence[str],
    directory: Path | None = None,
    progress: Progress | None = None,
) -> dict[Split, RawSplit]:
    """Return the raw splits of the first source that has all; raises NoSource with the reasons."""
    reasons: list[str] = []
    for source in sources:
        try:
            found = READERS[source](task, splits, directory, progress)
        except Unavailable as error:
            reasons.append(f"{source}: {error}")
        else:
            passed = tuple(reasons)
            return {split: replace(raw, passed_over=passed) for split, raw in found.items()}
    place = f"{data_folder(task)}/{splits[0]}.jsonl.gz"
    fix = f" Set --data or {DATA_VARIABLE} to a folder with {place}."
    raise NoSource(
        f"No source has the {', '.join(splits)} rows of {task.name!r}. Tried {'; '.join(reasons)}."
        + (fix if "directory" in sources else "")
    )


def parse_rows(task: Task, split: Split, raw: RawSplit, count: int | None = None) -> Rows:
    """Return the first `count` examples (None: all), and the faulty rows before the last one."""
    examples: list[Example] = []
    left_out: Counter[str] = Counter()
    malformed: list[str] = []
    for index, item in enumerate(raw.items):
        if len(examples) == count:
            break
        try:
            row = _parse_row(task, f"{task.name}/{split}/{index}", raw.parse(item))
        except ValueError as error:
            malformed.append(f"{raw.place(index)}: {error}")
            continue
        if isinstance(row, Example):
            examples.append(row)
        else:
            left_out[row] += 1
    return Rows(
        tuple(examples),
        raw.source,
        dict(left_out),
        tuple(malformed),
        hub_facts=raw.hub_facts,
        passed_over=raw.passed_over,
    )


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """Return "3 left out (2 empty output, 1 <nooutput>)", or "0 left out"."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return f"{sum(left_out.values())} left out" + (f" ({reasons})" if reasons else "")


def _parse_row(task: Task, example_id: str, row: Row) -> Example | str:
    """Return a row's example or the reason to leave it out; raises ValueError if malformed."""
    missing = [name for name in task.columns if not isinstance(row.get(name), str)]
    if missing:
        raise ValueError(f"no text in column {missing[0]!r}")
    if reason := task.left_out(row):
        return reason
    empty = [name for name in task.columns if not row[name].strip()]
    if empty:
        raise ValueError(f"column {empty[0]!r} is empty")
    return task.to_example(example_id, row)
