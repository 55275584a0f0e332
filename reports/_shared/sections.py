"""What a leaderboard says, as data: sections of paragraphs and tables, to be rendered anywhere.

Text is as it came; who renders it makes it harmless.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from draftmark.results import Cell, Number

Format = Callable[[float], str]


def two(value: float) -> str:
    """Return two decimals."""
    return f"{value:.2f}"


def three(value: float) -> str:
    """Return three decimals."""
    return f"{value:.3f}"


@dataclass(frozen=True)
class Shown:
    """A number in a table, by its key; `parts`: with its interval and n, without n, or alone."""

    key: str
    number: Number
    form: Format
    parts: Literal["all", "interval", "value"] = "all"

    @property
    def value(self) -> str:
        """The value alone."""
        return self.form(self.number.value)

    @property
    def interval(self) -> str:
        """The interval; what says that there is none; nothing where it is not shown."""
        low, high = self.number.low, self.number.high
        if self.parts == "value":
            return ""
        if low is None or high is None:
            return f"(n={self.number.n}, no interval)" if self.parts == "all" else ""
        return f"[{self.form(low)}, {self.form(high)}]"

    @property
    def n(self) -> str:
        """How many prompts it is of, where that is shown beside an interval."""
        has = self.parts == "all" and self.number.low is not None and self.number.high is not None
        return f"n={self.number.n}" if has else ""

    def __str__(self) -> str:
        """Return all that is shown."""
        return " ".join(part for part in (self.value, self.interval, self.n) if part)


@dataclass(frozen=True)
class Name:
    """Whose row it is: in words, and the cell, if it is a single one."""

    text: str
    cell: Cell | None = None

    def __str__(self) -> str:
        """Return the words."""
        return self.text


Entry = str | Shown | Name


@dataclass(frozen=True)
class Table:
    """A table; `align` has a letter for each column, l or r (l, then r)."""

    header: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    align: str = ""

    @property
    def marks(self) -> str:
        """The letter of each column."""
        return self.align or "l" + "r" * (len(self.header) - 1)


@dataclass(frozen=True)
class Alert:
    """What a reader must know before reading numbers."""

    text: str


@dataclass(frozen=True)
class Section:
    """A heading, or none, and what stands under it."""

    title: str
    parts: Sequence[str | Alert | Table]
