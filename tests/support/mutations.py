"""Mutations of files: of their bytes, of JSON values, of Parquet columns, as Hypothesis draws."""

import io
import json
import lzma
import tomllib
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
ODD_TEXTS = ("", "\x00", "../../x", "/etc/passwd", "\x1b[2J", "NaN", "t=0", "a" * 5000, "0" * 64)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 0.5, -0.5, 1e308, -1e308),
    *([], {}, [None], [[]], {"": None}, [0] * 50, {"a": {"a": {"a": 1}}}, *ODD_TEXTS),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    inner = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else inner:
        found += _places(item, (*path, key))
    return found


def _changed(value: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    """Return a JSON value after `change(container, key)` at a place."""
    holder = {"root": json.loads(json.dumps(value))}
    container: Any = holder
    for key in ("root", *path)[:-1]:
        container = container[key]
    change(container, ("root", *path)[-1])
    return holder.get("root")


def _like(value: Any) -> Sequence[Any]:
    """Return odd values of a value's own type, which pass where only types are checked."""
    match value:
        case bool():
            return (not value,)
        case int():
            return (0, 1, -1, 2, value + 1, 33, 1000, 2**31, 2**53)
        case float():
            return (0.0, -0.0, -value, 2 * value, 0.5, 1.0, 1.5, 1e-300, 1e300)
        case str():
            return (*ODD_TEXTS, value + "x", value[:-1], value.upper(), "1", "[t=1]")
        case list():
            return ([], value * 2, value[:1], value[::-1], value[1:])
        case dict():
            return ({}, dict(list(value.items())[1:]), dict(list(value.items())[:1]))
    return (0, "", [], {})


def mutated_json(data: bytes, draw: Draw) -> bytes:
    """Return a JSON document with up to three values replaced, removed, renamed or repeated."""
    value = json.loads(data)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_places(value)))
        odd = draw(st.sampled_from(ODD))
        like = draw(st.integers(0, 2**16))

        def replace(container: Any, key: Any, odd: Any = odd) -> None:
            container[key] = odd

        def change(container: Any, key: Any, like: int = like) -> None:
            others = _like(container[key])
            container[key] = others[like % len(others)]

        def remove(container: Any, key: Any) -> None:
            del container[key]

        def rename(container: Any, key: Any) -> None:
            if isinstance(container, dict):
                container[f"{key}x"] = container.pop(key)

        def wrap(container: Any, key: Any) -> None:
            container[key] = [container[key]]

        value = _changed(
            value, path, draw(st.sampled_from([replace, *[change] * 4, remove, rename, wrap]))
        )
    return json.dumps(value).encode()


def mutated_lines(data: bytes, draw: Draw) -> bytes:
    """Return JSON lines of which one is mutated, dropped or repeated."""
    lines = data.splitlines()
    place = draw(st.integers(0, len(lines) - 1))
    kind = draw(st.sampled_from(["json", "json", "json", "drop", "repeat", "bytes"]))
    if kind == "drop":
        del lines[place]
    elif kind == "repeat":
        lines.insert(place, lines[place])
    elif kind == "bytes":
        lines[place] = mutated_bytes(lines[place], draw)
    else:
        lines[place] = mutated_json(lines[place], draw)
    return b"\n".join(lines) + b"\n"


def mutated_bytes(data: bytes, draw: Draw) -> bytes:
    """Return data that is cut, or has bytes replaced, inserted or removed."""
    if not data:
        return b"\xff"
    start = draw(st.integers(0, len(data) - 1))
    end = min(len(data), start + draw(st.integers(0, 16)))
    new = draw(st.binary(max_size=8))
    return data[:start] if draw(st.booleans()) else data[:start] + new + data[end:]


def mutated_toml(data: bytes, draw: Draw) -> bytes:
    """Return a TOML document with up to three values replaced, removed, renamed or repeated."""
    document = json.loads(mutated_json(json.dumps(tomllib.loads(data.decode())).encode(), draw))
    lines = document.items() if isinstance(document, dict) else [("x", document)]
    return "".join(f"{json.dumps(key)} = {_inline(value)}\n" for key, value in lines).encode()


def _inline(value: Any) -> str:
    """Return a JSON value as TOML in one line; TOML has no null."""
    if isinstance(value, dict):
        inside = (f"{json.dumps(key)} = {_inline(item)}" for key, item in value.items())
        return f"{{{', '.join(inside)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    return "false" if value is None else json.dumps(value)


ODD_CELLS: tuple[Any, ...] = (
    *("x", None, -1, 0, 1, 2**15 - 1, 2**40, 2**62, float("nan"), 1e-320, 1e308, -0.0),
    *([], [1], [-1.0, float("inf")], [None], [2**31] * 3, {"a": 1}, *ODD_TEXTS),
)


def mutated_parquet(data: bytes, draw: Draw, *, compression: str = "snappy") -> bytes:
    """Return a Parquet file with a column dropped, renamed, of another type, or other values."""
    return _parquet(_mutated_table(pq.read_table(io.BytesIO(data)), draw), compression)


def _parquet(table: pa.Table, compression: str = "snappy") -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=compression)
    return sink.getvalue()


def _mutated_table(table: pa.Table, draw: Draw) -> pa.Table:
    place, rows = draw(st.integers(0, table.num_columns - 1)), table.num_rows
    name = table.column_names[place]
    kinds = ["drop", "rename", "column", "column", *["cells"] * 4, "rows", "more"]
    match draw(st.sampled_from(kinds)):
        case "drop":
            return table.remove_column(place)
        case "rename":
            names = [*table.column_names[:place], "x", *table.column_names[place + 1 :]]
            return table.rename_columns(names)
        case "rows":
            return table.slice(0, draw(st.integers(0, rows)))
        case "more":
            return pa.concat_tables([table, table])
        case "cells":
            column = _mutated_cells(table.column(place), draw)
        case _:
            column = pa.array([draw(st.sampled_from(ODD_CELLS))] * rows)
    return table.set_column(place, name, column)


def _mutated_cells(column: pa.ChunkedArray, draw: Draw) -> Any:
    """Return a column with a few other values, or parts of values, of its type if they can be."""
    values = column.to_pylist()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(values) - 1))
        odd = draw(st.sampled_from([*ODD_CELLS, values[0], values[-1]]))
        path = draw(st.sampled_from(_places(values[place])))
        values[place] = _replaced(values[place], path, odd)
    for kind in (column.type, None):
        try:
            return pa.array(values, kind)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            continue
    return pa.array(["x"] * len(values))


def _replaced(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    """Return a value with another one at a place in it."""
    if not path:
        return odd
    first, *rest = path
    inside = _replaced(value[first], tuple(rest), odd)
    if isinstance(value, dict):
        return {**value, first: inside}
    return [*value[:first], inside, *value[first + 1 :]]


def mutated_counts(data: bytes, draw: Draw) -> bytes:
    """Return published counts of which the table, or the document in the metadata, is mutated."""
    table, key = pq.read_table(io.BytesIO(data)), b"draftmark"
    metadata = table.schema.metadata
    if draw(st.booleans()):
        document = mutated_json(lzma.decompress(metadata[key]), draw)
        metadata = {**metadata, key: lzma.compress(document, preset=0)}
    else:
        table = _mutated_table(table, draw)
    return _parquet(table.replace_schema_metadata(metadata))
