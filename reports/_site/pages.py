"""The subjects of the site's pages: runs, boards (one task and pair of a run), cells."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from draftmark.analysis.quantities import quantity_key
from draftmark.analysis.stored_runs import RunSummary, summaries, summarise_run
from draftmark.analysis.titles import task_title
from draftmark.reports._shared.checks import verdict_alerts
from draftmark.reports._shared.content import Alert
from draftmark.reports._shared.handover import Paste, advised, pastes
from draftmark.reports._shared.rows import (
    Column,
    by_contender,
    by_task_and_pair,
    gamma_of,
    headline_columns,
    numbers_of,
    temperatures_of,
)
from draftmark.reports._shared.series import RatedRun, rated_run
from draftmark.reports._shared.verdict import Verdict, overall_sentences, shortcomings, verdicts
from draftmark.reports._site.provenance import Stage, shared_stages
from draftmark.results import Cell, Contender, Number, Result, Results
from draftmark.text import printable_text

SEEDS = "each-seed"  # the place of all seeds on a board's page
TREND_RATE = "block_efficiency"


def slug(text: str, longest: int = 40) -> str:
    """Return text reduced to letters, digits and "-", for file names and anchors."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text[:200]).strip("-").lower()[:longest] or "x"


@dataclass(frozen=True)
class Line:
    """A contender in a table: its cells, and its numbers (pooled if it has several seeds)."""

    contender: Contender
    cells: Sequence[Result]
    numbers: Mapping[str, Number]  # empty if all cells failed
    letters: dict[str, str]  # quantity -> group letters

    @property
    def num_failed(self) -> int:
        """The number of failed cells."""
        return sum(bool(row.failure) for row in self.cells)

    @property
    def all_failed(self) -> bool:
        """True if no cell has numbers."""
        return self.num_failed == len(self.cells)


@dataclass(frozen=True)
class Board:
    """One task and pair of a run, with its own page."""

    run: "SiteRun"
    number: int
    task: str
    pair: str
    rows: Sequence[Result]

    @property
    def file(self) -> str:
        """The path of the board's page."""
        return f"tables/{self._name}"

    @property
    def sides(self) -> str:
        """The path of the page of two methods side by side; empty if there is only one."""
        return f"sides/{self._name}" if len(self.lines) > 1 else ""

    @cached_property
    def alerts(self) -> list[Alert]:
        """The alerts to stand beside verdicts."""
        return list(verdict_alerts(self.run.results, self.task, self.pair))

    @property
    def texts(self) -> str:
        """The path of the script that has the board's example texts."""
        return f"texts/{self._stem}.js"

    @property
    def _stem(self) -> str:
        return f"{self.run.number}-{self.number}-{slug(f'{self.task} {self.pair}')}"

    @property
    def _name(self) -> str:
        return f"{self._stem}.html"

    @property
    def task_title(self) -> str:
        """The task's name as people write it."""
        return task_title(self.task)

    @property
    def verdict(self) -> str:
        """The verdict on this board as plain text."""
        return printable_text(self.run.verdicts[self.number - 1].text)

    @property
    def efficiency_keys(self) -> list[str]:
        """The keys of block efficiency, which ranks and groups methods."""
        return [self.run.key("block_efficiency", t) for t in self.run.temperatures]

    @cached_property
    def lines(self) -> list[Line]:
        """The contenders in the order of the recipe."""
        results = self.run.results
        letters: dict[Contender, dict[str, str]] = {}
        for item in results.standings:
            letters.setdefault(item.contender, {})[item.quantity] = item.letters
        return [
            Line(contender, cells, numbers_of(cells, results) or {}, letters.get(contender, {}))
            for contender, cells in by_contender(self.rows)
        ]

    @property
    def ranked(self) -> list[Line]:
        """The contenders by block efficiency at the first temperature; without numbers last."""
        key = next(iter(self.efficiency_keys), "")

        def rank(line: Line) -> float:
            return -line.numbers[key].value if key in line.numbers else 1.0

        return sorted(self.lines, key=rank)

    def has(self, contender: Contender) -> bool:
        """True if the contender is one of the board's."""
        return (contender.task, contender.pair) == (self.task, self.pair)

    def page_of(self, line: Line) -> str:
        """Return the page of a contender's numbers: its cell's, or the board's if seeds pool."""
        if len(line.cells) > 1:
            return f"{self.file}#{SEEDS}"
        return self.run.cells[line.cells[0].cell]


