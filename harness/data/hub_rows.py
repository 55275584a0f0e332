"""The rows of tasks on the hub: files of a pinned commit, in parquet or JSON Lines.

Parquet is read a batch at a time. Nothing else of a data set is opened: no script, no card, and no
folder of the working directory.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain, islice
from pathlib import Path
from typing import Any

from draftmark.data.hub import files
from draftmark.data.hub.failures import HubError, Repository
from draftmark.data.hub.files import Commit, HubFile
from draftmark.data.row_files import check_row, parse_json_line, read_lines
from draftmark.errors import UserError
from draftmark.progress import Progress
from draftmark.types import HubData, Row, Split

ROWS_PER_BATCH = 64
LINES = ".jsonl"
_SLICE = re.compile(r"([\w.-]+)(?:\[(-?\d+)?:(-?\d+)?\])?")


@dataclass(frozen=True)
class HubSplit:
    """The rows of one split; iterating reads no more of parquet files than it needs.

    An item of JSON Lines is a line, which `parse_item` reads.
    """

    copies: tuple[Path, ...]
    rows: slice
    facts: Mapping[str, Any]  # {"endpoint": the hub's address, "files": {path: SHA-256}}

    def __iter__(self) -> Iterator[Row | str]:
        """Yield the rows; raises UserError if a file is unreadable."""
        import pyarrow

        try:
            yield from self._lines() if self.copies[0].suffix == LINES else self._rows()
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"{self.copies[0].parent} has unreadable parquet: {error}") from error

    def _lines(self) -> Sequence[str]:
        files = (read_lines(copy, copy.name, parse_json_line) for copy in self.copies)
        return list(chain.from_iterable(file.items for file in files))[self.rows]

    def _rows(self) -> Iterator[Row]:
        import pyarrow.parquet as pq

        from draftmark.store.parquet_probe import require_readable

        for copy in self.copies:
            require_readable(copy, 0, "name another commit of the data set")
        opened = [pq.ParquetFile(copy) for copy in self.copies]
        num_rows = sum(file.metadata.num_rows for file in opened)
        start, stop, _ = self.rows.indices(num_rows)
        first = 0  # the number of the first row of a group
        for file in opened:
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                wanted = range(max(start - first, 0), min(stop - first, size))
                if wanted:
                    yield from islice(_rows_of_group(file, group), wanted.start, wanted.stop)
                first += size


def parse_item(item: Row | str) -> Row:
    """Return the row of an item of a HubSplit; raises ValueError if it is malformed."""
    return parse_json_line(item) if isinstance(item, str) else check_row(item)


def _rows_of_group(file: Any, group: int) -> Iterator[Row]:
    for batch in file.iter_batches(batch_size=ROWS_PER_BATCH, row_groups=[group]):
        yield from batch.to_pylist()


def read_splits(
    hub: HubData, splits: Sequence[Split], progress: Progress | None
) -> dict[Split, HubSplit]:
    """Return splits of a data set, from the cache or, with the progress of downloads, the hub.

    Without `progress`, nothing is fetched. Raises HubError if rows are missing, Damaged if a file
    does not have the hash that the hub lists.
    """
    commit = Commit(Repository(hub.path, "dataset"), hub.revision)
    listed = _list_files(commit, progress)
    parts = {split: parse_slice(hub.splits[split]) for split in splits}
    wanted = {name: _files_of_split(commit, hub, name, listed) for name, _ in parts.values()}
    copies = _copies(commit, list(dict.fromkeys(chain(*wanted.values()))), progress)
    hub_of_list = files.listing_endpoint(commit)

    def read_split(name: str, rows: slice) -> HubSplit:
        hashes = {file.path: file.sha256 or file.blob_id for file in wanted[name]}
        facts = {"endpoint": hub_of_list, "files": hashes}
        return HubSplit(tuple(copies[file] for file in wanted[name]), rows, facts)

    return {split: read_split(*part) for split, part in parts.items()}


def parse_slice(text: str) -> tuple[str, slice]:
    """Return the data set's split and the rows of "train[:-300]"; raises ValueError."""
    match = _SLICE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a slice of a split, such as 'train[:-300]'")
    name, *bounds = match.groups()
    start, stop = (int(bound) if bound else None for bound in bounds)
    return name, slice(start, stop)


def _list_files(commit: Commit, progress: Progress | None) -> tuple[HubFile, ...]:
    if progress:
        return files.list_files(commit, progress.say)
    kept = files.kept_files(commit)
    if kept is None:
        raise _not_cached(commit)
    return kept


def _files_of_split(
    commit: Commit, hub: HubData, name: str, listed: Sequence[HubFile]
) -> list[HubFile]:
    """Return the files of one of the data set's own splits, in the order of their rows."""
    pattern = hub.files.format(split=name)
    found = [file for file in listed if fnmatchcase(file.path, pattern)]
    if not found:
        raise HubError(f"{commit} has no file {pattern}; name its files in the task's HubData.")
    return sorted(found, key=lambda file: file.path)


def _copies(
    commit: Commit, wanted: Sequence[HubFile], progress: Progress | None
) -> Mapping[HubFile, Path]:
    if progress:
        return files.fetch_files(commit, wanted, progress)
    copies = files.whole_copies(commit, wanted)
    if len(copies) < len(wanted):
        raise _not_cached(commit)
    return copies


def _not_cached(commit: Commit) -> HubError:
    return HubError(f"{commit} is not in the cache, from which alone a plan reads rows.")
