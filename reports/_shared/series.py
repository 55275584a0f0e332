"""A rate over runs: the number of each contender in each run, ordered by commit date."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from draftmark.analysis.change_points import find_steps
from draftmark.analysis.quantities import quantity_key
from draftmark.reports._shared.rows import draft_title, gamma_of, temperatures_of
from draftmark.results import Contender, Number, Results


@dataclass(frozen=True)
class DatedRun:
    """A run with the date of its commit, or of its results file without a git checkout."""

    results: Results
    commit: str  # empty without a git checkout
    date: datetime
    place: int = 0  # position among all runs; the oldest is 0

    @property
    def label(self) -> str:
        """The run's commit and day."""
        return f"{self.commit[:8] or 'no commit'} {self.date:%Y-%m-%d}"


@dataclass(frozen=True)
class Series:
    """A contender's numbers over runs, the oldest first, and the steps between levels."""

    contender: Contender
    temperature: float
    gamma: int
    points: tuple[tuple[DatedRun, Number | None], ...]  # None: the contender failed in this run
    steps: tuple[int, ...] = ()  # indices in `known` at which a new level starts

    @property
    def known(self) -> list[tuple[DatedRun, Number]]:
        """The points that have a number."""
        return [(run, number) for run, number in self.points if number]

    @property
    def title(self) -> str:
        """The name of the series."""
        return draft_title(self.contender, self.temperature)


def dated_runs(found: Sequence[tuple[Results, Path]]) -> list[DatedRun]:
    """Return runs with their dates, the oldest first."""
    runs = []
    for results, directory in found:
        git, file = results.commit, directory / "results.json"
        written = file.stat().st_mtime if file.is_file() else 0.0
        day = git.get("date")
        date = datetime.fromisoformat(day) if day else datetime.fromtimestamp(written, UTC)
        runs.append(DatedRun(results, git.get("commit") or "", date.astimezone(UTC)))
    ordered = sorted(runs, key=lambda run: run.date)
    return [replace(run, place=place) for place, run in enumerate(ordered)]


def series_over(runs: Sequence[DatedRun], rate: str, least: float) -> Iterator[Series]:
    """Yield the series of every contender and temperature; `least`: the smallest step."""
    found: dict[tuple[Contender, float, int], list[tuple[DatedRun, Number | None]]] = {}
    for run in runs:
        gamma, numbers = gamma_of(run.results), run.results.numbers
        for contender in dict.fromkeys(row.cell.contender for row in run.results.results):
            by_key = numbers.get(contender, {})
            for temperature in temperatures_of(run.results):
                point = run, by_key.get(quantity_key(rate, temperature, gamma))
                found.setdefault((contender, temperature, gamma), []).append(point)
    for (contender, temperature, gamma), points in found.items():
        series = Series(contender, temperature, gamma, tuple(points))
        levels = find_steps([number.value for _, number in series.known], least)
        yield replace(series, steps=tuple(levels))
