"""Tables for the site: ranked, seeds folded into one row, and no column that says nothing.

The same content as the leaderboard's; the full table of all seeds is one click away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from draftmark.reports._shared.content import (
    Alert,
    Entry,
    RowName,
    Rows,
    Section,
    Table,
    TableNumber,
)
from draftmark.reports._shared.rows import group_by, pooled_name
from draftmark.reports._site.pages import SEEDS, Board, Line, slug
from draftmark.results import Contender, Number

_NOTHING = ("", "-", "failed")
_GROUPS, _BY_SEED, _RANGE = "groups", "by seed", " to "
_DEFINED = {"T": "t", "p": "p", "detectable": "detectable", "prompts": "prompts"}


@dataclass(frozen=True)
class PageTable:
    """A table of a page; `left_out` is a sentence on columns that say nothing, empty if none.

    `seeds` is the table of all seeds, None if the table itself has them, or their pages do.
    """

    table: Table
    pages: Sequence[str]  # of each row's numbers; empty without one
    left_out: str
    seeds: "PageTable | None" = None

    @property
    def definitions(self) -> list[str]:
        """The place of each heading's definition; empty if it has none."""
        columns = zip(self.table.header, zip(*self.table.rows, strict=True), strict=True)
        return [_definition(heading, column) for heading, column in columns]


@dataclass(frozen=True)
class PageSection:
    """A section of a page."""

    title: str
    parts: Sequence[str | Alert | PageTable]


def page_section(section: Section, board: Board | None = None) -> PageSection:
    """Return a section whose tables are page tables; tables without rows are left out.

    Without a board rows have no pages and no seeds.
    """
    parts = [
        _page_table(part, board) if isinstance(part, Table) else part
        for part in section.parts
        if not isinstance(part, Table) or part.rows
    ]
    return PageSection(section.title, parts)


def plain_table(table: Table, pages: Sequence[str] = ()) -> PageTable:
    """Return a table of no board; `pages` has the page of each row, by default none."""
    shown, left_out = _without_silent_columns(table)
    return PageTable(shown, pages or [""] * len(table.rows), left_out)


def _page_table(table: Table, board: Board | None) -> PageTable:
    if board is None:
        return plain_table(table)
    table = _groups_first(table)
    folded = _folded(table, board)
    if len(folded) == len(table.rows):
        return _table(replace(table, rows=folded), board, "")
    made = _table(replace(table, rows=folded), board, f"#{SEEDS}")
    is_first = table.header[1].startswith(_GROUPS)
    with_seeds = is_first or any(_is_of_seeds(entry) for row in folded for entry in row)
    return replace(made, seeds=_table(table, board, "")) if with_seeds else made


def _is_of_seeds(entry: Entry) -> bool:
    """True if an entry says less than those of the seeds, which their pages do not have either."""
    return isinstance(entry, str) and (entry == _BY_SEED or _RANGE in entry)


def _table(table: Table, board: Board, pooled_page: str) -> PageTable:
    pages = [_page(row[0], board, pooled_page) for row in table.rows]
    shown, left_out = _without_silent_columns(table)
    return PageTable(_with_one_n(shown), pages, left_out)


def _with_one_n(table: Table) -> Table:
    """Return a table with n in the headings of the columns whose numbers all have the same."""
    places = {
        place: n for place, n in enumerate(map(_shared_n, zip(*table.rows, strict=True))) if n
    }
    header = [
        f"{name} ({places[place]})" if place in places else name
        for place, name in enumerate(table.header)
    ]
    rows = [
        [_without_n(entry) if place in places else entry for place, entry in enumerate(row)]
        for row in table.rows
    ]
    return Table(header, rows, table.marks)


def _shared_n(column: Sequence[Entry]) -> str:
    found = {entry.n for entry in column if isinstance(entry, TableNumber)}
    return found.pop() if len(found) == 1 else ""


def _without_n(entry: Entry) -> Entry:
    return replace(entry, parts="interval") if isinstance(entry, TableNumber) else entry


def _page(entry: Entry, board: Board, pooled_page: str) -> str:
    if not isinstance(entry, RowName):
        return ""
    return f"../{board.run.cells[entry.cell]}" if entry.cell else pooled_page


