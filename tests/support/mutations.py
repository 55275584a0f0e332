"""Mutations of files: of their bytes, of JSON values, of Parquet columns, as Hypothesis draws."""

import io
import json
from collections.abc import Callable
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


def mutated_json(data: bytes, draw: Draw) -> bytes:
    """Return a JSON document with up to three values replaced, removed, renamed or repeated."""
    value = json.loads(data)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_places(value)))
        odd = draw(st.sampled_from(ODD))

        def replace(container: Any, key: Any, odd: Any = odd) -> None:
            container[key] = odd

        def remove(container: Any, key: Any) -> None:
            del container[key]

        def rename(container: Any, key: Any) -> None:
            if isinstance(container, dict):
                container[f"{key}x"] = container.pop(key)

        def wrap(container: Any, key: Any) -> None:
            container[key] = [container[key]]

        value = _changed(
            value, path, draw(st.sampled_from([replace, replace, remove, rename, wrap]))
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


def mutated_parquet(data: bytes, draw: Draw) -> bytes:
    """Return a Parquet file with a column dropped, renamed, of another type, or other values."""
    table = pq.read_table(io.BytesIO(data))
    place = draw(st.integers(0, table.num_columns - 1))
    name, rows = table.column_names[place], table.num_rows
    odd = draw(
        st.sampled_from(
            [
                *("x", None, -1, 0, 2**40, 2**62, float("nan"), 1e-320, 1e308),
                *([], [1], [-1.0, float("inf")], [None], {"a": 1}),
            ]
        )
    )
    kind = draw(st.sampled_from(["drop", "rename", "values", "values", "values", "rows", "more"]))
    if kind == "drop":
        table = table.remove_column(place)
    elif kind == "rename":
        table = table.rename_columns(
            [*table.column_names[:place], "x", *table.column_names[place + 1 :]]
        )
    elif kind == "rows":
        table = table.slice(0, draw(st.integers(0, rows)))
    elif kind == "more":
        table = pa.concat_tables([table, table])
    else:
        table = table.set_column(place, name, pa.array([odd] * rows))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
