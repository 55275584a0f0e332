"""A run in one small file to publish: its results, and the counts of every prompt as Parquet.

A row has the counts of one cell, temperature, way of drafting, rule of verification, block length
and prompt. Position 0 is the whole block; the recipe's block length has a row for each position
too: blocks that test it, and blocks that accept up to it. A block length of 0 has sums over tokens:
overlaps as accepted, equal first choices as tested. Counts are in ten-thousandths of a token.

The file's metadata holds the run's results and small records as compressed JSON, with seven digits
of each rate. It has no text of prompts or responses, but token ids where speed was measured. The
run that `unpack_counts` restores has the same reports, but for those that show texts or tokens.
"""

import base64
import io
import json
import lzma
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Base64Bytes

from draftmark.analysis.cell_counts import CellCounts, Draft
from draftmark.analysis.count_columns import (
    COUNTED,
    Columns,
    count_fault,
    grouped,
    is_countable,
    prompt_fault,
    read_count_table,
)
from draftmark.analysis.kept_counts import At, KeptCounts
from draftmark.analysis.quantities import RATES
from draftmark.analysis.summary import GAIN
from draftmark.config.validation import Section
from draftmark.errors import UserError
from draftmark.results import Number, Results
from draftmark.store.acceptance_tables import Floats
from draftmark.store.files import write_atomically
from draftmark.store.parquet_probe import require_readable
from draftmark.store.plain_files import NotPlain, read_plain
from draftmark.store.reading import adapter, explained
from draftmark.store.records import write_rows
from draftmark.store.run_folder import check_results, save_results
from draftmark.types import MAX_GAMMA, Verification

COUNTS = "counts.parquet"  # the file, and a cell's part of it in a restored run
FIX = "make the file again with draftmark report RUN counts"
MAX_BYTES = 20_000_000  # of a file
MAX_ROWS = 5_000_000
MAX_UNPACKED = 400_000_000  # bytes of all columns
MAX_DOCUMENT = 500_000_000  # bytes of the JSON
_LZMA_MEMORY = 100_000_000  # bytes
_KEY = b"draftmark"
_FOLDER, _FILE = re.compile(r"records/\d{2,6}"), re.compile(r"[a-z0-9][a-z0-9.-]*")
_KEYS = {
    **{"cell": pa.int16(), "temperature": pa.float64(), "greedy": pa.bool_(), "block": pa.bool_()},
    **{"gamma": pa.int16(), "position": pa.int16(), "prompt": pa.int32()},
}
_RATES_OF_BLOCKS = (*RATES, GAIN)  # the quantities that every block length has
DECIMALS = 4  # of expected counts; a rate of 100 tokens moves by less than 1e-6
_SCALE = 10**DECIMALS
_DIGITS = 7  # of rates and their intervals; the digits after them are a third of the document
_SCHEMA = pa.schema([*_KEYS.items(), *((name, pa.int64()) for name in COUNTED)])


def pack_counts(
    results: Results,
    cells: Mapping[int, Mapping[float, CellCounts]],
    files: Mapping[str, bytes],
    grades: Mapping[str, Sequence[Mapping[str, Any]]],
    longest: int = MAX_GAMMA,
) -> bytes:
    """Return the file of a run.

    `cells` has the counts of each row that did not fail, by its place and by temperature; `files`
    and `grades` are small records by their paths in the run's folder, grades as rows. Counts and
    rates of blocks longer than `longest` are left out; raises UserError if the recipe's block
    length is among them.
    """
    gamma = results.recipe["evaluation"]["num_speculative_tokens"]
    if longest < gamma:
        raise UserError(f"The run's own blocks are of {gamma} tokens: --longest is at least that.")
    parts = [
        {"cell": cell, "temperature": temperature, **part}
        for cell, by_temperature in cells.items()
        for temperature, counts in by_temperature.items()
        for part in _parts(temperature, counts, gamma, longest)
    ]
    document = {
        "format": 1,
        "results": asdict(_with_numbers(results, partial(_published, longest=longest))),
        "prompts": {cell: [c.prompts for c in own.values()] for cell, own in cells.items()},
        "files": {name: base64.b64encode(data).decode() for name, data in files.items()},
        "grades": grades,
    }
    packed = lzma.compress(json.dumps(document, allow_nan=False).encode(), preset=9)
    if not parts:
        raise UserError("Every cell of the run failed: it has no counts to publish.")
    sink = io.BytesIO()
    _write(sink, parts, packed)
    return sink.getvalue()


def _with_numbers(
    results: Results, change: Callable[[Mapping[str, Number]], dict[str, Number]]
) -> Results:
    """Return results whose numbers, of cells and of contenders, are changed."""
    return replace(
        results,
        results=tuple(replace(row, numbers=change(row.numbers)) for row in results.results),
        pooled=tuple(replace(item, numbers=change(item.numbers)) for item in results.pooled),
    )


