"""The sources of rows: a task's own files or function, the hub, a data directory, samples.

A data directory holds `<folder>/<split>.jsonl` or `.jsonl.gz` with the columns of the hub's data
set; the folder has the task's name, unless the task sets another.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from draftmark.data import hub_rows
from draftmark.data.hub.failures import HubError
from draftmark.data.row_files import (
    RawSplit,
    check_row,
    parse_json_line,
    read_lines,
    read_row_file,
)
from draftmark.errors import UserError
from draftmark.progress import Progress
from draftmark.types import Row, Split, Task

DATA_VARIABLE = "DRAFTMARK_DATA"


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
    if hub is None:
        raise Unavailable("the task names no data set")
    missing = [split for split in splits if split not in hub.splits]
    if missing:
        raise Unavailable(f"{hub.path} has no {missing[0]} rows for this task")
    name = f"hub {hub.path}@{hub.revision[:7]}"
    try:
        found = hub_rows.read_splits(hub, splits, progress)
    except HubError as error:
        raise Unavailable(str(error).removesuffix(".")) from error

    def raw(split: Split, rows: hub_rows.HubSplit) -> RawSplit:
        return RawSplit(
            name,
            rows,
            hub_rows.parse_item,
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
    if task.samples is None:
        raise Unavailable("the task has no samples")
    folder = task.samples
    return {split: _read_jsonl(folder, split, "samples") for split in splits}


def _read_jsonl(folder: Path, split: Split, name: str) -> RawSplit:
    files = [folder / f"{split}.jsonl.gz", folder / f"{split}.jsonl"]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise Unavailable(f"no {split}.jsonl.gz and no {split}.jsonl in {folder}")
    return read_lines(path, name, parse_json_line)


def own_rows(task: Task, splits: Sequence[Split]) -> dict[Split, RawSplit] | None:
    """Return the rows of a task's files or function; None if the task has neither.

    Raises UserError for a split that the task's files do not have.
    """
    if task.rows:
        make = task.rows
        return {split: _from_function(task.name, split, make(split)) for split in splits}
    if not task.files:
        return None
    for split in splits:
        if split not in task.files:
            raise UserError(
                f"{task.name} has no {split} rows: its files are of {', '.join(task.files)}; add "
                f"one for {split}, or leave out the methods that train."
            )
    return {split: read_row_file(task.files[split], as_text=task.lines_of_text) for split in splits}


def _from_function(name: str, split: Split, rows: Iterable[Row]) -> RawSplit:
    source = f"function of task {name}"
    return RawSplit(source, rows, check_row, lambda index: f"{source}, {split}, row {index + 1}")


# The data directory and the progress of downloads are the last arguments; None fetches nothing.
Reader = Callable[[Task, Sequence[Split], Path | None, Progress | None], dict[Split, RawSplit]]
READERS: Mapping[str, Reader] = {
    "hub": _from_hub,
    "directory": _from_directory,
    "samples": _from_samples,
}
