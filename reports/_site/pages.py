"""What the site has pages of: runs, their tables (a task and pair each), their cells."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from draftmark.results import Cell, Contender, Number, Pooled, Result, Results
from draftmark.text import plain


def slug(text: str, longest: int = 40) -> str:
    """Return text as it may stand in the name of a file or of a place on a page."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text[:200]).strip("-").lower()[:longest] or "x"


@dataclass(frozen=True)
class Line:
    """A contender in a table: its cells, and the numbers of all its seeds or of the one."""

    contender: Contender
    cells: tuple[Result, ...]
    pooled: Pooled | None
    letters: dict[str, str]  # by the quantity that they are of

    @property
    def numbers(self) -> dict[str, Number]:
        """The numbers that stand for it; none of what failed."""
        if self.pooled:
            return dict(self.pooled.numbers)
        return dict(next((row.numbers for row in self.cells if not row.failure), {}))

    @property
    def failed(self) -> list[Result]:
        """Its cells that failed."""
        return [row for row in self.cells if row.failure]

    @property
    def seeds(self) -> str:
        """Its seeds in words."""
        return ", ".join(f"{row.cell.seed}" for row in self.cells)


@dataclass(frozen=True)
class Board:
    """A task and pair of a run, on a page of its own."""

    run: "Run"
    number: int
    rows: tuple[Result, ...]

    @property
    def task(self) -> str:
        """Its task."""
        return self.rows[0].cell.task

    @property
    def pair(self) -> str:
        """Its pair."""
        return self.rows[0].cell.pair

    @property
    def file(self) -> str:
        """Its page."""
        return f"tables/{self.run.number}-{self.number}-{slug(f'{self.task} {self.pair}')}.html"

    @cached_property
    def lines(self) -> list[Line]:
        """Its contenders, in the order of the recipe."""
        return [
            Line(who, tuple(cells), self.run.pooled.get(who), self.run.letters.get(who, {}))
            for who, cells in groupby(self.rows, key=lambda row: row.cell.contender)
        ]


@dataclass(frozen=True)
class Run:
    """A run with its place among all, and the names of its pages."""

    number: int
    results: Results
    directory: Path
    label: str = ""  # its name, commit and day; with its number where others have the same

    @property
    def file(self) -> str:
        """Its page."""
        return f"runs/{self.number}-{slug(self.results.name)}.html"

    @property
    def data(self) -> str:
        """The folder of its numbers as data."""
        return f"data/{self.number}-{slug(self.results.name)}"

    @property
    def gamma(self) -> int:
        """The tokens that a block drafts, where no other number is named."""
        return int(self.results.recipe["evaluation"]["num_speculative_tokens"])

    @property
    def temperatures(self) -> Sequence[float]:
        """The temperatures that it was measured at."""
        return list(self.results.recipe["evaluation"]["temperatures"])

    @cached_property
    def boards(self) -> list[Board]:
        """Its tables, in the order of its results."""
        groups = groupby(self.results.results, key=lambda row: (row.cell.task, row.cell.pair))
        return [Board(self, n, tuple(rows)) for n, (_, rows) in enumerate(groups, start=1)]

    @cached_property
    def pooled(self) -> dict[Contender, Pooled]:
        """Numbers over seeds, by whose they are."""
        return {item.contender: item for item in self.results.pooled}

    @cached_property
    def letters(self) -> dict[Contender, dict[str, str]]:
        """Groups, by whose and of which quantity they are."""
        found: dict[Contender, dict[str, str]] = {}
        for item in self.results.standings:
            found.setdefault(item.contender, {})[item.quantity] = item.letters
        return found

    @cached_property
    def cells(self) -> dict[Cell, str]:
        """The page of every cell."""
        return {
            row.cell: f"cells/{self.number}-{place}-{slug(f'{row.cell.task} {row.cell.method}')}"
            f"-s{row.cell.seed}.html"
            for place, row in enumerate(self.results.results, start=1)
        }


def key(name: str, temperature: float, gamma: int) -> str:
    """Return the key of a number at a temperature and block length."""
    return f"{name}[t={temperature:g},gamma={gamma}]"


def runs_of(given: Sequence[tuple[Results, Path]]) -> list[Run]:
    """Return runs with their numbers, and with labels that tell them apart."""
    labels = [_label(results) for results, _ in given]
    return [
        Run(number, *item, label if labels.count(label) == 1 else f"{label} ({number})")
        for number, (item, label) in enumerate(zip(given, labels, strict=True), start=1)
    ]


def _label(results: Results) -> str:
    git = results.commit
    told = [git.get("commit", "")[:8], (git.get("date") or "")[:10]]
    return plain(" ".join([results.name, *(part for part in told if part)]))
