"""Markdown: tables, numbers with their intervals, and text from data made harmless."""

from collections.abc import Callable, Iterable, Sequence

from harness.published import Number
from harness.text import plain

Format = Callable[[float], str]

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


def show(number: Number, form: Format) -> str:
    """Return a number with its interval and n."""
    if number.low is None or number.high is None:
        return f"{form(number.value)} (n={number.n}, no interval)"
    return f"{form(number.value)} [{form(number.low)}, {form(number.high)}] n={number.n}"


def two(value: float) -> str:
    """Return two decimals."""
    return f"{value:.2f}"


def three(value: float) -> str:
    """Return three decimals."""
    return f"{value:.3f}"


def interval(number: Number) -> str:
    """Return a number with its interval, for tables that say n elsewhere."""
    if number.low is None or number.high is None:
        return three(number.value)
    return f"{three(number.value)} [{three(number.low)}, {three(number.high)}]"