@dataclass(frozen=True)
class SiteRun:
    """A run with its number among all runs and the names of its pages."""

    number: int
    results: Results
    directory: Path
    label: str = ""  # name, commit and day, with the number if other runs have the same label

    @property
    def file(self) -> str:
        """The path of the run's page."""
        return f"runs/{self.number}-{slug(self.results.name)}.html"

    @property
    def figures(self) -> str:
        """The page of the run's figures; empty unless its folder has some, as `report` draws."""
        drawn = (self.directory / "figures" / "index.html").is_file()
        return f"figures/{self.number}-{slug(self.results.name)}/index.html" if drawn else ""

    @property
    def data(self) -> str:
        """The folder of the run's data files."""
        return f"data/{self.number}-{slug(self.results.name)}"

    @property
    def gamma(self) -> int:
        """The block length of the recipe."""
        return gamma_of(self.results)

    @property
    def temperatures(self) -> list[float]:
        """The temperatures at which drafts were scored."""
        return temperatures_of(self.results)

    def key(self, name: str, temperature: float, gamma: int | None = None) -> str:
        """Return the key of a rate at a block length, by default the recipe's."""
        return quantity_key(name, temperature, gamma or self.gamma)

    @cached_property
    def columns(self) -> list[Column]:
        """The columns of the table of methods."""
        return headline_columns(self.temperatures, [self.results])

    @cached_property
    def boards(self) -> list[Board]:
        """The boards in the order of the results."""
        groups = enumerate(by_task_and_pair(self.results.results), start=1)
        return [Board(self, number, *group) for number, group in groups]

    @cached_property
    def cells(self) -> dict[Cell, str]:
        """The path of each cell's page."""
        return {
            row.cell: f"cells/{self.number}-{place}-{slug(f'{row.cell.task} {row.cell.method}')}"
            f"-s{row.cell.seed}.html"
            for place, row in enumerate(self.results.results, start=1)
        }

    @cached_property
    def shared_stages(self) -> dict[str, Stage]:
        """The stages that several cells are of, by key."""
        return shared_stages(self.results.results)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The verdict on each board."""
        return verdicts(self.results, self.directory)

    @property
    def verdict(self) -> str:
        """The verdict on all boards, and what the run cannot say, as plain text.

        Errors and warnings on texts are alerts of their own.
        """
        titled = [replace(item, task=task_title(item.task)) for item in self.verdicts]
        said = [*overall_sentences(titled), *shortcomings(_titled(self.results))]
        return printable_text(" ".join(said)) if self.verdicts else ""

    @cached_property
    def pastes(self) -> list[Paste]:
        """What to paste into a server's command line, for each board."""
        found = advised(self.results, self.directory, self.verdicts, self.results.results)
        return pastes(self.results, found)

    @cached_property
    def line(self) -> "ListedRun":
        """The run as a line of the list of runs."""
        return ListedRun(summarise_run(self.results), self.label, self.file)

    def count(self, severity: str) -> int:
        """Return the number of findings with a severity."""
        return sum(item.severity == severity for item in self.results.findings)


def _titled(results: Results) -> Results:
    """Return results whose rows name tasks as people write them."""
    cells = (replace(row.cell, task=task_title(row.cell.task)) for row in results.results)
    rows = zip(results.results, cells, strict=True)
    return replace(results, results=tuple(replace(row, cell=cell) for row, cell in rows))


@dataclass(frozen=True)
class ListedRun:
    """A line of the list of runs; `file` is empty for a run without pages."""

    summary: RunSummary
    label: str
    file: str = ""
    rated: RatedRun | None = None  # the rate whose trend the list shows

    @property
    def date(self) -> str:
        """The day of the commit that the run was made with; empty without one."""
        return (self.summary.commit.get("date") or "")[:10]

    @property
    def duration(self) -> str:
        """The computing time of all stages as "40 s", "12 min" or "3.5 h"."""
        seconds = self.summary.seconds
        if seconds < 100:
            return f"{seconds:.0f} s"
        return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers of tasks and pairs, of cells, of failed ones, of errors and of warnings."""
        own = self.summary
        return own.num_boards, own.num_cells, own.num_failed, own.num_errors, own.num_warnings

    @property
    def machine(self) -> str:
        """The machine that the run was started on."""
        hardware = self.summary.hardware
        parts = [hardware.get("processor"), f"{hardware.get('cores', '?')} cores"]
        return ", ".join(filter(None, [*parts, *hardware.get("accelerators", ())]))


def site_runs(
    found: Sequence[tuple[Results, Path]], most_cells: int
) -> tuple[list[SiteRun], list[ListedRun]]:
    """Return the newest runs, with `most_cells` cells at most but one run at least, and all lines.

    Runs have distinct labels, and numbers in the given order. Of the others the summaries are read,
    so neither time nor memory grow with their results.
    """
    lines, dates = [], []
    for number, (summary, directory) in enumerate(summaries(found), start=1):
        rated = rated_run(summary, directory, number, TREND_RATE)
        bare = replace(summary, contenders=())
        lines.append(ListedRun(bare, _label(summary), rated=rated))
        dates.append(rated.run.date)
    counts = Counter(line.label for line in lines)
    lines = [
        line if counts[line.label] == 1 else replace(line, label=f"{line.label} ({number})")
        for number, line in enumerate(lines, start=1)
    ]
    runs = [
        SiteRun(number, *found[number - 1], label=lines[number - 1].label)
        for number in _newest(lines, dates, most_cells)
    ]
    files = {run.number: run.file for run in runs}
    return runs, [
        replace(line, file=files.get(number, "")) for number, line in enumerate(lines, start=1)
    ]


def _newest(lines: Sequence[ListedRun], dates: Sequence[datetime], most_cells: int) -> list[int]:
    """Return the numbers of the newest runs, in the given order."""
    ordered = sorted(range(1, len(lines) + 1), key=lambda number: (dates[number - 1], number))
    chosen: list[int] = []
    cells = 0
    for number in reversed(ordered):
        cells += lines[number - 1].summary.num_cells
        if chosen and cells > most_cells:
            break
        chosen.append(number)
    return sorted(chosen)


def _label(summary: RunSummary) -> str:
    git = summary.commit
    parts = [summary.name, git.get("commit", "")[:8], (git.get("date") or "")[:10]]
    return printable_text(" ".join(filter(None, parts)))
