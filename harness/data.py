"""Rows of a task from the hub, a data directory, or the project's own samples, always saying which.

A data directory holds `<task>/<split>.jsonl` or `.jsonl.gz` in the column names of the hub's data
set. Rows enter a run's keys by their content, so the same rows give the same results whichever
source they came from. An id counts the rows of the source, those that are left out included.
"""

import gzip
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import hub as hub_client
from harness.errors import UserError
from harness.graph import digest
from harness.types import Example, Row, Split, Task

DATA_VARIABLE = "DRAFTMARK_DATA"


@dataclass(frozen=True)
class Rows:
    """The examples of one split and where they came from."""

    examples: tuple[Example, ...]
    source: str  # "samples", "directory", or "hub openai/gsm8k@cc7b047"
    left_out: Mapping[str, int] = field(default_factory=dict)  # reason -> rows passed over

    @property
    def digest(self) -> str:
        """A hash of everything in the examples."""
        return digest(
            [[item.id, item.messages, item.reference, item.meta] for item in self.examples]
        )


@dataclass(frozen=True)
class RawSplit:
    """One split as it lies in its source: lines of a file or rows of the hub, not yet judged."""

    source: str
    items: Sequence[Any]
    parse: Callable[[Any], Row]  # raises ValueError
    place: Callable[[int], str]


@dataclass(frozen=True)
class LeftOut:
    """A row that is no example by the task's own rule."""

    reason: str


@dataclass(frozen=True)
class Malformed:
    """A row that is not what the task's columns promise."""

    place: str
    reason: str


class Unavailable(Exception):
    """A source cannot give the rows; the next one is tried."""


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
    """Return the first examples of each split, all from the first source that has all of them.

    Rows that the task leaves out by its rule are passed over and counted. Raises UserError if no
    source has the splits (with why for each), if there are fewer examples than asked for, or if a
    row before the last one taken is malformed (with the file and the line).
    """
    found = read_splits(task, list(counts), sources=sources, directory=directory)
    return {split: _rows(task, split, count, found[split]) for split, count in counts.items()}


def read_splits(
    task: Task, splits: Sequence[Split], *, sources: Sequence[str], directory: Path | None = None
) -> dict[Split, RawSplit]:
    """Return splits as they lie in the first source that has all of them.

    Raises UserError if none does, with why for each.
    """
    reasons = []
    for source in sources:
        try:
            return {split: _READERS[source](task, split, directory) for split in splits}
        except Unavailable as error:
            reasons.append(f"{source}: {error}")
    raise UserError(
        f"No source has the {', '.join(splits)} rows of {task.name!r}. Tried "
        f"{'; '.join(reasons)}. Name a folder with {task.data_folder}/{splits[0]}.jsonl.gz in "
        f"it by --data or {DATA_VARIABLE}."
    )


def judged(task: Task, split: Split, raw: RawSplit) -> Iterator[Example | LeftOut | Malformed]:
    """Yield what each row is, in order."""
    for index, item in enumerate(raw.items):
        try:
            yield _example(task, f"{task.name}/{split}/{index}", raw.parse(item))
        except ValueError as error:
            yield Malformed(raw.place(index), str(error))


def describe(left_out: Mapping[str, int]) -> str:
    """Return "3 left out (2 empty output, 1 <nooutput>)", or "0 left out"."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return f"{sum(left_out.values())} left out" + (f" ({reasons})" if reasons else "")


def overlap(first: Rows, second: Rows) -> int:
    """Return how many examples of `second` ask exactly what some example of `first` asks."""
    asked = {question(example) for example in first.examples}
    return sum(question(example) in asked for example in second.examples)


def question(example: Example) -> str:
    """Return what an example asks, with every run of spaces as one."""
    return " ".join(example.messages[-1]["content"].split())


def _rows(task: Task, split: Split, count: int, raw: RawSplit) -> Rows:
    examples: list[Example] = []
    left_out: Counter[str] = Counter()
    for row in judged(task, split, raw):
        if len(examples) == count:
            break
        if isinstance(row, Malformed):
            raise UserError(f"{row.place}: {row.reason}; mend the row.")
        if isinstance(row, LeftOut):
            left_out[row.reason] += 1
        else:
            examples.append(row)
    if len(examples) < count:
        raise UserError(
            f"{task.name} has {len(examples)} rows in its {split} split ({raw.source}"
            f"{', ' + describe(left_out) if left_out else ''}), {count} are asked for; lower "
            f"data.{split}_rows in the recipe."
        )
    return Rows(tuple(examples), raw.source, dict(left_out))


def _example(task: Task, example_id: str, row: Row) -> Example | LeftOut:
    """Return what a row is; raises ValueError if it is malformed."""
    missing = [name for name in task.columns if not isinstance(row.get(name), str)]
    if missing:
        raise ValueError(f"no text in column {missing[0]!r}")
    if reason := task.left_out(row):
        return LeftOut(reason)
    empty = [name for name in task.columns if not row[name].strip()]
    if empty:
        raise ValueError(f"column {empty[0]!r} is empty")
    return task.to_example(example_id, row)


def _from_hub(task: Task, split: Split, _: Path | None) -> RawSplit:
    hub = task.hub
    name = f"hub {hub.path}@{hub.revision[:7]}"
    try:
        hub_client.require()
        import datasets

        datasets.disable_progress_bars()
        found = datasets.load_dataset(
            hub.path, hub.name, revision=hub.revision, split=hub.splits[split]
        )
    except Exception as error:  # the hub's client raises a dozen kinds for "not reachable"
        reason = str(error).strip().partition("\n")[0][:160]
        raise Unavailable(f"{name.removeprefix('hub ')}: {reason}") from error
    # Not made a list: of 287,000 articles only those asked for are read.
    return RawSplit(name, found, dict, lambda index: f"{name}, {hub.splits[split]}, row {index}")


def _from_directory(task: Task, split: Split, directory: Path | None) -> RawSplit:
    named = directory or data_directory()
    if named is None:
        raise Unavailable(f"{DATA_VARIABLE} is not set")
    return _read_jsonl(named / task.data_folder, split, "directory")


def _from_samples(task: Task, split: Split, _: Path | None) -> RawSplit:
    return _read_jsonl(task.samples, split, "samples")


def data_directory() -> Path | None:
    """Return the data directory that the environment names, or None."""
    value = os.environ.get(DATA_VARIABLE)
    return Path(value) if value else None


def _read_jsonl(folder: Path, split: Split, name: str) -> RawSplit:
    files = [folder / f"{split}.jsonl.gz", folder / f"{split}.jsonl"]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise Unavailable(f"no {split}.jsonl.gz in {folder}")
    lines = [(number, line) for number, line in enumerate(_lines(path), 1) if line.strip()]
    numbers = [number for number, _ in lines]
    return RawSplit(
        name, [line for _, line in lines], _parse, lambda index: f"{path}, line {numbers[index]}"
    )


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path} does not read: {error}; fetch or write it again.") from error
    return text.split("\n")


def _parse(line: str) -> Row:
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return row


_READERS: Mapping[str, Callable[[Task, Split, Path | None], RawSplit]] = {
    "hub": _from_hub,
    "directory": _from_directory,
    "samples": _from_samples,
}
