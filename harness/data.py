"""Rows of a task from the hub, a data directory, or the project's own samples, always saying which.

A data directory holds `<task>/<split>.jsonl` or `.jsonl.gz` in the column names of the hub's data
set. Rows enter a run's keys by their content, so the same rows give the same results whichever
source they came from.
"""

import gzip
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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

    @property
    def digest(self) -> str:
        """A hash of everything in the examples."""
        return digest(
            [[item.id, item.messages, item.reference, item.meta] for item in self.examples]
        )


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

    Raises UserError if no source does (with why for each), if there are fewer rows than asked
    for, or if a row is malformed (with the file and the line).
    """
    reasons = []
    for source in sources:
        try:
            found = {split: _READERS[source](task, split, directory) for split in counts}
        except Unavailable as error:
            reasons.append(f"{source}: {error}")
            continue
        return {split: _rows(task, split, count, found[split]) for split, count in counts.items()}
    raise UserError(
        f"No source has the {', '.join(counts)} rows of {task.name!r}. Tried "
        f"{'; '.join(reasons)}. Name a folder with {task.name}/{next(iter(counts))}.jsonl.gz in "
        f"it by --data or {DATA_VARIABLE}."
    )


def _rows(task: Task, split: Split, count: int, read: "_Read") -> Rows:
    rows, name, place = read
    if len(rows) < count:
        raise UserError(
            f"{task.name} has {len(rows)} rows in its {split} split ({name}), {count} are "
            f"asked for; lower data.{split}_rows in the recipe."
        )
    return Rows(_examples(task, split, rows[:count], place), name)


def _examples(
    task: Task, split: Split, rows: Sequence[Row], place: Callable[[int], str]
) -> tuple[Example, ...]:
    examples = []
    for index, row in enumerate(rows):
        missing = [name for name in task.columns if not isinstance(row.get(name), str)]
        if missing:
            raise UserError(f"{place(index)}: no text in column {missing[0]!r}; mend the row.")
        empty = [name for name in task.columns if not row[name].strip()]
        if empty:
            raise UserError(f"{place(index)}: column {empty[0]!r} is empty; mend the row.")
        try:
            examples.append(task.to_example(f"{task.name}/{split}/{index}", row))
        except ValueError as error:
            raise UserError(f"{place(index)}: {error}; mend the row.") from error
    return tuple(examples)


_Read = tuple[Sequence[Row], str, Callable[[int], str]]


def _from_hub(task: Task, split: Split, _: Path | None) -> _Read:
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
    return list(found), name, lambda index: f"{name}, {hub.splits[split]}, row {index}"


def _from_directory(task: Task, split: Split, directory: Path | None) -> _Read:
    named = directory or _path_of_environment()
    if named is None:
        raise Unavailable(f"{DATA_VARIABLE} is not set")
    return _read_jsonl(named / task.name, split, "directory")


def _from_samples(task: Task, split: Split, _: Path | None) -> _Read:
    return _read_jsonl(task.samples, split, "samples")


def _path_of_environment() -> Path | None:
    value = os.environ.get(DATA_VARIABLE)
    return Path(value) if value else None


def _read_jsonl(folder: Path, split: Split, name: str) -> _Read:
    files = [folder / f"{split}.jsonl.gz", folder / f"{split}.jsonl"]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise Unavailable(f"no {split}.jsonl.gz in {folder}")
    lines = [(number, line) for number, line in enumerate(_lines(path), 1) if line.strip()]
    rows = [_parse(path, number, line) for number, line in lines]
    return rows, name, lambda index: f"{path}, line {lines[index][0]}"


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path} does not read: {error}; fetch or write it again.") from error
    return text.split("\n")


def _parse(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, line {number}: not JSON ({error}); mend the row.") from error
    if not isinstance(row, dict):
        raise UserError(f"{path}, line {number}: not a JSON object; mend the row.")
    return row


_READERS: Mapping[str, Callable[[Task, Split, Path | None], _Read]] = {
    "hub": _from_hub,
    "directory": _from_directory,
    "samples": _from_samples,
}
