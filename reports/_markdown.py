"""Markdown: tables, and text from data made harmless in them."""

from collections.abc import Iterable, Sequence

_ESCAPES = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\|`[]"}
    | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": " ", "\r": " "}
)


def escape(text: str) -> str:
    """Return text that comes of data, models or recipes as it may stand in a table."""
    return text.translate(_ESCAPES)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> str:
    """Return a Markdown table; `align` has a letter for each column, l or r (l, then r)."""
    marks = align or "l" + "r" * (len(header) - 1)
    rule = ["---:" if mark == "r" else "---" for mark in marks]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])
