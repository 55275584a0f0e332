"""Reads files of rows: JSON Lines, JSON, Parquet, CSV, and text with a prompt on each line."""

import csv
import io
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from draftmark.data.size_limits import MAX_UNPACKED, unzip_within_limit
from draftmark.errors import UserError
from draftmark.store.plain_files import NotPlain, read_plain
from draftmark.store.reading import MALFORMED
from draftmark.text import BYTE_ORDER_MARK, decode_text
from draftmark.types import Row

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet", ".csv", ".txt")


@dataclass(frozen=True)
class RawSplit:
    """One split of a source: lines of a file or rows of the hub, not yet parsed."""

    source: str
    items: Iterable[Any]
    parse: Callable[[Any], Row]  # raises ValueError
    place: Callable[[int], str]
    hub_facts: Mapping[str, Any] = field(default_factory=dict)  # see `hub_rows.HubSplit`
    passed_over: tuple[str, ...] = ()  # "source: reason" of the sources before this one


def read_row_file(path: Path, *, as_text: bool = False) -> RawSplit:
    """Return the rows of a file by its suffix; raises UserError if it cannot be read.

    `as_text` reads any file as text. A line of a text file is a row with the column "prompt"; empty
    lines are skipped.
    """
    if not path.is_file():
        raise UserError(f"There is no file {str(path)!r}; check rows.<task>.file in the recipe.")
    name = path.name.lower()
    if as_text or name.endswith(".txt"):
        return read_lines(path, path.name, lambda line: {"prompt": line.rstrip("\r")})
    if name.endswith((".jsonl", ".jsonl.gz")):
        return read_lines(path, path.name, parse_json_line)
    readers = {".json": _json_rows, ".parquet": _parquet_rows, ".csv": _csv_rows}
    if path.suffix.lower() not in readers:
        raise UserError(
            f"{path} has no suffix of a file of rows; name one of {', '.join(SUFFIXES)}."
        )
    rows = readers[path.suffix.lower()](path)
    return RawSplit(path.name, rows, check_row, lambda index: f"{path}, row {index + 1}")


def read_lines(path: Path, name: str, parse: Callable[[str], Row]) -> RawSplit:
    """Return the lines of a file that are not empty; raises UserError if it is unreadable."""
    lines = [(number, line) for number, line in enumerate(_lines(path), 1) if line.strip()]
    numbers = [number for number, _ in lines]
    return RawSplit(
        name, [line for _, line in lines], parse, lambda index: f"{path}, line {numbers[index]}"
    )


def _lines(path: Path) -> list[str]:
    return _text(path).split("\n")


def _text(path: Path) -> str:
    try:
        data = read_plain(path, MAX_UNPACKED)
        return decode_text(unzip_within_limit(data, path) if path.suffix == ".gz" else data)
    except NotPlain:
        raise
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is unreadable: {error}; fetch or write it again.") from error


def _json_rows(path: Path) -> Sequence[Any]:
    """Return the rows of a JSON list, or of the only list in a JSON object."""
    try:
        document = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}; JSON Lines are named .jsonl.") from error
    inner = document.values() if isinstance(document, dict) else [document]
    lists = [value for value in inner if isinstance(value, list)]
    if len(lists) != 1:
        raise UserError(f"{path} holds no list of rows; write a JSON list of objects.")
    return lists[0]


def _parquet_rows(path: Path) -> Sequence[Any]:
    import pyarrow.parquet as pq

    from draftmark.store.parquet_files import check_parquet
    from draftmark.store.parquet_probe import require_readable

    require_readable(path, 0, "write it again")
    try:
        check_parquet(path)
        with pq.ParquetFile(path) as file:
            rows: list[Any] = file.read().to_pylist()
            return rows
    except NotPlain:
        raise
    except MALFORMED as error:
        raise UserError(f"{path} is unreadable parquet: {error}; write it again.") from error


def _csv_rows(path: Path) -> Sequence[Any]:
    try:
        return list(csv.DictReader(io.StringIO(_text(path)), strict=True))
    except csv.Error as error:
        raise UserError(f"{path} is not CSV: {error}; write it again, or as JSON Lines.") from error


def parse_json_line(line: str) -> Row:
    """Return the row of a line of JSON; raises ValueError."""
    try:
        row = json.loads(line.removeprefix(BYTE_ORDER_MARK))  # files were joined
        json.dumps(row, ensure_ascii=False).encode()  # refuses half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    return check_row(row)


def check_row(row: Any) -> Row:
    """Return a row without the byte-order marks that a table's first name and texts may have.

    Raises ValueError if it is not an object.
    """

    def clean(value: Any) -> Any:
        return value.removeprefix(BYTE_ORDER_MARK) if isinstance(value, str) else value

    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return {clean(name): clean(value) for name, value in row.items()}