def _published(numbers: Mapping[str, Number], longest: int) -> dict[str, Number]:
    """Return numbers in few digits, without rates of blocks longer than `longest`."""
    return {key: _rounded(it) for key, it in numbers.items() if _block_of(key) <= longest}


def _rounded(number: Number) -> Number:
    found = {name: getattr(number, name) for name in ("value", "low", "high", "effective")}
    short: dict[str, Any] = {name: it and float(f"{it:.{_DIGITS}g}") for name, it in found.items()}
    return replace(number, **short)


def _block_of(key: str) -> int:
    """Return the block length of a rate's key; 0 for other keys, such as those of speeds."""
    length = re.search(r"[\[,]gamma=(\d+)", key)
    return int(length[1]) if length and key.partition("[")[0] in _RATES_OF_BLOCKS else 0


def _parts(
    temperature: float, counts: CellCounts, shown: int, longest: int
) -> Iterator[dict[str, Any]]:
    """Yield the columns of each way, rule, block length up to `longest`, and position."""
    names = np.arange(len(counts.prompts))
    for draft in counts.drafts:
        sums = counts.token_sums(draft)
        found = {
            "accepted": sums.overlap_B,
            "tested": sums.greedy_match_B,
            "tokens": sums.tokens_B,
        }
        yield _part(At(draft is not None, False, 0, 0), names, found)
    rules: list[tuple[Draft, Verification]] = [(draft, "standard") for draft in counts.drafts]
    rules += [(None, "block")] if temperature and "block" in counts.verifications else []
    for draft, rule in rules:
        for gamma in range(1, min(counts.longest, longest) + 1):
            blocks = counts.blocks(gamma, draft, rule)
            at = At(draft is not None, rule == "block", gamma, 0)
            yield _part(at, names, {name: getattr(blocks, f"{name}_B") for name in COUNTED})
            if gamma == shown and (places := counts.positions(gamma, draft, rule)):
                for place, (tested_B, reached_B) in enumerate(
                    zip(places.tested_BG.T, places.reached_BG.T, strict=True), start=1
                ):
                    found = {"tested": tested_B, "accepted": reached_B}
                    yield _part(at._replace(position=place), names, found)


def _part(at: At, prompts_B: Any, found: Mapping[str, Floats]) -> dict[str, Any]:
    nothing_B = np.zeros(len(prompts_B))
    counts = {name: found.get(name, nothing_B) for name in COUNTED}
    return {**at._asdict(), "prompt": prompts_B, **counts}


def _write(sink: Any, parts: Sequence[Mapping[str, Any]], document: bytes, level: int = 11) -> None:
    columns = {
        name: np.concatenate([np.broadcast_to(part[name], len(part["prompt"])) for part in parts])
        for name in _SCHEMA.names
    }
    for name in COUNTED:
        columns[name] = np.rint(columns[name] * _SCALE).astype(np.int64)
    table = pa.Table.from_pydict(columns, schema=_SCHEMA)
    writer = pq.ParquetWriter(
        sink,
        _SCHEMA,
        compression="brotli",  # an eighth smaller than zstd
        compression_level=level,
        use_dictionary=list(_KEYS),
        store_schema=False,  # or the metadata would be there twice
    )
    with writer as file:
        file.write_table(table)
        file.add_key_value_metadata({_KEY: document})


@contextmanager
def opened_run(source: Path) -> Iterator[Path]:
    """Yield a run's folder; that of a file of published counts is a temporary one."""
    if source.suffix != Path(COUNTS).suffix:
        yield source
        return
    with TemporaryDirectory(prefix="draftmark-") as scratch:
        yield unpacked_run(source, Path(scratch) / "run")


def unpacked_run(source: Path, directory: Path) -> Path:
    """Return a source, or the new folder into which it was unpacked if it is a file of counts."""
    if not source.is_file():
        return source
    unpack_counts(source, directory)
    return directory


class _Document(Section):
    format: Literal[1]
    results: Mapping[str, Any]
    prompts: Mapping[int, tuple[tuple[str, ...], ...]]
    files: Mapping[str, Base64Bytes]
    grades: Mapping[str, tuple[Mapping[str, Any], ...]]


def unpack_counts(path: Path, directory: Path) -> None:
    """Write the run of a file into a new folder; raises UserError if the file is malformed."""
    data = read_plain(path, MAX_BYTES)
    require_readable(path, MAX_ROWS, FIX)
    with explained(path, FIX):
        columns, packed = _read(path, data)
        document: _Document = adapter(_Document).validate_json(_unpacked(packed))
        results: Results = adapter(Results).validate_python(document.results)
        check_results(results, path)
        _check_names(results, document)
        cells = _cells(path, columns, document.prompts)
        if cells.keys() != {n for n, row in enumerate(results.results) if not row.failure}:
            raise ValueError("it has not the counts of all cells")
    for name, content in document.files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / name, content)
    for name, rows in document.grades.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        write_rows(directory / name, [dict(row) for row in rows])
    for number, own in cells.items():
        _save_cell(directory / results.results[number].records / COUNTS, own)
    save_results(results, directory)


