"""Markdown: tables, numbers with their intervals, and text from data made harmless."""

from collections.abc import Iterable, Sequence

from draftmark.reports._shared.sections import (
    Alert,
    Entry,
    Format,
    Section,
    Shown,
    Table,
    three,
    two,
)
from draftmark.results import Number
from draftmark.text import plain

__all__ = ["Format", "escape", "interval", "markdown", "show", "table", "three", "two"]

_ESCAPES = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\|`[]"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)


def escape(text: str) -> str:
    """Return text that comes of data, models or recipes as it may stand in a table."""
    return plain(text).translate(_ESCAPES)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> str:
    """Return a Markdown table; `align` has a letter for each column, l or r (l, then r)."""
    marks = align or "l" + "r" * (len(header) - 1)
    rule = ["---:" if mark == "r" else "---" for mark in marks]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def markdown(section: Section, level: int = 3) -> str:
    """Return a section with everything in it made harmless."""
    heading = [f"{'#' * level} {escape(section.title)}"] if section.title else []
    return "\n\n".join([*heading, *map(_part, section.parts)])


def _part(part: str | Alert | Table) -> str:
    if isinstance(part, Table):
        rows = [[_entry(entry) for entry in row] for row in part.rows]
        return table([escape(name) for name in part.header], rows, part.marks)
    return f"**{escape(part.text)}**" if isinstance(part, Alert) else escape(part)


def _entry(entry: Entry) -> str:
    return str(entry) if isinstance(entry, Shown) else escape(str(entry))


def show(number: Number, form: Format) -> str:
    """Return a number with its interval and n."""
    return str(Shown("", number, form))


def interval(number: Number, form: Format = three) -> str:
    """Return a number with its interval, for tables that say n elsewhere."""
    return str(Shown("", number, form, "interval"))
