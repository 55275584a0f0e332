"""A run in one small file to publish: counts of every prompt, settings, provenance, no texts.

`draftmark merge counts.parquet --out FOLDER` gives the run back, for every report that shows
neither texts nor tokens.
"""

# In short: A run in one small file to publish: counts of every prompt.

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draftmark.analysis.published_counts import COUNTS, pack_counts
from draftmark.analysis.stored_counts import stored_cell, stored_rows
from draftmark.errors import UserError
from draftmark.results import Result, Results
from draftmark.store.records import DECODES, LIKELIHOODS, SELECTION
from draftmark.store.run_folder import verified_file
from draftmark.store.speed_records import ENGINE, PARTS, RUNS
from draftmark.types import MAX_GAMMA

# Small records that are kept as they are; those of later speed conditions are "runs-1.parquet" ...
_KEPT = tuple(name.partition(".")[0] for name in (DECODES, RUNS, ENGINE, PARTS, SELECTION))
_GRADES = ("-grades.parquet", f"-{LIKELIHOODS}")
_TEXT = "text"


@dataclass(frozen=True)
class PublishedCounts:
    """The report of a run's counts. `longest`: the longest block whose counts are kept."""

    longest: int = MAX_GAMMA

    def __call__(self, results: Results, directory: Path) -> dict[str, bytes]:
        """Return counts.parquet; raises UserError without acceptance tables."""
        if results.server is not None:
            raise UserError(f"{directory} was measured at a server: it has no acceptance tables.")
        if results.verification != "standard":
            raise UserError(
                "counts.parquet has both rules of verification; leave --verification out."
            )
        temperatures = results.recipe["evaluation"]["temperatures"]
        done = {number: row for number, row in enumerate(results.results) if not row.failure}
        cells = {
            number: {t: stored_cell(row, directory, t) for t in temperatures}
            for number, row in done.items()
        }
        files = dict(item for row in done.values() for item in _files(row, directory))
        grades = dict(item for row in done.values() for item in _grades(row, directory))
        return {COUNTS: pack_counts(results, cells, files, grades, self.longest)}


def _names(row: Result, directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / row.records).iterdir())


def _files(row: Result, directory: Path) -> Iterator[tuple[str, bytes]]:
    for name in _names(row, directory):
        stem = name.partition(".")[0]
        if any(stem == kind or stem.removeprefix(f"{kind}-").isdigit() for kind in _KEPT):
            file = f"{row.records}/{name}"
            yield file, verified_file(directory, file).read_bytes()


def _grades(row: Result, directory: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the scores of each prompt, without the text that was graded."""
    for name in _names(row, directory):
        if name.endswith(_GRADES):
            rows = stored_rows(row, directory, name)
            kept = [{key: it[key] for key in it if key != _TEXT} for it in rows]
            yield f"{row.records}/{name}", kept


REPORT = PublishedCounts()
