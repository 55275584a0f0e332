"""Acceptance as speculators' evaluation writes it: acceptance.csv, a row for each subset.

https://github.com/vllm-project/speculators, scripts/evaluate/perf_utils.py,
`acceptance_csv_columns`. A subset is a task; each pair, method, seed and temperature has a file.
"""

# In short: Acceptance as speculators writes it: acceptance.csv.

from collections.abc import Iterator
from pathlib import Path

from draftmark.errors import UserError
from draftmark.reports._shared.content import csv_file, file_name
from draftmark.reports._shared.rows import group_by
from draftmark.reports._shared.vllm_counts import VllmCounts, cell_counts, definition
from draftmark.results import Cell, Results

_COUNTS = ("num_drafts", "num_draft_tokens", "num_accepted_tokens", "acceptance_length")
FOLDER = "speculators"


def speculators(results: Results, directory: Path) -> dict[str, str]:
    """Return the files, and definitions.md beside them.

    Raises UserError if the run has no counts by position.
    """
    found = [
        (row.cell, counts)
        for row in results.results
        if not row.failure
        for counts in cell_counts(row, results, directory)
    ]
    if not found:
        raise UserError(
            f"{directory} has no acceptance by position, which acceptance.csv needs; score a "
            "draft, or measure a server that reports it."
        )
    files = {
        f"{FOLDER}/{name}/acceptance.csv": _csv([(cell.task, counts) for cell, counts in rows])
        for name, rows in group_by(found, lambda item: _name(*item)).items()
    }
    return {**files, f"{FOLDER}/definitions.md": f"{definition(results)}\n"}


def _name(cell: Cell, counts: VllmCounts) -> str:
    how = counts.how.replace(", draft ", "-")
    return file_name(f"{cell.pair}__{cell.method}__{cell.seed}__t{counts.temperature:g}{how}")


def _csv(rows: list[tuple[str, VllmCounts]]) -> str:
    positions = max(len(counts.reached) for _, counts in rows)
    header = ["subset", *_COUNTS, *(f"acceptance_at_pos_{place}" for place in range(positions))]
    return csv_file(header, ([subset, *_values(counts)] for subset, counts in rows))


def _values(counts: VllmCounts) -> Iterator[float]:
    yield from (counts.drafts, counts.drafted, counts.accepted, counts.acceptance_length)
    yield from (reached / counts.drafts for reached in counts.reached)


REPORT = speculators
