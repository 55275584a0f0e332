"""The lines of a table of methods: of several seeds first all together, then each."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from draftmark.reports._shared.sections import Entry, Format, Name, Shown
from draftmark.results import Cell, Contender, Number, Pooled, Result, Results

Numbers = Mapping[str, Number] | None  # None of what failed


def lines(rows: Sequence[Result], results: Results) -> Iterator[tuple[Name, Numbers, str]]:
    """Yield (label, numbers, groups) of each line."""
    for contender, cells in groupby(rows, key=lambda row: row.cell.contender):
        groups = [item.letters for item in results.standings if item.contender == contender]
        letters = " / ".join(groups)
        if pooled := pooled_of(contender, results):
            yield Name(f"{contender.method}, {len(pooled.seeds)} seeds"), pooled.numbers, letters
            letters = ""
        for row in cells:
            yield row_name(row.cell, rows), None if row.failure else row.numbers, letters


def pooled_of(contender: Contender, results: Results) -> Pooled | None:
    """Return a contender's numbers over its seeds, if there are several that went well."""
    return next((item for item in results.pooled if item.contender == contender), None)


def row_name(cell: Cell, rows: Sequence[Result]) -> Name:
    """Return a cell's method, with its seed where there are several."""
    several = len({row.cell.seed for row in rows}) > 1
    return Name(cell.method + (f", seed {cell.seed}" if several else ""), cell)


def seeds_of(rows: Sequence[Result]) -> dict[str, list[int]]:
    """Return the seeds of each task: it may have its own."""
    found: dict[str, dict[int, None]] = {}
    for row in rows:
        found.setdefault(row.cell.task, {})[row.cell.seed] = None
    return {task: list(seeds) for task, seeds in found.items()}


def headline(speed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first measurement of a recipe's speed section was made with."""
    told = {name: _first(value) for name, value in speed.items()}
    added = {"batch_size": told.get("batch_sizes", 1), "length": told.get("length", "natural")}
    return told | added


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) else value


def shown(numbers: Numbers, key: str, form: Format) -> Entry:
    """Return a number with its interval and n, or a dash; "failed" of what failed."""
    if numbers is None:
        return "failed"
    return Shown(key, numbers[key], form) if key in numbers else "-"
