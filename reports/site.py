"""A static site of any number of runs: one folder that opens from disk or from any web server.

A page for the ranking of all, for each task and pair, for each cell, for each run; no network, no
inline script or style. Libraries that it loads lie in `site/vendor`, whole, with their licences.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from draftmark.reports._shared.board import board as sections_of
from draftmark.reports._shared.checks import LOOKED_FOR, overlaps
from draftmark.reports._shared.manifest import facts
from draftmark.reports._site import overview
from draftmark.reports._site.cells import page as cell_page
from draftmark.reports._site.charts import COSTS, forests
from draftmark.reports._site.definitions import GLOSSARY, all_definitions
from draftmark.reports._site.pages import Board, Run, runs_of
from draftmark.reports._site.render import Ready, assets, page
from draftmark.reports.export import REPORT as export
from draftmark.reports.leaderboard import REPORT as leaderboard
from draftmark.results import Result, Results
from draftmark.text import paragraphs

LONGEST_RECIPE = 100_000
Files = Mapping[str, str | bytes]


@dataclass(frozen=True)
class Site:
    """The report, with the runs it is of (by default the one it is called with)."""

    runs: tuple[tuple[Results, Path], ...] = ()
    folder: str = "site"  # in the folder that reports are written to; "" for that itself

    def __call__(self, results: Results, directory: Path) -> dict[str, str | bytes]:
        """Return every file of the site; `index.html` is where it starts."""
        runs = runs_of(self.runs or ((results, directory),))
        root = f"{self.folder}/" if self.folder else ""
        return {f"{root}{file}": content for file, content in _files(runs)}


def _files(runs: list[Run]) -> Iterator[tuple[str, str | bytes]]:
    yield "index.html", page("index.html", 0, **overview.index(runs))
    counted = [overview.counted(run) for run in runs]
    yield "runs.html", page("runs.html", 0, runs=counted)
    known = all_definitions([run.results for run in runs])
    yield "definitions.html", page("definitions.html", 0, definitions=known, glossary=GLOSSARY)
    yield from assets().items()
    for run in runs:
        data = dict(_data(run))
        yield from data.items()
        yield run.file, _run_page(run, list(data))
        for board in run.boards:
            yield board.file, _table_page(board)
            for row in board.rows:
                yield run.cells[row.cell], _cell_page(board, row)


def _data(run: Run) -> Iterator[tuple[str, str | bytes]]:
    files: Files = {**leaderboard(run.results, run.directory), **export(run.results, run.directory)}
    for file, content in files.items():
        yield f"{run.data}/{file}", content


def _run_page(run: Run, files: list[str]) -> str:
    return page(
        "run.html",
        1,
        run=run,
        lacks=list(overview.run_lacks(run)),
        looked_for=LOOKED_FOR,
        overlaps=overlaps(run.results),
        failed=[row for row in run.results.results if row.failure],
        facts=list(facts(run.results)),
        files=files,
        recipe=Ready(paragraphs(json.dumps(run.results.recipe, indent=1), LONGEST_RECIPE)),
    )


def _table_page(board: Board) -> str:
    subject = f"{board.task}, {board.pair}"
    findings = [item for item in board.run.results.findings if item.subject == subject]
    return page(
        "table.html",
        1,
        board=board,
        sections=list(sections_of(board.rows, board.run.results)),
        charts=list(forests(board)),
        findings=findings,
        lacks=list(overview.lacks(board)),
    )


def _cell_page(board: Board, row: Result) -> str:
    told = cell_page(board.run, row)
    siblings = chain.from_iterable(
        line.cells for line in board.lines if line.contender == row.cell.contender
    )
    others = [(item.cell.seed, board.run.cells[item.cell]) for item in siblings if item is not row]
    return page("cell.html", 1, **told, board=board, others=others, cost_ratios=COSTS)


REPORT = Site()
