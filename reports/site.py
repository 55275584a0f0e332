"""A static site of any number of runs: one folder that opens from disk or from any web server.

It has pages for the ranking of all runs, each run, each task and pair, and each cell. Pages load no
network and no inline script or style; `site/vendor` has their libraries, unchanged, with licences.
"""

# In short: A static site of any number of runs, which opens from disk.

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from draftmark.reports._figures.style import Paper
from draftmark.reports._shared.board import board_sections
from draftmark.reports._shared.checks import looked_for, overlap_section
from draftmark.reports._shared.content import Entry, RowName, SortedText, Table
from draftmark.reports._shared.manifest import definitions_by_name, manifest_lines
from draftmark.reports._shared.rows import ONE_SEED
from draftmark.reports._site.cells import cell_values
from draftmark.reports._site.charts import COSTS, forest_charts
from draftmark.reports._site.folding import PageTable, page_section, plain_table
from draftmark.reports._site.overview import board_lacks, overview_values, run_lacks
from draftmark.reports._site.pages import SEEDS, Board, ListedRun, SiteRun, site_runs
from draftmark.reports._site.paragraphs import Paragraphs
from draftmark.reports._site.provenance import settings_text
from draftmark.reports._site.render import render_page, static_files
from draftmark.reports._site.sides import sides_data
from draftmark.reports._site.stages import stages_table
from draftmark.reports._site.texts import BoardTexts, board_texts
from draftmark.reports._site.trend import trend_charts
from draftmark.reports.export import REPORT as export
from draftmark.reports.figures import drawings
from draftmark.reports.leaderboard import REPORT as leaderboard
from draftmark.results import Result, Results
from draftmark.text import printable_paragraphs

LONGEST_RECIPE = 100_000  # characters
MOST_CELLS = 1500


@dataclass(frozen=True)
class Site:
    """The report on `runs`, by default on the run that it is called with."""

    runs: Sequence[tuple[Results, Path]] = ()
    folder: str = "site"  # in the reports folder; "" is the reports folder itself
    cells: int = MOST_CELLS  # how many have pages; the newest runs have them

    def __call__(self, results: Results, directory: Path) -> dict[str, str | bytes]:
        """Return every file of the site; `index.html` is the front page."""
        root = f"{self.folder}/" if self.folder else ""
        return {f"{root}{name}": content for name, content in self.files(results, directory)}

    def files(self, results: Results, directory: Path) -> Iterator[tuple[str, str | bytes]]:
        """Yield the path in the site and the content of each file, one at a time."""
        return _files(*site_runs(self.runs or ((results, directory),), self.cells))


def _files(
    runs: Sequence[SiteRun], listed: Sequence[ListedRun]
) -> Iterator[tuple[str, str | bytes]]:
    older = len(listed) - len(runs)
    yield "index.html", render_page("index.html", 0, older=older, **overview_values(runs))
    yield "runs.html", _list_page(listed)
    definitions = definitions_by_name(run.results for run in runs)
    yield "definitions.html", render_page("definitions.html", 0, definitions=definitions)
    yield from static_files().items()
    for run in runs:
        exported = dict(_data_files(run))
        yield from exported.items()
        yield run.file, _run_page(run, list(exported))
        yield from _figure_files(run)
        for board in run.boards:
            yield from _board_files(board)


def _list_page(listed: Sequence[ListedRun]) -> str:
    charts, levels = trend_charts([line.rated for line in listed if line.rated])
    return render_page(
        "runs.html", 0, runs=_runs_table(listed), payload={"charts": charts}, levels=levels
    )


def _runs_table(listed: Sequence[ListedRun]) -> PageTable | None:
    """Return the table of runs; None without any."""
    facts = {"run": "l", "title": "l", "commit of": "l", "computing time": "r", "machine": "l"}
    counts = ("tasks and pairs", "cells", "failed", "errors", "warnings")
    rows: list[list[Entry]] = [
        [
            RowName(run.label),
            *(run.summary.title, run.date or "-"),
            SortedText(run.duration, run.summary.seconds),
            run.machine,
            *(str(count) for count in run.counts),
        ]
        for run in listed
    ]
    align = "".join(facts.values()) + "r" * len(counts)
    table = Table([*facts, *counts], rows, align)
    return plain_table(table, [run.file for run in listed]) if rows else None


def _board_files(board: Board) -> Iterator[tuple[str, str | bytes]]:
    """Yield the pages of a board and its cells, and their texts."""
    texts = board_texts(board)
    if texts.texts:
        yield board.texts, texts.script()
    yield board.file, _table_page(board)
    if board.sides:
        yield (
            board.sides,
            render_page("sides.html", 1, board=board, payload=sides_data(board, texts)),
        )
    for row in board.rows:
        yield board.run.cells[row.cell], _cell_page(board, row, texts)


def _data_files(run: SiteRun) -> Iterator[tuple[str, str | bytes]]:
    """Yield the files of a run's numbers: CSV is compressed, and the far larger JSON left out.

    `draftmark report RUN export` writes all of them.
    """
    for report in (leaderboard, export):
        for file, content in report(run.results, run.directory).items():
            if file.endswith(".csv") and isinstance(content, str):
                yield f"{run.data}/{file}.gz", gzip.compress(content.encode(), mtime=0)
            elif not file.endswith(".json"):
                yield f"{run.data}/{file}", content


def _figure_files(run: SiteRun) -> Iterator[tuple[str, str]]:
    """Yield the pictures of a run's figures, drawn again from its results, and their page."""
    if not run.figures:
        return
    drawn, missing = drawings(run.results, run.directory, Paper())
    for item in drawn:
        picture = Path(run.figures).with_name(f"{item.name}.svg")
        yield picture.as_posix(), item.small_svg(Paper())
    yield run.figures, render_page("figures.html", 2, run=run, drawn=drawn, missing=missing)


def _run_page(run: SiteRun, files: Sequence[str]) -> str:
    return render_page(
        "run.html",
        1,
        run=run,
        lacks=list(run_lacks(run)),
        looked_for=looked_for(run.results),
        overlaps=page_section(overlap_section(run.results)),
        failed=[row for row in run.results.results if row.failure],
        facts=list(manifest_lines(run.results)),
        files=files,
        stages=stages_table(run.shared_stages.values()),
        settings=settings_text(list(run.shared_stages.values())),
        recipe=Paragraphs(
            printable_paragraphs(json.dumps(run.results.recipe, indent=1), LONGEST_RECIPE)
        ),
    )


def _table_page(board: Board) -> str:
    subject, results = f"{board.task}, {board.pair}", board.run.results
    return render_page(
        "table.html",
        1,
        board=board,
        sections=[page_section(section, board) for section in board_sections(board.rows, results)],
        anchor=SEEDS,
        charts=list(forest_charts(board)),
        findings=[item for item in results.findings if item.subject == subject],
        lacks=list(board_lacks(board)),
    )


def _cell_page(board: Board, row: Result, texts: BoardTexts) -> str:
    siblings = (item for item in board.rows if item.cell.contender == row.cell.contender)
    others = [(item.cell.seed, board.run.cells[item.cell]) for item in siblings if item is not row]
    values = {"others": others, "cost_ratios": COSTS, "one_seed": ONE_SEED, "alerts": board.alerts}
    return render_page("cell.html", 1, board=board, **values, **cell_values(board.run, row, texts))


REPORT = Site()
