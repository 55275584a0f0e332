"""All numbers and comparisons of a run as data: CSV, Parquet and JSON, a row for each number."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from draftmark.reports._shared.escape import csv_text
from draftmark.results import Number, Results

NUMBERS = {
    "task": str,
    "pair": str,
    "method": str,
    "seeds": str,  # parted by spaces: one, or all that a number is pooled over
    "quantity": str,
    "temperature": float,
    "gamma": int,
    "position": int,
    "of": str,  # what else a name says: a score, an outcome
    "value": float,
    "low": float,
    "high": float,
    "n": int,
    "definition": str,
    "failure": str,
}
COMPARISONS = {
    "task": str,
    "pair": str,
    "method": str,
    "against": str,
    "quantity": str,
    "value": float,
    "low": float,
    "high": float,
    "n": int,
    "p_value": float,
    "adjusted_p": float,
    "detectable": float,
    "prompts_needed": int,
    "definition": str,
}
_PARTS = {"t": ("temperature", float), "gamma": ("gamma", int), "position": ("position", int)}
_Rows = Sequence[Mapping[str, Any]]


def export(results: Results, directory: Path) -> dict[str, str | bytes]:
    """Return numbers.csv, .parquet and .json and comparisons.csv, .parquet and .json.

    Text is as it is in Parquet and JSON, and harmless to spreadsheets in CSV.
    """
    found: dict[str, str | bytes] = {}
    for name, rows, columns in (
        ("numbers", list(_numbers(results)), NUMBERS),
        ("comparisons", list(_comparisons(results)), COMPARISONS),
    ):
        filled = [{column: row.get(column) for column in columns} for row in rows]
        found[f"{name}.csv"] = _csv(filled, columns)
        found[f"{name}.parquet"] = _parquet(filled, columns)
        found[f"{name}.json"] = "[" + ",\n ".join(map(json.dumps, filled)) + "]\n"
    return found


def _numbers(results: Results) -> Iterator[dict[str, Any]]:
    for item in results.pooled:
        seeds = " ".join(map(str, item.seeds))
        yield from _rows({**asdict(item.contender), "seeds": seeds}, item.numbers)
    for row in results.results:
        whose = {**asdict(row.cell.contender), "seeds": str(row.cell.seed)}
        if row.failure:
            yield {**whose, "failure": row.failure}
        yield from _rows(whose, row.numbers)


def _rows(whose: Mapping[str, Any], numbers: Mapping[str, Number]) -> Iterator[dict[str, Any]]:
    for key, number in numbers.items():
        yield {**whose, **_named(key), **asdict(number)}


def _named(key: str) -> dict[str, Any]:
    """Return what a number's key says: "block_efficiency[t=0,gamma=4]" by columns."""
    quantity, _, rest = key.partition("[")
    told: dict[str, Any] = {"quantity": quantity}
    for part in rest.removesuffix("]").split(",") if rest else ():
        name, _, value = part.partition("=")
        if name in _PARTS and value:
            column, kind = _PARTS[name]
            told[column] = kind(value)
        else:
            told["of"] = part
    return told


def _comparisons(results: Results) -> Iterator[dict[str, Any]]:
    for item in results.comparisons:
        row = {**asdict(item.contender), **asdict(item)}
        yield {**row, **asdict(item.difference)}


def _csv(rows: _Rows, columns: Mapping[str, type]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(csv_text(v) if isinstance(v, str) else v for v in row.values())
    return stream.getvalue()


def _parquet(rows: _Rows, columns: Mapping[str, type]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), float: pa.float64(), int: pa.int64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([_bearable(row) for row in rows], schema=schema), sink)
    return sink.getvalue()


def _bearable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose text is UTF-8: half a character, which JSON can bear, is replaced."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


REPORT = export