def _check_names(results: Results, document: _Document) -> None:
    """Raise ValueError if a record would lie anywhere but in the folder of a cell's records."""
    folders = [row.records for row in results.results if not row.failure]
    if len(set(folders)) < len(folders) or not all(map(_FOLDER.fullmatch, folders)):
        raise ValueError("its cells have not a folder of records each")
    for name in (*document.files, *document.grades):
        folder, _, file = name.rpartition("/")
        if folder not in folders or not _FILE.fullmatch(file):
            raise ValueError(f"{name} is not a record of a cell")


def _read(path: Path, data: bytes) -> tuple[Columns, bytes]:
    """Return the columns and the document of a file, after comparing it with the limits."""
    table, facts = read_count_table(path, data, _SCHEMA, MAX_ROWS, partial(_check_size, path))
    columns = {name: table[name].to_numpy() for name in _SCHEMA.names}
    for name in COUNTED:
        columns[name] = columns[name] / _SCALE
    return columns, (facts.metadata or {}).get(_KEY, b"")


def _check_size(path: Path, facts: Any) -> None:
    """Raise NotPlain if a file claims to unpack to more than counts have."""
    groups = [facts.row_group(place) for place in range(facts.num_row_groups)]
    unpacked = sum(
        group.column(place).total_uncompressed_size
        for group in groups
        for place in range(group.num_columns)
    )
    if unpacked > MAX_UNPACKED:
        most = MAX_UNPACKED / 1e6
        raise NotPlain(f"{path} claims {unpacked / 1e6:.0f} MB; counts have {most:.0f} at most.")


def _unpacked(packed: bytes) -> bytes:
    """Return the document; raises ValueError if there is none, or if it is too large."""
    if not packed:
        raise ValueError("it has no results")
    reader = lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
    try:
        text = reader.decompress(packed, max_length=MAX_DOCUMENT)
    except lzma.LZMAError as error:
        raise ValueError(f"its results cannot be unpacked: {error}") from error
    if not reader.eof:
        raise ValueError(f"its results are longer than {MAX_DOCUMENT / 1e6:.0f} MB, or cut")
    return text


def _cells(
    path: Path, columns: Columns, prompts: Mapping[int, Sequence[tuple[str, ...]]]
) -> dict[int, dict[float, KeptCounts]]:
    """Return the counts by cell and temperature; raises ValueError if some cannot be."""
    found: dict[tuple[int, float], dict[At, Columns]] = {}
    for key, own in grouped(columns, tuple(name for name in _KEYS if name != "prompt")):
        cell, temperature, *rest = key
        found.setdefault((cell, temperature), {})[At(*rest)] = own
    cells: dict[int, dict[float, KeptCounts]] = {}
    for (cell, temperature), by_at in found.items():
        own_cell = cells.setdefault(cell, {})
        names = prompts[cell][len(own_cell)]
        for condition, own in by_at.items():
            reason = prompt_fault(own["prompt"], len(names), "cell") or _fault(condition, own)
            if reason:
                where = f"cell {cell}, temperature {temperature:g}, blocks of {condition.gamma}"
                raise ValueError(f"{where}: {reason}")
        own_cell[temperature] = KeptCounts(temperature, names, by_at, path)
    if any(len(prompts[cell]) != len(own) for cell, own in cells.items()):
        raise ValueError("it has not the counts of all temperatures")
    return cells


def _fault(at: At, own: Columns) -> str:
    counts = {name: own[name] for name in COUNTED}
    if not (0 <= at.gamma <= MAX_GAMMA and 0 <= at.position <= at.gamma):
        return "there is no such block or position"
    if at.gamma and not at.position:
        return count_fault(at.gamma, counts, 1 / _SCALE)
    if not is_countable(counts) or (
        at.position and (own["accepted"] > own["tested"] + 1 / _SCALE).any()
    ):
        return "a count is negative, not finite, or larger than what it is part of"
    return ""


def _save_cell(path: Path, cell: Mapping[float, KeptCounts]) -> None:
    """Write the counts of a cell, as `read_cell` reads them."""
    parts = [
        {"cell": 0, "temperature": temperature, **at._asdict(), **own}
        for temperature, counts in cell.items()
        for at, own in counts.columns.items()
    ]
    names = json.dumps({"0": [counts.prompts for counts in cell.values()]}).encode()
    sink = io.BytesIO()
    _write(sink, parts, lzma.compress(names), level=1)  # a copy, to be read soon
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, sink.getvalue())


def read_cell(path: Path) -> dict[float, KeptCounts]:
    """Return the counts of a cell of a restored run, by temperature."""
    with explained(path, FIX):
        columns, packed = _read(path, read_plain(path, MAX_BYTES))
        kind = Mapping[int, tuple[tuple[str, ...], ...]]
        return _cells(path, columns, adapter(kind).validate_json(_unpacked(packed)))[0]
