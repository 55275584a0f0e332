"""Report content: sections, tables and numbers as data, and their Markdown and CSV.

Text in sections is raw; the functions that print it escape it.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from draftmark.results import Cell, Number
from draftmark.text import printable_text

LONGEST_CELL = 32_000  # characters in a CSV file: spreadsheets take 32,767
UNEQUAL_WEIGHTS = 0.9  # effective / all prompts, below which tables show both
_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # also in full width
_MARKDOWN = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\|`[]"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
Parts = Literal["all", "interval", "value"]


@dataclass(frozen=True)
class TableNumber:
    """A number in a table; `parts`: value, interval and n ("all"), no n, or the value alone."""

    key: str
    number: Number
    decimals: int
    parts: Parts = "all"

    @property
    def value(self) -> str:
        """The rounded value."""
        return f"{self.number.value:.{self.decimals}f}"

    @property
    def interval(self) -> str:
        """The interval, or for "all" a note without one; empty if `parts` omits it."""
        low, high = self.number.low, self.number.high
        if self.parts == "value":
            return ""
        if low is None or high is None:
            return f"(n={self.number.n}, no interval)" if self.parts == "all" else ""
        return f"[{low:.{self.decimals}f}, {high:.{self.decimals}f}]"

    @property
    def n(self) -> str:
        """The number of prompts if `parts` is "all" and there is an interval; else empty.

        The effective number follows if clearly fewer prompts of equal weight would say as much.
        """
        if self.parts != "all" or "[" not in self.interval:
            return ""
        effective = self.number.effective or self.number.n
        fewer = (
            f" ({effective:.0f} effective)" if effective < UNEQUAL_WEIGHTS * self.number.n else ""
        )
        return f"n={self.number.n}{fewer}"

    def __str__(self) -> str:
        """Return all parts."""
        return " ".join(filter(None, (self.value, self.interval, self.n)))


@dataclass(frozen=True)
class RowName:
    """The name of a table's row, and the experiment's cell if the row has only one."""

    text: str
    cell: Cell | None = None

    def __str__(self) -> str:
        """Return the text."""
        return self.text


@dataclass(frozen=True)
class SortedText:
    """A text in a table that sorts by a value, such as "12 min" by its seconds."""

    text: str
    order: float

    def __str__(self) -> str:
        """Return the text."""
        return self.text


Entry = str | TableNumber | RowName | SortedText
Rows = Sequence[Sequence[Entry]]


@dataclass(frozen=True)
class Table:
    """A table; `align` has a letter for each column, l or r (default: l, then r)."""

    header: Sequence[str]
    rows: Rows
    align: str = ""

    @property
    def marks(self) -> str:
        """The alignment of each column."""
        return self.align or "l" + "r" * (len(self.header) - 1)


@dataclass(frozen=True)
class Alert:
    """A warning to read before the numbers."""

    text: str


@dataclass(frozen=True)
class Section:
    """A heading (may be empty) and the content under it."""

    title: str
    parts: Sequence[str | Alert | Table]


def table_section(
    title: str, notes: Sequence[str], header: Sequence[str], rows: Rows, align: str = ""
) -> Iterator[Section]:
    """Yield a section with notes, then a table; nothing if the table has no rows."""
    if rows:
        yield Section(title, [*notes, Table(header, rows, align)])


def escape_markdown(text: str) -> str:
    """Return text escaped for Markdown, on one line, also safe in tables."""
    return printable_text(text).translate(_MARKDOWN)


def number_text(number: Number | None, decimals: int = 3, parts: Parts = "interval") -> str:
    """Return a number with its interval, or "-" for None; `parts` "all" adds n."""
    return str(TableNumber("", number, decimals, parts)) if number else "-"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> str:
    """Return a Markdown table; cells are Markdown already, `align` is as in Table."""
    marks = Table(header, (), align).marks
    rule = ["---:" if mark == "r" else "---" for mark in marks]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def section_markdown(section: Section) -> str:
    """Return a section as Markdown with escaped text."""
    heading = [f"### {escape_markdown(section.title)}"] if section.title else []
    return "\n\n".join([*heading, *map(_part, section.parts)])


def _part(part: str | Alert | Table) -> str:
    if isinstance(part, Table):
        rows = [[_entry(entry) for entry in row] for row in part.rows]
        return markdown_table([escape_markdown(name) for name in part.header], rows, part.marks)
    return f"**{escape_markdown(part.text)}**" if isinstance(part, Alert) else escape_markdown(part)


def _entry(entry: Entry) -> str:
    return str(entry) if isinstance(entry, TableNumber) else escape_markdown(str(entry))


def csv_file(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a CSV file with escaped text."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(_escape_csv(value) if isinstance(value, str) else value for value in row)
    return stream.getvalue()


def _escape_csv(text: str) -> str:
    """Return text that no spreadsheet runs as a formula (OWASP, "CSV injection")."""
    shown = printable_text(text, LONGEST_CELL)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULAS) else shown


def file_name(text: str) -> str:
    """Return a safe file name; a changed text gets a hash, so names stay distinct."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:80]
    if safe == text:
        return safe
    return f"{safe}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"
