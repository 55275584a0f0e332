"""The sources of rows: the hub, a data directory, the project's own samples.

A data directory holds `<folder>/<split>.jsonl` or `.jsonl.gz` with the columns of the hub's data
set; the folder has the task's name, unless the task sets another.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from draftmark.data import hub_rows
from draftmark.data.hub.failures import HubError
from draftmark.data.size_limits import unzip_within_limit
from draftmark.errors import UserError
from draftmark.progress import Progress
from draftmark.text import BYTE_ORDER_MARK, decode_text
from draftmark.types import Row, Split, Task

DATA_VARIABLE = "DRAFTMARK_DATA"


@dataclass(frozen=True)
class RawSplit:
    """One split of a source: lines of a file or rows of the hub, not yet parsed."""

    source: str
    items: Iterable[Any]
    parse: Callable[[Any], Row]  # raises ValueError
    place: Callable[[int], str]
    hub_facts: Mapping[str, Any] = field(default_factory=dict)  # see `hub_rows.HubSplit`
    passed_over: tuple[str, ...] = ()  # "source: reason" of the sources before this one


class Unavailable(Exception):
    """A source does not have the rows; the next one is tried."""


def data_directory() -> Path | None:
    """Return the data directory in the environment, or None."""
    value = os.environ.get(DATA_VARIABLE)
    return Path(value) if value else None


def data_folder(task: Task) -> str:
    """Return the name of a task's folder in a data directory."""
    return task.folder or task.name


def _from_hub(
    task: Task, splits: Sequence[Split], _: Path | None, progress: Progress | None
) -> dict[Split, RawSplit]:
    hub = task.hub
    name = f"hub {hub.path}@{hub.revision[:7]}"
    try:
        found = hub_rows.read_splits(hub, splits, progress)
    except HubError as error:
        raise Unavailable(str(error).removesuffix(".")) from error

    def raw(split: Split, rows: hub_rows.HubSplit) -> RawSplit:
        return RawSplit(
            name,
            rows,
            _without_marks,
            lambda index: f"{name}, {hub.splits[split]}, row {index}",
            rows.facts,
        )

    return {split: raw(split, rows) for split, rows in found.items()}


def _from_directory(
    task: Task, splits: Sequence[Split], directory: Path | None, _: Progress | None
) -> dict[Split, RawSplit]:
    named = directory or data_directory()
    if named is None:
        raise Unavailable(f"{DATA_VARIABLE} is not set")
    return {split: _read_jsonl(named / data_folder(task), split, "directory") for split in splits}


def _from_samples(
    task: Task, splits: Sequence[Split], _: Path | None, __: Progress | None
) -> dict[Split, RawSplit]:
    return {split: _read_jsonl(task.samples, split, "samples") for split in splits}


def _read_jsonl(folder: Path, split: Split, name: str) -> RawSplit:
    files = [folder / f"{split}.jsonl.gz", folder / f"{split}.jsonl"]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise Unavailable(f"no {split}.jsonl.gz and no {split}.jsonl in {folder}")
    lines = [(number, line) for number, line in enumerate(_lines(path), 1) if line.strip()]
    numbers = [number for number, _ in lines]
    return RawSplit(
        name, [line for _, line in lines], _parse, lambda index: f"{path}, line {numbers[index]}"
    )


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
        text = decode_text(unzip_within_limit(data, path) if path.suffix == ".gz" else data)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is unreadable: {error}; fetch or write it again.") from error
    return text.split("\n")


def _parse(line: str) -> Row:
    try:
        row = json.loads(line.removeprefix(BYTE_ORDER_MARK))  # files were joined
        json.dumps(row, ensure_ascii=False).encode()  # refuses half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return _without_marks(row)


def _without_marks(row: Row) -> Row:
    """Return a row without the byte-order marks that a table's first name and texts may have."""

    def clean(value: Any) -> Any:
        return value.removeprefix(BYTE_ORDER_MARK) if isinstance(value, str) else value

    return {clean(name): clean(value) for name, value in row.items()}


# The data directory and the progress of downloads are the last arguments; None fetches nothing.
Reader = Callable[[Task, Sequence[Split], Path | None, Progress | None], dict[Split, RawSplit]]
READERS: Mapping[str, Reader] = {
    "hub": _from_hub,
    "directory": _from_directory,
    "samples": _from_samples,
}
