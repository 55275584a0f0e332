"""The rows of a task from the hub, a data directory, or the project's own samples.

Rows enter a run's keys by their content, so the same rows have the same results, whatever their
source. An example's id holds its row's number, which counts all rows of the source.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from draftmark.data.row_files import RawSplit
from draftmark.data.sources import (
    DATA_VARIABLE,
    READERS,
    Unavailable,
    data_folder,
    own_rows,
)
from draftmark.errors import UserError
from draftmark.progress import Progress
from draftmark.store.graph import json_digest
from draftmark.types import Example, Row, Split, Task, conversation_of

MISSING = "not here: "  # prefix of the digest of rows that a plan lacks


class NoSource(UserError):
    """No source has a task's rows."""


@dataclass(frozen=True)
class Rows:
    """The examples of one split, and their source; a row has one, or one for each turn."""

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

    def first_turns(self) -> "Rows":
        """Return the rows without the later turns of conversations."""
        first = tuple(example for example in self.examples if not example.follows)
        return replace(self, examples=first)

    @property
    def categories(self) -> dict[str, str]:
        """The category of each conversation by its id; "" for none."""
        return {conversation_of(one.id): one.category for one in self.examples}

    @property
    def num_rows(self) -> int:
        """The number of rows that the examples are of."""
        return sum(not example.follows for example in self.examples)

    @property
    def num_read(self) -> int:
        """The number of all rows that were read."""
        return self.num_rows + sum(self.left_out.values()) + len(self.malformed)

    @property
    def digest(self) -> str:
        """A hash of the content of all examples.

        Fields added later are omitted at their default, so old keys stay valid.
        """
        if self.missing:
            return MISSING + self.missing
        return json_digest([_content(item) for item in self.examples])


def _content(item: Example) -> list[Any]:
    added = [item.category, item.follows] if item.category or item.follows else []
    return [item.id, item.messages, item.reference, item.meta, *added]


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
    """Return the examples of the first rows of each split, from the first source that has all.

    Rows that the task leaves out are skipped and counted. `progress` shows what is fetched from the
    hub; without it, rows of the hub come from the cache alone. Raises UserError if no source has
    the splits (with the reason of each), if there are fewer rows than asked for, if rows before the
    last one taken are malformed (with file, line and count), or if a cached file is damaged and
    cannot be fetched again.
    """
    found = read_splits(task, list(counts), sources=sources, directory=directory, progress=progress)
    rows = {split: parse_rows(task, split, found[split], count) for split, count in counts.items()}
    for split, item in rows.items():
        if item.malformed:
            raise UserError(next(describe_faults(item.malformed)))
        if item.num_rows < counts[split]:
            skipped = f", {describe_left_out(item.left_out)}" if item.left_out else ""
            raise UserError(
                f"{task.name} has {item.num_rows} rows in its {split} split ({item.source}"
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
    """Return the raw splits of the task's own files or function, else of the first source.

    Raises NoSource with the reasons if no source has all splits.
    """
    if own := own_rows(task, splits):
        return own
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
    """Return the examples of the first `count` rows (None: all), and the faulty rows between."""
    examples: list[Example] = []
    left_out: Counter[str] = Counter()
    malformed: list[str] = []
    formats: dict[str, None] = {}
    taken = 0
    for index, item in enumerate(raw.items):
        if taken == count:
            break
        try:
            row = task.layout(raw.parse(item))
            found = _parse_row(task, f"{task.name}/{split}/{index}", row)
        except ValueError as error:
            malformed.append(f"{raw.place(index)}: {error}")
            continue
        if isinstance(found, str):
            left_out[found] += 1
            continue
        taken += 1
        examples += found
        if task.format_of:
            formats[task.format_of(row)] = None
    return Rows(
        tuple(examples),
        raw.source + (f", format {' and '.join(formats)}" if formats else ""),
        dict(left_out),
        tuple(malformed),
        hub_facts=raw.hub_facts,
        passed_over=raw.passed_over,
    )


def describe_faults(malformed: Sequence[str]) -> Iterator[str]:
    """Yield a line for each reason, with the place of the first row and the number of others."""
    reasons = Counter(fault.partition(": ")[2] for fault in malformed)
    first = {fault.partition(": ")[2]: fault for fault in reversed(malformed)}
    for reason, count in reasons.items():
        more = f" (and {count - 1} more rows)" if count > 1 else ""
        yield f"{first[reason]}{more}; fix the row{'s' if count > 1 else ''}."


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """Return "3 left out (2 empty output, 1 <nooutput>)", or "0 left out"."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return f"{sum(left_out.values())} left out" + (f" ({reasons})" if reasons else "")


def _parse_row(task: Task, example_id: str, row: Row) -> Sequence[Example] | str:
    """Return a row's examples or the reason to leave it out; raises ValueError if malformed."""
    missing = [name for name in task.columns if not isinstance(row.get(name), str)]
    if missing:
        raise ValueError(f"no text in column {missing[0]!r}")
    no_list = [name for name in task.list_columns if not isinstance(row.get(name), list)]
    if no_list:
        raise ValueError(f"no list in column {no_list[0]!r}")
    if reason := task.left_out(row):
        return reason
    empty = [name for name in task.columns if not row[name].strip()]
    empty += [name for name in task.list_columns if not row[name]]
    if empty:
        raise ValueError(f"column {empty[0]!r} is empty")
    found = task.to_example(example_id, row)
    return [found] if isinstance(found, Example) else found
