"""The lines of a table of methods: of several seeds first all together, then each."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from harness.published import Cell, Number, Result, Results
from reports._markdown import Format, escape, show

Numbers = Mapping[str, Number] | None  # None of what failed


def lines(rows: Sequence[Result], results: Results) -> Iterator[tuple[str, Numbers, str]]:
    """Yield (label, numbers, groups) of each line."""
    for contender, cells in groupby(rows, key=lambda row: row.cell.contender):
        groups = [item.letters for item in results.standings if item.contender == contender]
        letters = " / ".join(groups)
        for pooled in results.pooled:
            if pooled.contender == contender:
                label = f"{escape(contender.method)}, {len(pooled.seeds)} seeds"
                yield label, pooled.numbers, letters
                letters = ""
        for row in cells:
            yield row_name(row.cell, rows), None if row.failure else row.numbers, letters


def row_name(cell: Cell, rows: Sequence[Result]) -> str:
    """Return a cell's method, with its seed where there are several."""
    several = len({row.cell.seed for row in rows}) > 1
    return escape(cell.method) + (f", seed {cell.seed}" if several else "")


def shown(numbers: Numbers, key: str, form: Format) -> str:
    """Return a number with its interval and n, or a dash; "failed" of what failed."""
    if numbers is None:
        return "failed"
    return show(numbers[key], form) if key in numbers else "-"
