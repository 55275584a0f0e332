"""The page of a cell, as data: headline numbers, all numbers, ledger, stages, examples."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from draftmark.analysis import validation_history
from draftmark.analysis.titles import quantity_title, terms_title
from draftmark.reports._shared.content import TableNumber
from draftmark.reports._shared.rows import LEDGER_COUNTS
from draftmark.reports._site.charts import best_costs, cell_charts
from draftmark.reports._site.numbers import number_values
from draftmark.reports._site.pages import SiteRun, slug
from draftmark.reports._site.provenance import settings_text, stages_of
from draftmark.reports._site.stages import stages_table
from draftmark.reports._site.texts import BoardTexts
from draftmark.results import Result
from draftmark.text import printable_text


def cell_values(run: SiteRun, row: Result, texts: BoardTexts) -> dict[str, Any]:
    """Return the template values of a cell's page."""
    stages = stages_of(row)
    return {
        "run": run,
        "row": row,
        "cell": row.cell,
        "payload": {
            "charts": list(cell_charts(run, row)),
            "numbers": _numbers(row),
            "examples": texts.marks.get(row.cell, []),
        },
        "headline": [
            (column.heading, TableNumber(key, row.numbers[key], column.decimals))
            for column in run.columns
            if (key := column.key(run.gamma)) in row.numbers
        ],
        "ledger": list(_ledger(row)),
        "nothing_learned": validation_history.learned_nothing(row.history),
        "costs": best_costs(run, row),
        "stages": stages_table(stages),
        "settings": settings_text([it for it in stages if it["key"] not in run.shared_stages]),
    }


def _numbers(row: Result) -> dict[str, Any]:
    """Return the table of all numbers: each quantity with its anchor and rows, conditions apart.

    A row is [place of the condition, value, low, high, n], without n where it is the page's n.
    """
    counts = Counter(number.n for number in row.numbers.values())
    usual = max(counts, key=counts.__getitem__, default=0)
    conditions: dict[str, int] = {}
    quantities: dict[str, list[list[Any]]] = {}
    for key, number in row.numbers.items():
        quantity, _, rest = key.partition("[")
        condition = printable_text(terms_title(rest.removesuffix("]")), 200)
        place = conditions.setdefault(condition, len(conditions))
        values = number_values(number)
        quantities.setdefault(quantity, []).append(
            [place, *(values[:-1] if number.n == usual else values)]
        )
    titles = [
        (printable_text(quantity_title(quantity), 200), slug(quantity), rows)
        for quantity, rows in quantities.items()
    ]
    return {"n": usual, "conditions": list(conditions), "quantities": titles}


def _ledger(row: Result) -> Iterator[tuple[str, str]]:
    if not row.ledger:
        return
    for name, title in LEDGER_COUNTS.items():
        yield title, f"{getattr(row.ledger, name):,}"
    yield "FLOPs (estimate)", f"{row.ledger.flops:.3g}"
    yield "seconds", f"{row.ledger.train_s:.1f}"
    yield "peak memory of the process so far", f"{row.ledger.peak_bytes / 1e9:.2f} GB"
    if row.history:
        yield (
            "step of the checkpoint kept",
            f"{validation_history.kept_point(row.history)['step']:.0f}",
        )
