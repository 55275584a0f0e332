"""What a board answers: which draft is first on each task of a target, suite and temperature."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from draftmark.analysis.board.tables import Table, TableRow
from draftmark.results import Number

_LETTER = re.compile(r"[a-z]|\([a-z]+\)")  # after z come (aa), (ab) ...


@dataclass(frozen=True)
class Answer:
    """The tables of a target, suite and temperature under the standard rule, one for each task.

    `apart` is how many rows of the same names stand in other tables, as texts or target differ.
    """

    suite: str
    target: str
    temperature: float
    tables: Sequence[Table]
    apart: int

    @cached_property
    def rows(self) -> dict[str, list[TableRow | None]]:
        """The row of each draft in each table, None where it has none; drafts in order.

        The first draft is the nearest to the first rows of the tables that it stands in.
        """
        found: dict[str, list[TableRow | None]] = {}
        for place, table in enumerate(self.tables):
            for row in table.rows:
                line = found.setdefault(row.submission.header.draft, [None] * len(self.tables))
                line[place] = row
        return dict(sorted(found.items(), key=lambda item: self._worth(item[1]), reverse=True))

    def _worth(self, line: Sequence[TableRow | None]) -> tuple[float, int]:
        """Return the mean share of the first row's efficiency, and the number of tasks."""
        shares = [
            row.efficiencies[table.gamma].value / table.rows[0].efficiencies[table.gamma].value
            for row, table in zip(line, self.tables, strict=True)
            if row
        ]
        return sum(shares) / len(shares), len(shares)

    @cached_property
    def first(self) -> list[list[str]]:
        """The first draft of each table, and those that are tied with it."""
        return [_leaders(table) for table in self.tables]

    @property
    def leaders(self) -> dict[tuple[str, ...], list[Table]]:
        """The tables of each group of first drafts; a group of several drafts is tied."""
        found: dict[tuple[str, ...], list[Table]] = {}
        for table, names in zip(self.tables, self.first, strict=True):
            found.setdefault(tuple(names), []).append(table)
        return found


def smallest_lead(tables: Sequence[Table]) -> Number | None:
    """Return the smallest difference between the first row and the next; None if none is known."""
    seconds = [table.rows[1].standing for table in tables if len(table.rows) > 1]
    behind = [item.behind for item in seconds if item and item.behind]
    return min(behind, key=lambda number: number.value, default=None)


def _leaders(table: Table) -> list[str]:
    """Return the drafts that share a letter with the first row of a table, the first included."""
    first = _letters(table.rows[0])
    others = [row for row in table.rows[1:] if first & _letters(row)]
    return [row.submission.header.draft for row in (table.rows[0], *others)]


def _letters(row: TableRow) -> set[str]:
    return set(_LETTER.findall(row.standing.letters)) if row.standing else set()


def answers(tables: Sequence[Table]) -> Iterator[Answer]:
    """Yield the answers of tables, in their order; of tables with one name the longest counts."""
    groups: dict[tuple[str, str, float], dict[str, list[Table]]] = {}
    for table in tables:
        terms = table.terms
        if terms.verification == "standard":
            place = terms.suite, terms.target, terms.temperature
            groups.setdefault(place, {}).setdefault(terms.task, []).append(table)
    for place, by_task in groups.items():
        longest = [max(found, key=lambda table: len(table.rows)) for found in by_task.values()]
        every = sum(len(table.rows) for found in by_task.values() for table in found)
        yield Answer(*place, longest, every - sum(len(table.rows) for table in longest))