def _groups_first(table: Table) -> Table:
    """Return a table with the group letters, if any, right after the name."""
    if not table.header[-1].startswith(_GROUPS):
        return table
    rows = [[row[0], row[-1], *row[1:-1]] for row in table.rows]
    header = [table.header[0], table.header[-1], *table.header[1:-1]]
    return Table(header, rows, f"{table.marks[0]}l{table.marks[1:-1]}")


def _folded(table: Table, board: Board) -> Rows:
    """Return one row for each contender and label, ranked; tables of other rows as they are."""
    found = [(_contender(row[0], board), row) for row in table.rows]
    known = [(contender, row) for contender, row in found if contender]
    if len(known) < len(found):
        return table.rows
    labels = [
        place
        for place, heading in enumerate(table.header)
        if place and table.marks[place] == "l" and not heading.startswith(_GROUPS)
    ]
    groups = group_by(known, lambda pair: (pair[0], *(str(pair[1][place]) for place in labels)))
    order = [line.contender for line in board.ranked]
    ranked = sorted(groups.values(), key=lambda group: order.index(group[0][0]))
    return [
        _one_row([row for _, row in group], board.ranked[order.index(group[0][0])])
        for group in ranked
    ]


def _contender(entry: Entry, board: Board) -> Contender | None:
    if not isinstance(entry, RowName):
        return None
    if entry.cell:
        return entry.cell.contender
    pooled = [item for item in board.run.results.pooled if pooled_name(item) == entry]
    found = [item.contender for item in pooled if board.has(item.contender)]
    return found[0] if found else None


def _one_row(rows: Rows, line: Line) -> Sequence[Entry]:
    """Return the row of a contender's seeds: the pooled one if there is one, else one made here."""
    first = rows[0]
    if len(rows) == 1:
        return first
    name = RowName(line.contender.method)
    if isinstance(first[0], RowName) and not first[0].cell:
        return [name, *first[1:]]
    columns = list(zip(*rows, strict=True))[1:]
    return [name, *(_one_entry(column, line.numbers) for column in columns)]


def _one_entry(column: Sequence[Entry], numbers: Mapping[str, Number]) -> Entry:
    """Return the entry of several seeds: the pooled number, the same text, or a range."""
    for entry in column:
        if isinstance(entry, TableNumber):
            number = numbers.get(entry.key)
            return replace(entry, number=number) if number else _BY_SEED
    values = list(dict.fromkeys(map(str, column)))
    if len(values) == 1:
        return values[0]
    try:
        return _RANGE.join(dict.fromkeys((min(values, key=float), max(values, key=float))))
    except ValueError:
        return _BY_SEED


def _without_silent_columns(table: Table) -> tuple[Table, str]:
    """Return a table without columns that are empty or zero throughout, and a sentence on them."""
    columns = list(zip(*table.rows, strict=True))
    silent = {place: _silence(column) for place, column in enumerate(columns) if place}
    kept = [place for place in range(len(table.header)) if not silent.get(place)]
    if len(kept) < 2 or len(kept) == len(table.header):
        return table, ""
    by_reason = group_by((place for place in silent if silent[place]), lambda place: silent[place])
    parts = [
        f"{', '.join(table.header[place] for place in places)} ({reason})"
        for reason, places in by_reason.items()
    ]
    shown = Table(
        [table.header[place] for place in kept],
        [[row[place] for place in kept] for row in table.rows],
        "".join(table.marks[place] for place in kept),
    )
    return shown, f"Left out: {'; '.join(parts)}."


def _silence(column: Sequence[Entry]) -> str:
    """Return why a column says nothing; empty if it says something."""
    if all(str(entry) in _NOTHING for entry in column):
        return "no numbers"
    return "0 throughout" if all(map(_is_zero, column)) else ""


def _is_zero(entry: Entry) -> bool:
    if isinstance(entry, TableNumber):
        number = entry.number
        return not any((number.value, number.low, number.high))
    try:
        return float(str(entry)) == 0
    except ValueError:
        return False


def _definition(heading: str, column: Sequence[Entry]) -> str:
    """Return the place of a heading's definition; empty if it has none."""
    names = {entry.key.partition("[")[0] for entry in column if isinstance(entry, TableNumber)}
    if len(names) == 1:
        return slug(names.pop())
    return "group" if heading.startswith(_GROUPS) else _DEFINED.get(heading, "")
