"""Tables of block efficiency by category of prompts, and by length of context."""

import re
from collections.abc import Iterator, Mapping, Sequence

from draftmark.analysis.categories import BY_CATEGORY, BY_CONTEXT, MACRO
from draftmark.analysis.quantities import BLOCK_TERM, quantity_key
from draftmark.reports._shared.content import Entry, Section, Table, TableNumber
from draftmark.reports._shared.rows import (
    Numbers,
    by_contender,
    gamma_of,
    numbers_of,
    temperatures_of,
    ways_of_drafting,
)
from draftmark.results import Result, Results

RATE = "block_efficiency"
_CATEGORIES = (
    "Each category pools its own prompts. Macro mean: over categories, each with the same weight. "
    "All prompts: the number of the table of methods. A conversation counts as one prompt."
)
_CONTEXTS = (
    "Context: tokens of prompt and response before a block. Every block is in one row, so passes "
    "and tokens add up to those of the table of methods."
)


def breakdown_sections(rows: Sequence[Result], results: Results) -> Iterator[Section]:
    """Yield the sections by category and by length of context, where the results have them."""
    methods = {
        contender.method: numbers_of(cells, results) or {}
        for contender, cells in by_contender(rows)
    }
    for title, note, suffix in (
        ("Block efficiency by category", _CATEGORIES, BY_CATEGORY),
        ("Block efficiency by length of context", _CONTEXTS, BY_CONTEXT),
    ):
        tables = list(_tables(methods, results, suffix))
        if tables:
            yield Section(title, [note, *tables])


def _tables(methods: Mapping[str, Numbers], results: Results, suffix: str) -> Iterator[Table]:
    """Yield a table for each temperature and way of drafting: parts by methods."""
    gamma = gamma_of(results)
    for temperature in temperatures_of(results):
        for draft, how in ways_of_drafting([results], temperature).items():
            whole = quantity_key(RATE, temperature, gamma, draft=draft)
            lines = _lines(methods, whole.replace(RATE, RATE + suffix, 1), suffix)
            if suffix == BY_CATEGORY and lines:
                lines["macro mean"] = whole.replace(RATE, RATE + MACRO, 1)
                lines["all prompts"] = whole
            name = f"T={temperature:g}{how}"
            body = [[line, *_entries(key, methods)] for line, key in lines.items()]
            if body:
                yield Table([name, *methods], body)


def _lines(methods: Mapping[str, Numbers], whole: str, suffix: str) -> dict[str, str]:
    """Return the key of each part of a rate by its name; ranges of context are in order."""
    term = "category" if suffix == BY_CATEGORY else "context"
    start = f"{whole.removesuffix(']')},{term}="
    every = dict.fromkeys(key for numbers in methods.values() for key in numbers or ())
    keys = [key for key in every if BLOCK_TERM not in key]  # a report is of one rule
    lines = {key.removeprefix(start)[:-1]: key for key in keys if key.startswith(start)}
    if suffix == BY_CONTEXT:
        return dict(sorted(lines.items(), key=lambda line: int(re.split(r"\D", line[0])[0])))
    return lines


def _entries(key: str, methods: Mapping[str, Numbers]) -> Iterator[Entry]:
    for numbers in methods.values():
        yield TableNumber(key, numbers[key], 2) if numbers and key in numbers else "-"
