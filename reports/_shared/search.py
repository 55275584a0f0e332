"""The section on learning rates that were chosen on validation, and what the search cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from draftmark.reports._shared.content import Entry, Section, table_section
from draftmark.reports._shared.rows import row_name
from draftmark.results import Result


def learning_rates_section(rows: Sequence[Result]) -> Iterator[Section]:
    """Yield the table of rows whose drafts were chosen among trainings; nothing without any."""
    chosen = [row for row in rows if {"search", "learning_rate"} <= row.provenance.keys()]
    notes = [
        "Drafts of the first seed, equal but for the learning rate: the best on validation is "
        "kept, and other seeds train at its rate."
    ]
    header = ["method", "chosen", "value on validation, by rate", "FLOPs of all", "seconds of all"]
    body = [_line(row, rows, row.provenance["search"]) for row in chosen]
    yield from table_section("Learning rates", notes, header, body, "lllrr")


def _line(row: Result, rows: Sequence[Result], trials: Sequence[Mapping[str, Any]]) -> list[Entry]:
    return [
        row_name(row.cell, rows),
        f"{row.provenance['learning_rate']:g}",
        ", ".join(f"{trial['learning_rate']:g}: {trial['value']:.4f}" for trial in trials),
        f"{sum(trial['ledger']['flops'] for trial in trials):.2e}",
        f"{sum(trial['ledger']['train_s'] for trial in trials):.0f}",
    ]
