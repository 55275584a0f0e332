"""What papers publish of the same task, pair and method, beside what was measured."""

from collections.abc import Sequence
from itertools import chain

from harness.analysis.literature import Figure, matching
from harness.published import Contender, Result, Results
from reports._markdown import escape, table, three
from reports._rows import Numbers, shown


def literature(rows: Sequence[Result], results: Results) -> str:
    """Return the published figures of these cells beside their numbers; empty if there are none."""
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
        return ""
    header = ["method", "published as", "column", "quantity", "published", "here", "source"]
    figures = chain(*found.values())
    papers = dict.fromkeys(f"{escape(item.paper)}: {escape(item.protocol)}" for item in figures)
    note = "Definitions and protocols differ, so neither tests the other. " + " ".join(papers)
    heading = "### Published figures beside these"
    return f"{heading}\n\n{note}\n\n" + table(header, body, "llllrrl")


def _numbers(contender: Contender, rows: Sequence[Result], results: Results) -> Numbers:
    """Return a contender's numbers: of all seeds, where there are several that went well."""
    for pooled in results.pooled:
        if pooled.contender == contender:
            return pooled.numbers
    mine = [row for row in rows if row.cell.contender == contender]
    return next((row.numbers for row in mine if not row.failure), None)


def _row(figure: Figure, method: str, numbers: Numbers, results: Results) -> list[str]:
    told = figure.table
    source = f"{told.source}; {'read there' if told.status == 'primary' else 'second-hand'}"
    return [
        escape(method),
        escape(told.called),
        escape(told.column),
        escape(f"{told.quantity}: {told.definition}"),
        three(figure.value),
        shown(numbers, _key(told.beside, results), three),
        escape(source),
    ]


def _key(name: str, results: Results) -> str:
    """Return the number of a run that a figure stands beside; acceptance at temperature 0."""
    if name != "acceptance_rate":
        return name
    return f"{name}[t=0,gamma={results.recipe['evaluation']['num_speculative_tokens']}]"
