"""Results of a run -> the trackers that log its trainings (`training.trackers`).

Each cell is a step; the metrics are its numbers and their intervals. The settings say what each
rate means.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from draftmark.config.model_sections import Tracker
from draftmark.results import Result, Results
from draftmark.training.trackers import Journal


def track_results(results: Results, trackers: Sequence[Tracker], folder: Path) -> None:
    """Report the numbers of every cell; trackers that write files write them into `folder`."""
    if not trackers:
        return
    done = [row for row in results.results if not row.failure]
    definitions = {
        f"definition.{key.partition('[')[0]}": number.definition
        for row in done
        for key, number in row.numbers.items()
    }
    named = {"run": results.name, "title": results.title, **definitions}
    journal = Journal.open(trackers, folder, named)
    try:
        for step, row in enumerate(done, start=1):
            journal.log(dict(_metrics(row)), step)
    finally:
        journal.close()


def _metrics(row: Result) -> Iterator[tuple[str, float]]:
    """Yield each number of a cell by a name that all trackers take."""
    cell = row.cell
    place = "/".join(map(_plain, (cell.task, cell.pair, cell.method, f"seed{cell.seed}")))
    for key, number in row.numbers.items():
        name = f"{place}/{_plain(key)}"
        yield name, number.value
        if number.low is not None and number.high is not None:
            yield from ((f"{name}.low", number.low), (f"{name}.high", number.high))


def _plain(text: str) -> str:
    """Return text in letters, digits, "_", "-" and ".", which MLflow's names may have."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_")
