"""All numbers and comparisons of a run as CSV, Parquet and JSON, one row per number."""

# In short: All numbers and comparisons as CSV, Parquet and JSON.

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from draftmark.reports._shared.content import csv_file
from draftmark.results import Number, Results

_CONTENDER = {"task": str, "pair": str, "method": str}
_VALUE = {"value": float, "low": float, "high": float, "n": int}
NUMBERS: Mapping[str, type] = {
    **_CONTENDER,
    "seeds": str,  # separated by spaces; several for a pooled number
    "quantity": str,
    **{"temperature": float, "gamma": int, "position": int},
    "of": str,  # the rest of the key: a score, an outcome, a category; parts apart by spaces
    **_VALUE,
    **{"definition": str, "failure": str},
}
COMPARISONS: Mapping[str, type] = {
    **_CONTENDER,
    **{"against": str, "quantity": str},
    **_VALUE,
    **{"p_value": float, "adjusted_p": float, "detectable": float, "prompts_needed": int},
    "definition": str,
}
_PARTS = {"t": ("temperature", float), "gamma": ("gamma", int), "position": ("position", int)}
_Rows = Sequence[Mapping[str, Any]]


def export(results: Results, directory: Path) -> dict[str, str | bytes]:
    """Return numbers and comparisons, each as .csv, .parquet and .json.

    CSV escapes formulas; Parquet and JSON do not.
    """
    files: dict[str, str | bytes] = {}
    for name, rows, columns in (
        ("numbers", _numbers(results), NUMBERS),
        ("comparisons", _comparisons(results), COMPARISONS),
    ):
        filled = [{column: row.get(column) for column in columns} for row in rows]
        files[f"{name}.csv"] = csv_file(columns, (row.values() for row in filled))
        files[f"{name}.parquet"] = _parquet(filled, columns)
        files[f"{name}.json"] = "[" + ",\n ".join(map(json.dumps, filled)) + "]\n"
    return files


def _numbers(results: Results) -> Iterator[dict[str, Any]]:
    for item in results.pooled:
        seeds = " ".join(map(str, item.seeds))
        yield from _rows({**vars(item.contender), "seeds": seeds}, item.numbers)
    for row in results.results:
        cell = {**vars(row.cell.contender), "seeds": str(row.cell.seed)}
        if row.failure:
            yield {**cell, "failure": row.failure}
        yield from _rows(cell, row.numbers)


def _rows(cell: Mapping[str, Any], numbers: Mapping[str, Number]) -> Iterator[dict[str, Any]]:
    for key, number in numbers.items():
        yield {**cell, **_key_columns(key), **vars(number)}


def _key_columns(key: str) -> dict[str, Any]:
    """Return the columns of a key such as "block_efficiency[t=0,gamma=4]"."""
    quantity, _, rest = key.partition("[")
    columns: dict[str, Any] = {"quantity": quantity}
    for part in rest.removesuffix("]").split(",") if rest else ():
        name, _, value = part.partition("=")
        if name in _PARTS and value:
            column, kind = _PARTS[name]
            columns[column] = kind(value)
        else:
            columns["of"] = " ".join(filter(None, (columns.get("of"), part)))
    return columns


def _comparisons(results: Results) -> Iterator[dict[str, Any]]:
    for item in results.comparisons:
        yield {**vars(item.contender), **vars(item), **vars(item.difference)}


def _parquet(rows: _Rows, columns: Mapping[str, type]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), float: pa.float64(), int: pa.int64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    sink = io.BytesIO()
    table = pa.Table.from_pylist([_encodable(row) for row in rows], schema=schema)
    floats = [name for name, kind in columns.items() if kind is float]
    others = [name for name in columns if name not in floats]
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=others,
        use_byte_stream_split=floats,
    )
    return sink.getvalue()


def _encodable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in valid UTF-8: lone surrogates, which JSON allows, are replaced."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


REPORT = export
