"""Published figures of the same task, pair and method, beside the measured numbers."""

from collections.abc import Iterator, Sequence

from draftmark.analysis.literature import Figure, matching_figures
from draftmark.analysis.quantities import quantity_key
from draftmark.reports._shared.content import Entry, Section, table_section
from draftmark.reports._shared.rows import (
    Numbers,
    by_contender,
    gamma_of,
    number_entry,
    numbers_of,
)
from draftmark.results import Result, Results


def literature_sections(rows: Sequence[Result], results: Results) -> Iterator[Section]:
    """Yield the published figures of these cells beside their numbers; nothing if none match."""
    body: list[list[Entry]] = []
    papers: dict[str, None] = {}
    for contender, cells in by_contender(rows):
        for figure in matching_figures(contender, results.recipe):
            body.append(_row(figure, contender.method, numbers_of(cells, results), results))
            papers[f"{figure.paper}: {figure.protocol}"] = None
    header = ["method", "published as", "column", "quantity", "published", "here", "source"]
    note = "Definitions and protocols differ, so neither number tests the other."
    title = "Published figures beside these"
    yield from table_section(title, [note, *papers], header, body, "llllrrl")


def _row(figure: Figure, method: str, numbers: Numbers, results: Results) -> list[Entry]:
    published = figure.table
    status = "read there" if published.status == "primary" else "second-hand"
    key: str = published.beside
    if key == "acceptance_rate":
        key = quantity_key(key, 0, gamma_of(results))
    return [
        method,
        published.called,
        published.column,
        f"{published.quantity}: {published.definition}",
        f"{figure.value:.3f}",
        number_entry(numbers, key, 3),
        f"{published.source}; {status}",
    ]
