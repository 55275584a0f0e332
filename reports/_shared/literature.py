"""What papers publish of the same task, pair and method, beside what was measured."""

from collections.abc import Iterator, Sequence
from itertools import chain

from draftmark.analysis.literature import Figure, matching
from draftmark.reports._shared.rows import Numbers, pooled_of, shown
from draftmark.reports._shared.sections import Entry, Section, Table, three
from draftmark.results import Contender, Result, Results


def literature(rows: Sequence[Result], results: Results) -> Iterator[Section]:
    """Yield the published figures of these cells beside their numbers, if there are any."""
    found = {
        contender: matching(contender, results.recipe)
        for contender in dict.fromkeys(row.cell.contender for row in rows)
    }
    body = [
        _row(figure, contender.method, _numbers(contender, rows, results), results)
        for contender, figures in found.items()
        for figure in figures
    ]
    if not body:
        return
    header = ["method", "published as", "column", "quantity", "published", "here", "source"]
    figures = chain(*found.values())
    papers = dict.fromkeys(f"{item.paper}: {item.protocol}" for item in figures)
    note = "Definitions and protocols differ, so neither tests the other."
    figures_beside = Table(header, body, "llllrrl")
    yield Section("Published figures beside these", (note, *papers, figures_beside))


def _numbers(contender: Contender, rows: Sequence[Result], results: Results) -> Numbers:
    """Return a contender's numbers: of all seeds, where there are several that went well."""
    if pooled := pooled_of(contender, results):
        return pooled.numbers
    mine = [row for row in rows if row.cell.contender == contender]
    return next((row.numbers for row in mine if not row.failure), None)


def _row(figure: Figure, method: str, numbers: Numbers, results: Results) -> list[Entry]:
    told = figure.table
    source = f"{told.source}; {'read there' if told.status == 'primary' else 'second-hand'}"
    return [
        method,
        told.called,
        told.column,
        f"{told.quantity}: {told.definition}",
        three(figure.value),
        shown(numbers, _key(told.beside, results), three),
        source,
    ]


def _key(name: str, results: Results) -> str:
    """Return the number of a run that a figure stands beside; acceptance at temperature 0."""
    if name != "acceptance_rate":
        return name
    return f"{name}[t=0,gamma={results.recipe['evaluation']['num_speculative_tokens']}]"
